"""Tests of a suite with two services: what each fault of `redis` is to `client`, and that nothing of it stays.

test_container_faults.py runs them, in a run and on a kept stack.
"""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import requests

from itest.errors import ItestError

HANGS, FAILS = 124, 1  # exit codes: that of timeout(1), and redis-cli's own


def from_client(stack, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `client`, for a moment at most."""
    inside = ["docker", "exec", stack.containers["client"].id, "timeout", "0.5", *command]
    return subprocess.run(inside, capture_output=True, text=True, check=False)


def asked(stack, *words: str) -> subprocess.CompletedProcess[str]:
    """What `redis` answers to `client`."""
    return from_client(stack, "redis-cli", "-e", "-h", "redis", *words)


def seen(stack) -> str:
    """What `client` finds: an answer, and the address of the service and of its alias."""
    return from_client(stack, "sh", "-c", "redis-cli -h redis PING; getent hosts redis store").stdout


def told_time(stack) -> tuple[float, float]:
    """What `app` says of the time, and of its monotonic clock."""
    now, ticks = requests.get(stack.url("app"), timeout=5).text.split()
    return float(now), float(ticks)


@pytest.fixture(scope="module")
def before(stack) -> str:
    return seen(stack)


@pytest.fixture(autouse=True)
def whole(stack, before):
    """Nothing is left of the test before: an answer at the same addresses, to `client` and at the published port."""
    assert before.split()[0] == "PONG"
    assert before.split()[2::2] == ["redis", "store"]
    assert seen(stack) == before
    with redis.Redis.from_url(stack.dsn("redis")) as client:
        assert client.ping()


@pytest.mark.parametrize(
    ("kind", "code", "state"),
    [
        ("pause", HANGS, "paused"),
        ("kill", FAILS, "exited, code 137"),
        ("stop", FAILS, "exited, code 0"),
        ("oom", FAILS, "exited, code 137, OOM-killed"),
    ],
)
def test_a_service_is_not_there_while_the_block_lasts(stack, faults, kind, code, state):
    with getattr(faults, kind)("redis"):
        assert stack.state("redis") == state
        assert asked(stack, "PING").returncode == code


def test_a_restarted_service_is_another_process(stack, faults):
    asked(stack, "SET", "mine", "1")
    with faults.restart("redis"):
        pass
    assert asked(stack, "GET", "mine").stdout == "\n"


def test_http_leads_to_a_service_that_was_started_anew(http, faults):
    with faults.restart("app"):
        pass
    assert http.get("/").status_code == 200


def test_nothing_can_be_written_to_a_full_disk(stack, faults):
    assert asked(stack, "SAVE").stdout == "OK\n"
    with faults.fill_disk("redis", "/data"):
        assert asked(stack, "SAVE").returncode == FAILS
        assert from_client(stack, "redis-cli", "-h", "redis", "PING").stdout == "PONG\n"
    assert asked(stack, "SAVE").stdout == "OK\n"


def test_the_filler_goes_although_the_service_has_died(stack, faults):
    with faults.fill_disk("redis", "/data"):
        stack.kill("redis")
    assert asked(stack, "SAVE").stdout == "OK\n"


@pytest.mark.parametrize(("offset", "seconds"), [("+2h", 7200), (timedelta(days=-3), -259200), (90, 90)])
def test_a_clock_is_moved_at_once_and_what_runs_by_the_monotonic_one_is_not(stack, faults, offset, seconds):
    assert told_time(stack)[0] == pytest.approx(time.time(), abs=5)
    with faults.clock("app", offset):
        moved, ticks = told_time(stack)
        assert moved == pytest.approx(time.time() + seconds, abs=5)
    right, later = told_time(stack)
    assert right == pytest.approx(time.time(), abs=5)
    assert 0 <= later - ticks < 30


def test_an_error_in_the_block_heals_it_too(stack, faults):
    with pytest.raises(AssertionError, match="PONG"), faults.kill("redis"):
        assert asked(stack, "PING").stdout == "PONG\n"


def test_what_a_test_does_not_heal(stack, faults):
    faults.pause("redis").inject()
    assert asked(stack, "PING").returncode == HANGS


def test_is_healed_for_it(stack, before):
    assert seen(stack) == before


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (lambda faults: faults.oom("client"), "no memory limit"),
        (lambda faults: faults.clock("redis", "+2h"), "not prepared for it"),
        (lambda faults: faults.clock("app", "soon"), "'soon' is no offset"),
        (lambda faults: faults.fill_disk("redis", "/"), "on the engine's disk, which all share"),
        (lambda faults: faults.fill_disk("redis", "/tmp"), "in memory without a limit"),
        (lambda faults: faults.fill_disk("redis", "/nowhere"), "No such file or directory"),
        (lambda faults: faults.fill_disk("redis", "/large"), "its mem_limit is 64 MiB"),
    ],
)
def test_what_would_do_nothing_or_harm_to_others_is_refused(stack, faults, fault, why):
    with pytest.raises(ItestError, match=why):
        fault(faults).inject()


def test_a_service_that_is_gone_can_not_be_taken_away_again(stack, faults):
    with faults.kill("redis"):
        with pytest.raises(ItestError, match=r"does not run \(exited, code 137\)"):
            faults.oom("redis").inject()
        assert stack.state("redis") == "exited, code 137"


def test_nothing_is_left_in_the_end(stack, before):
    assert seen(stack) == before


@pytest.mark.parametrize("kind", ["pause", "oom"])
def test_held_until_somebody_ends_it(faults, kind):
    """Only for whoever makes the file, to end this process: what is left of it then is theirs to assert."""
    holding = Path("holding")
    if not holding.exists():
        pytest.skip("nobody will end it")
    with faults.fill_disk("redis", "/data"), getattr(faults, kind)("redis"):
        holding.write_text(kind, encoding="utf-8")
        while True:
            signal.pause()
