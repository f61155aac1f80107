"""What is wrong with a container, told from docker's own state of it; and docker's words without its noise."""

from __future__ import annotations

from typing import Any

import pytest

from itest import states
from itest.containers import Container

RUNC = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
)


def container(restarts: int = 0, memory: int = 0, **state: Any) -> Container:
    """A container of service `my-app` in a state; where nothing is said, it runs."""
    state = {"Status": "running", "ExitCode": 0, "OOMKilled": False} | state
    return Container("c0ffee" * 6, "p", "my-app", "team/app:1", {}, {}, state, restarts, memory=memory)


def told(restarts: int = 0, memory: int = 0, **state: Any) -> tuple[str, str, str]:
    found = states.verdict(container(restarts, memory, **state), "api")
    assert found is not None
    return found


@pytest.mark.parametrize("health", [None, {"Status": "starting", "Log": []}, {"Status": "healthy", "Log": []}])
def test_a_container_that_runs_may_yet_serve(health):
    assert states.verdict(container(Health=health)) is None


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (0, "code 0", "a command that stays in the foreground"),
        (1, "code 1", "`make up SUITE=api`"),
        (126, "code 126 (its command is not executable)", "chmod +x"),
        (127, "code 127 (its command was not found in the image)", "the image team/app:1"),
        (137, "code 137 (killed, SIGKILL)", "dmesg"),
        (139, "code 139 (segmentation fault, SIGSEGV)", "inspect --format '{{.Architecture}}' team/app:1"),
        (143, "code 143 (asked to stop, SIGTERM)", "run it again"),
    ],
)
def test_an_exit_code_is_explained_and_has_a_hint_of_its_own(code, words, hint):
    cause, said, what_to_do = told(Status="exited", ExitCode=code)
    assert (cause, said) == ("exited", f"exited with {words} before it was ready")
    assert hint in what_to_do
    assert "{service}" not in what_to_do


def test_a_kill_for_memory_names_the_limit_and_the_variable_that_raises_it():
    cause, words, hint = told(Status="exited", ExitCode=137, OOMKilled=True, memory=192 << 20)
    assert (cause, words) == ("oom", "was killed for using more memory than its mem_limit of 192 MiB")
    assert "MY_APP_MEMORY=384m" in hint
    _, _, hint = told(Status="exited", ExitCode=137, OOMKilled=True, memory=16 << 20)
    assert "MY_APP_MEMORY=256m" in hint, "twice next to nothing is not enough either"


def test_without_a_limit_it_was_the_machine_that_had_no_more_memory():
    cause, words, hint = told(Status="exited", ExitCode=137, OOMKilled=True)
    assert (cause, words) == ("oom", "was killed when the machine ran out of memory: it has no mem_limit")
    assert "JOBS=1" in hint


def test_the_last_health_check_s_words_are_part_of_the_reason():
    log = [{"ExitCode": 0, "Output": ""}, {"ExitCode": 1, "Output": "no leader\nelected\n"}]
    cause, words, hint = told(Health={"Status": "unhealthy", "Log": log})
    assert (cause, words) == ("unhealthy", "its own healthcheck says unhealthy: no leader elected")
    assert "make shell SUITE=api SERVICE=my-app" in hint


def test_a_health_check_that_cannot_run_is_not_the_service_s_fault():
    output = f'{RUNC}unable to start container process: exec: "pg_isready": executable file not found in $PATH: unknown'
    cause, words, hint = told(Health={"Status": "unhealthy", "Log": [{"ExitCode": -1, "Output": output}]})
    assert (cause, words) == ("unhealthy", 'its healthcheck cannot run: "pg_isready" was not found in image team/app:1')
    assert "`healthcheck` of my-app" in hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            f'{RUNC}unable to start container process: exec: "serve": executable file not found in $PATH: unknown',
            'its command "serve" was not found in image team/app:1 (code 127)',
        ),
        (
            f'{RUNC}unable to start container process: exec: "/run": stat /run: no such file or directory: unknown',
            'its command "/run" was not found in image team/app:1 (code 127)',
        ),
        (
            f'{RUNC}unable to start container process: exec: "/srv/run": permission denied: unknown',
            'its command "/srv/run" is not executable in image team/app:1 (code 126)',
        ),
        ("unable to find user app: no matching entries in passwd file", 'there is no user "app" in image team/app:1'),
        ("unable to find group ops: no matching entries", 'there is no group "ops" in image team/app:1'),
        (f"{RUNC}something new: unknown", "it could not be started: something new"),
    ],
)
def test_why_docker_could_not_start_it_is_told_in_our_words(said, words):
    cause, ours, hint = told(Status="created", Error=said)
    assert (cause, ours) == ("start", words)
    assert "my-app" in hint


def test_of_docker_s_words_the_names_of_its_parts_are_left_out_and_ids_are_cut():
    said = f'Error response from daemon: Conflict. The name "/x" is in use by container "{"ab" * 32}".'
    assert states.plain(said) == 'Conflict. The name "/x" is in use by container "abababababab".'
