"""What the engine's diagnosis says about observed facts, and what a daemon of our own may take of the address space."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from itest.machine import daemon, disk, engine_setup
from itest.machine.diagnosis import Facts, diagnose
from itest.machine.disk import Room

READY = Facts(
    system="debian",
    docker="/usr/bin/docker",
    context="default",
    server="26.1.5+dfsg1",
    compose="2.26.1-4",
    dockerd="/usr/sbin/dockerd",
    root=False,
)
NOT_RUNNING = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NOT_RUNNING_29 = (
    "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the "
    "daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory"
)
NO_PERMISSION = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    "dial unix /var/run/docker.sock: connect: permission denied"
)


def facts(**changes) -> Facts:
    """A ready engine, but for some facts."""
    return Facts(**{**vars(READY), **changes})


def unanswered(complaint: str, **changes) -> Facts:
    return facts(server="", server_complaint=complaint, **changes)


def said_of(**changes) -> tuple[str, str, str]:
    """Cause, message and hint for a ready engine, but for some facts."""
    error = diagnose(facts(**changes))
    assert error is not None
    assert error.category == "engine"
    return error.cause, error.message, error.hint


@pytest.mark.parametrize("version", ["25.0.0", "26.1.5+dfsg1", "29.0.1", "dev"])
def test_an_engine_that_is_new_enough_is_used_as_it_is(version):
    assert diagnose(facts(server=version)) is None


@pytest.mark.parametrize("version", ["2.24.0", "v2.24.6", "2.39.1-desktop.1", "5.0.1", "dev"])
def test_a_compose_that_is_new_enough_is_used_as_it_is(version):
    assert diagnose(facts(compose=version)) is None


@pytest.mark.parametrize(
    ("system", "hint"),
    [
        ("debian", "sudo make engine"),
        ("ubuntu", "sudo make engine"),
        ("fedora", "sudo dnf install moby-engine"),
        ("arch", "sudo pacman -S docker"),
        ("alpine", "sudo apk add docker"),
        ("macos", "brew install --cask docker-desktop"),
        ("slackware", "https://docs.docker.com/engine/install/"),
    ],
)
def test_without_docker_the_hint_is_the_systems_own_command(system, hint):
    cause, message, said = said_of(docker="", server="", compose="", dockerd="", system=system)
    assert (cause, message) == ("missing", "docker engine: not installed")
    assert hint in said


def test_where_only_the_client_is_installed_that_is_said():
    error = diagnose(unanswered(NOT_RUNNING, dockerd=""))
    assert error is not None
    assert (error.cause, error.message) == (
        "missing",
        "docker engine: not installed, only its client /usr/bin/docker is",
    )


@pytest.mark.parametrize("complaint", [NOT_RUNNING, NOT_RUNNING_29])
@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"systemd": True}, "sudo systemctl start docker"),
        ({"systemd": True, "root": True}, "systemctl start docker"),
        ({"systemd": False}, "sudo make engine"),
        ({"root": True, "forbidden": True}, "make engine, without ITEST_ENGINE=off"),
        ({"system": "arch"}, "sudo service docker start"),
        ({"system": "macos", "dockerd": ""}, "open -a Docker (or: colima start)"),
    ],
)
def test_a_stopped_daemon_is_told_from_a_missing_one(complaint, changes, hint):
    error = diagnose(unanswered(complaint, **changes))
    assert error is not None
    assert (error.cause, error.hint) == ("stopped", hint)
    assert error.message == "docker engine unix:///var/run/docker.sock: installed, but not running"


def test_without_permission_on_the_socket_the_hint_is_the_group():
    error = diagnose(unanswered(NO_PERMISSION))
    assert error is not None
    assert error.cause == "permission"
    assert error.message == "docker engine unix:///var/run/docker.sock: no permission on its socket"
    assert error.hint.startswith("sudo usermod -aG docker $USER && newgrp docker")
    assert "rootless" in error.hint


def test_a_member_of_the_group_whose_session_is_older_only_needs_a_new_one():
    error = diagnose(unanswered(NO_PERMISSION, group=True))
    assert error is not None
    assert (error.cause, error.hint.split(",")[0]) == ("permission", "newgrp docker")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"host": "tcp://10.0.0.9:2375", "endpoint": "tcp://10.0.0.9:2375"},
            "docker engine tcp://10.0.0.9:2375 (chosen by DOCKER_HOST): down",
            "make it answer, or: unset DOCKER_HOST",
        ),
        (
            {"context": "colima", "endpoint": "unix:///home/ann/.colima/default/docker.sock"},
            "docker engine unix:///home/ann/.colima/default/docker.sock (chosen by context colima): down",
            "colima start, or: docker context use default, with DOCKER_CONTEXT unset",
        ),
        (
            {"context": "rootless", "endpoint": "unix:///run/user/1000/docker.sock"},
            "docker engine unix:///run/user/1000/docker.sock (chosen by context rootless): down",
            "systemctl --user start docker, or: docker context use default, with DOCKER_CONTEXT unset",
        ),
    ],
)
def test_a_chosen_engine_that_is_down_is_named_with_who_chose_it(changes, message, hint):
    error = diagnose(unanswered("down", **changes))
    assert error is not None
    assert (error.cause, error.message, error.hint) == ("unreachable", message, hint)


def test_a_context_that_is_not_there_has_no_address():
    said = 'Failed to initialize: unable to resolve docker endpoint: context "x": context not found: open /home/a/meta'
    error = diagnose(unanswered(said, context="x", endpoint=""))
    assert error is not None
    expected = 'docker engine (chosen by context x): unable to resolve docker endpoint: context "x": context not found'
    assert error.message == expected


def test_where_nobody_listens_at_a_chosen_address_docker_s_advice_is_left_out():
    error = diagnose(unanswered(NOT_RUNNING, host="unix:///x.sock", endpoint="unix:///x.sock"))
    assert error is not None
    assert error.message == "docker engine unix:///x.sock (chosen by DOCKER_HOST): nobody answers there"


def test_an_engine_that_answers_and_refuses_is_a_matter_of_permission():
    error = diagnose(unanswered("Error response from daemon: authorization denied by plugin gate: no"))
    assert error is not None
    assert error.cause == "permission"
    assert error.message.endswith("it lets nobody in like this: authorization denied by plugin gate: no")
    assert "DOCKER_CERT_PATH" in error.hint


def test_an_engine_that_hangs_is_neither_stopped_nor_missing():
    error = diagnose(unanswered("no answer within 15 s"))
    assert error is not None
    assert (error.cause, error.message) == (
        "unreachable",
        "docker engine unix:///var/run/docker.sock: no answer within 15 s",
    )


def test_a_missing_compose_plugin_is_told_with_dockers_own_words():
    cause, message, hint = said_of(compose="", compose_complaint="docker: 'compose' is not a docker command.")
    assert (cause, hint) == ("compose", "sudo make engine")
    assert message.startswith("docker compose plugin: not installed")
    assert "'compose' is not a docker command" in message


def test_old_versions_are_named_with_what_is_needed():
    assert said_of(server="20.10.24+dfsg1")[:2] == (
        "old",
        "docker engine 20.10.24+dfsg1: too old, itest needs 25.0 or newer",
    )
    assert said_of(compose="2.23.3")[:2] == ("old", "docker compose 2.23.3: too old, itest needs 2.24 or newer")


def test_a_client_that_the_engine_refuses_is_old():
    refusal = "Error response from daemon: client version 1.38 is too old. Minimum supported API version is 1.44"
    error = diagnose(unanswered(refusal))
    assert error is not None
    assert error.cause == "old"
    assert "/usr/bin/docker does not fit" in error.message


def test_podman_is_called_by_its_name_whatever_version_it_claims():
    cause, message, _ = said_of(podman=True, server="5.4.2", compose="")
    assert (cause, message) == ("podman", "docker command /usr/bin/docker: it is podman, which itest does not support")


@pytest.mark.parametrize("cause", ["missing", "stopped", "compose"])
def test_root_on_debian_may_get_an_engine(cause):
    assert engine_setup.can_mend(facts(root=True), cause)


@pytest.mark.parametrize(
    "changes",
    [
        {"root": False},
        {"system": "fedora"},
        {"forbidden": True},
        {"host": "tcp://127.0.0.1:1"},
        {"context": "colima"},
    ],
)
def test_nothing_is_installed_for_others_nor_where_an_engine_was_chosen(changes):
    assert not engine_setup.can_mend(facts(**{"root": True, **changes}), "missing")


@pytest.mark.parametrize("cause", ["old", "podman", "permission", "unreachable"])
def test_an_engine_that_somebody_runs_is_never_replaced(cause):
    assert not engine_setup.can_mend(facts(root=True), cause)


def test_address_pools_keep_clear_of_the_machines_routes():
    assert daemon.free_pools([]) == ["10.213.0.0/16", "10.214.0.0/16"]
    vpn = [IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")]
    assert daemon.free_pools(vpn) == ["172.30.0.0/16", "172.29.0.0/16"]
    assert daemon.free_pools([IPv4Network("10.213.7.0/24")]) == ["10.214.0.0/16", "172.30.0.0/16"]


def test_where_every_pool_overlaps_a_route_the_daemons_own_defaults_stay():
    private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    assert daemon.free_pools(map(IPv4Network, private)) == []


SAID = "write /layer: no space left on device"


@pytest.mark.parametrize(
    ("rooms", "told"),
    [
        ([Room("/engine", 10**6), Room("/tmp", 5 * 10**8)], "image x: disk full: 1 MB are free in /engine by now"),
        ([Room("/engine", 5 * 10**9), Room("/tmp", 0)], "image x: disk full: 0 MB are free in /tmp by now"),
        ([Room("/engine", 5 * 10**9), Room("/tmp", 5 * 10**9)], f"image x: {SAID}"),  # one inside a container
    ],
)
def test_a_full_disk_is_the_one_with_least_room_where_any_has_little(rooms, told):
    error = disk.explained("image x", SAID, rooms)
    assert (error.category, error.cause, error.message) == ("engine", "disk", told)
    assert "docker system prune" in error.hint


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:1", "ssh://elsewhere", "unix:///nowhere/docker.sock"])
def test_the_disk_of_an_engine_elsewhere_is_not_judged(endpoint):
    disk.check(endpoint)
