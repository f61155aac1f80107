"""Runs that are killed, or interrupted, at random moments of all their stages: the next command leaves nothing of them.

`make soak` does it 60 and 40 times, here it is 6 and 4. Another run goes on beside them all the while, unharmed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from itest import compose, processes
from itest.stack.eventually import eventually

SOAK = bool(os.environ.get("ITEST_SLOW"))
COUNTS = {"brief": (40, 26), "database": (20, 14)} if SOAK else {"brief": (6, 4)}  # killed, interrupted
TINY = """
services:
  redis:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: redis}
    image: redis:8.0.2
    user: "999:999"
    tmpfs: [/data]
    volumes: [kept:/kept]
    ports: ["127.0.0.1::6379"]
volumes:
  kept: {}
"""
TEST = "import time\ndef test_short(redis_client):\n    time.sleep(0.4)"
LONG = """
import pathlib, time

def test_long(redis_client, stack):
    redis_client.set("mine", "1")
    pathlib.Path("holding").touch()
    while pathlib.Path("holding").exists():
        time.sleep(0.1)
    assert redis_client.get("mine") == "1"
"""


@pytest.fixture(scope="module")
def tiny(shared_checkout):
    """A checkout with the suites `brief`, which takes some seconds, and `long`, which ends when told to."""
    shared_checkout.suite("brief", TINY, test=TEST)
    shared_checkout.suite("long", TINY, test=LONG)
    for name in ("brief", "long"):  # by hand, so that no other test's is in the way
        shared_checkout.replace(f"compose/suites/{name}.env", f"=itest-{name}\n", f"=itest-{name}-{os.getpid()}\n")
    return shared_checkout


@contextmanager
def neighbour(checkout) -> Iterator[str]:
    """A run that goes on meanwhile, and must end well. Gives its id."""
    holding = checkout.path / "holding"
    process = checkout.start("run", "--suite", "long", ITEST_TEST_TIMEOUT="0", ITEST_SUITE_TIMEOUT="0")
    try:
        eventually(lambda: holding.exists() or process.poll() is not None, timeout=60)
        assert process.poll() is None, process.communicate()[0]
        yield checkout.latest.resolve().name
    finally:
        holding.unlink(missing_ok=True)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


def left(checkout, temporary: Path, but: str) -> dict[str, list[str]]:
    """All that runs of this checkout have on the machine. but: the id of one that may."""
    runs = [path.name for path in (checkout.path / "build/itest").glob("2*") if path.name != but]
    found = {f"{kind}s": things(kind, runs) for kind in ("container", "network", "volume")}
    found["processes"] = [str(one.pid) for one in processes.left_by(runs)]
    kept = [path for folder in ("owners", "slots") for path in (checkout.path / "build/itest" / folder).glob("*")]
    found["files"] = [path.name for path in kept if but not in path.name]
    found["temporary"] = [path.name for path in temporary.iterdir() if path.name != f"itest-{os.getuid()}"]
    return {what: ones for what, ones in found.items() if ones}


def things(kind: str, runs: list[str]) -> list[str]:
    every = ["--all"] if kind == "container" else []
    line = f'{{{{.Label "{compose.PROJECT_LABEL}"}}}}'
    command = ["docker", kind, "ls", *every, "--filter", f"label={compose.PROJECT_LABEL}", "--format", line]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [project for project in listing if any(run in project for run in runs)]


@pytest.mark.soak
@pytest.mark.parametrize("suite", COUNTS)
def test_after_the_next_command_nothing_is_left_of_the_dead_and_a_living_run_goes_on(tiny, tmp_path, suite):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    given = {
        "ITEST_SUITE": suite,
        "TMPDIR": str(tmp_path),
        "ITEST_ARGS": "tests/brief tests/database/test_constraints.py",
    }
    with neighbour(tiny) as living:
        began = time.monotonic()
        once = tiny.run("run", **given)
        assert once.code == 0, once.output
        whole = time.monotonic() - began
        for moment, number in endings(rng, whole, *COUNTS[suite]):
            tiny.write("fixtures/base/99_another.sql", f"SELECT {moment};\n")  # so that a database is baked anew
            output = end_after(tiny.start("run", **given), moment, number)
            said = f"seed {seed}, {number.name} after {moment:.2f} of {whole:.1f} s\n{output}"
            if number != signal.SIGKILL:
                assert left(tiny, tmp_path, living) == {}, f"before the next command: {said}"
            after = tiny.run("ps", TMPDIR=str(tmp_path))
            assert after.code == 0, f"{said}{after.output}"
            assert left(tiny, tmp_path, living) == {}, f"{said}{after.output}"


def endings(rng: random.Random, whole: float, killed: int, interrupted: int) -> list[tuple[float, signal.Signals]]:
    """Moments in seconds after a start, at random and yet spread over the whole, and the signal for each."""
    asked = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    found = [((number + rng.random()) * whole / killed, signal.SIGKILL) for number in range(killed)]
    found += [((number + rng.random()) * whole / interrupted, rng.choice(asked)) for number in range(interrupted)]
    return rng.sample(found, len(found))


def end_after(process: subprocess.Popen[str], moment: float, number: signal.Signals) -> str:
    """Send a run a signal after so many seconds, if it still goes on. Returns what it said, if it lived to say it."""
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait(timeout=30)  # its orphans hold the pipe open
        process.stdout.close()
        return ""
    output = process.communicate(timeout=60)[0]
    assert process.returncode in (0, 130, -number), output  # by the signal itself before anybody listens
    return output


def test_an_orphaned_compose_is_ended_or_it_would_make_containers_after_the_sweep(tiny, tmp_path):
    process = tiny.start("run", "--suite", "brief", TMPDIR=str(tmp_path))
    pids = eventually(lambda: docker_at(tiny, "up"), timeout=60)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.wait()
    assert all(processes.started(pid) for pid in pids), "they outlive the runner"
    assert tiny.run("ps", TMPDIR=str(tmp_path)).code == 0
    assert left(tiny, tmp_path, but="none") == {}


def test_an_interrupt_while_a_bake_is_sent_to_the_engine_does_not_leave_that_waiting_for_the_rest(tiny, tmp_path):
    tiny.write("fixtures/base/99_another.sql", f"SELECT '{tmp_path}';\n")  # baked by nobody yet
    path = stopping_docker(tiny.path / "build" / "shims", "cp")
    process = tiny.start("run", "--suite", "database", TMPDIR=str(tmp_path), PATH=path)
    [pid] = eventually(lambda: docker_at(tiny, "cp") or (process.poll() is not None and [0]), timeout=60)
    assert pid, process.communicate()[0]
    try:
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=20)[0]
        assert process.returncode == 130, output
    finally:
        if processes.started(pid):
            os.kill(pid, signal.SIGKILL)  # or nobody could remove an image any more
        process.kill()
    assert left(tiny, tmp_path, but="none") == {}


def stopping_docker(folder: Path, verb: str) -> str:
    """A PATH with a docker that stops itself before it does this: to meet it there needs no luck."""
    folder.mkdir(parents=True, exist_ok=True)
    shim = folder / "docker"
    shim.write_text(
        f'#!/bin/sh\nfor word; do [ "$word" = {verb} ] && kill -STOP $$; done\nexec {shutil.which("docker")} "$@"\n',
        encoding="utf-8",
    )
    shim.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def docker_at(checkout, verb: str) -> list[int]:
    """The docker processes of the newest run with some verb, such as those that bring its stack up."""
    found = processes.left_by([checkout.latest.resolve().name]) if checkout.latest.exists() else []
    return [one.pid for one in found if verb in command(one.pid)]


def command(pid: int) -> list[str]:
    """The words of a process's command line; none of one that is gone."""
    try:
        return Path("/proc", str(pid), "cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


@pytest.mark.skipif(not SOAK, reason="make soak")
@pytest.mark.soak
def test_20_stacks_at_once_while_others_come_and_go_by_hand_do_not_clash(tiny, tmp_path):
    """Eighteen runs, and two people who bring stacks up, look at them and take them down all the while."""
    with ThreadPoolExecutor(20) as pool:
        going = [pool.submit(tiny.run, "run", "--suite", "brief", timeout=600) for _ in range(18)]
        for suite in ("brief", "long"):
            going.append(pool.submit(by_hand, tiny, suite, 4))
        ended = [one.result() for one in going]
    assert [one.code for one in ended] == [0] * 20, "\n".join(one.output for one in ended if one.code)
    assert left(tiny, tmp_path, but="none") == {}


def by_hand(checkout, suite: str, rounds: int):
    """What somebody types, over and over; how the first command that failed ended, or the last."""
    for _ in range(rounds):
        for verb in ("up", "ps", "env", "wait", "logs", "down"):
            ended = checkout.run(verb, "--suite", suite, timeout=300)
            if ended.code:
                return ended
    return ended


STUBBORN = """
import os, pathlib, signal, time

def test_stubborn(redis_client):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pathlib.Path("stubborn").write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def stubborn(tiny):
    """A checkout with a suite `stubborn`, whose test ignores Ctrl-C; and where that notes its pid."""
    tiny.suite("stubborn", TINY, test=STUBBORN)
    note = tiny.path / "stubborn"
    note.unlink(missing_ok=True)
    return tiny, note


def test_a_second_interrupt_stops_waiting_says_what_is_left_and_the_next_command_removes_it(stubborn, tmp_path):
    checkout, note = stubborn
    process = checkout.start("run", "--suite", "stubborn", TMPDIR=str(tmp_path))
    eventually(lambda: note.exists() and note.read_text(), timeout=60)
    process.send_signal(signal.SIGINT)
    for line in process.stdout:
        if "interrupted: removing the stacks; once more leaves that to the next make" in line:
            break
    while process.poll() is None:  # those of the same second count as one
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
    output = process.communicate(timeout=5)[0]
    assert process.returncode == 130, output
    project = f"itest-stubborn-{checkout.latest.resolve().name}"
    assert f"and this is left of {project}: 1 container, 1 network, 1 volume\n" in output
    eventually(lambda: processes.started(int(note.read_text())) is None), "its pytest ended with it"
    assert checkout.run("ps").code == 0
    assert left(checkout, tmp_path, but="none") == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_plain_pytest_that_is_asked_to_end_removes_its_stack(stubborn, tmp_path, number):
    checkout, note = stubborn
    process = checkout.start_pytest("tests/stubborn")
    eventually(lambda: note.exists() and note.read_text(), timeout=60)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 2, output
    assert "itest: starting itest-stubborn-" in output
    assert things("network", [f"itest-stubborn-{process.pid}"]) == []


def test_the_workers_of_a_plain_pytest_that_is_killed_end_with_it(stubborn, tmp_path):
    checkout, note = stubborn
    process = checkout.start_pytest("-n", "1", "tests/stubborn")
    eventually(lambda: note.exists() and note.read_text(), timeout=60)
    process.kill()
    process.wait()
    eventually(lambda: processes.started(int(note.read_text())) is None)
    assert checkout.run("ps").code == 0
    assert things("network", [f"itest-stubborn-{process.pid}"]) == []
    assert left(checkout, tmp_path, but="none") == {}


def test_what_goes_is_listed_before_it_goes(tiny):
    project = f"itest-brief-{os.getpid()}"
    assert "; it is kept until 2" in tiny.run("up", "--suite", "brief").output
    down = tiny.run("down", "--all").output
    assert down == f"removing {project}: 1 container, 1 network, 1 volume (redis)\nremoved {project}\n"
    assert tiny.run("up", "--suite", "brief").code == 0
    clean = tiny.run("clean")
    assert clean.code == 0, clean.output
    listed = clean.output.splitlines()
    assert f"removing stack {project}: 1 container, 1 network, 1 volume (redis)" in listed
    assert "removing build/" in listed
    assert things("network", [project]) == []
