"""Services that die without a test having meant it: who is to blame is said first, marked, and ends the suite soon."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

REDIS = (Path(__file__).parent / "redis.yaml").read_text(encoding="utf-8")
BESIDE = """
  beside:
    extends: {file: defaults.yaml, service: defaults}
    image: redis:8.0.2
    user: "999:999"
    entrypoint: [sh, -c, "COMMAND"]
"""
KILLING = """
import subprocess

import pytest


def kill(stack, service):
    subprocess.run(["docker", "kill", stack.containers[service].id], check=True, capture_output=True)


"""


@pytest.fixture
def mortal(shared_checkout, request):
    """Adds a suite to the module's checkout, runs it, and returns how that ended."""

    def run(layer: str, test: str, *arguments: str, timeout: float = 60):
        shared_checkout.suite("mortal", layer, test=KILLING + test)
        return shared_checkout.run("run", "--suite", "mortal", *arguments, timeout=timeout)

    return run


def beside(command: str, more: str = "") -> str:
    return REDIS + BESIDE.replace("COMMAND", command) + more


def capsule(checkout) -> dict:
    return json.loads((checkout.latest / "mortal/failure.json").read_text(encoding="utf-8"))


def cases(checkout) -> dict[str, dict[str, str]]:
    """The properties of every test case in the merged report."""
    root = ElementTree.parse(checkout.latest / "junit.xml").getroot()
    return {
        case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")}
        for case in root.iter("testcase")
    }


DIES_MIDWAY = """
def test_before(redis_client):
    assert redis_client.ping() is False


def test_while_it_dies(stack, redis_client):
    kill(stack, "redis")
    redis_client.ping()


@pytest.mark.parametrize("number", range(200))
def test_after(redis_client, number):
    redis_client.blpop("nothing", timeout=0.05)
"""


@pytest.mark.parametrize("workers", ["", "-n 2"])
def test_what_fails_for_a_dead_service_is_marked_and_the_rest_is_not_run(mortal, shared_checkout, workers):
    ended = mortal(REDIS, DIES_MIDWAY, f"--args={workers}")

    assert ended.code == 5, ended.output
    assert "mortal: service redis: exited with code 137 (killed, SIGKILL) during the tests" in ended.output
    told = cases(shared_checkout)
    assert told["test_before"] == {}, "it failed before, for a reason of its own"
    assert told["test_while_it_dies"] == {"itest.category": "service", "itest.cause": "exited"}
    assert len(told) < 100, "the others would have failed alike"
    facts = capsule(shared_checkout)
    assert (facts["category"], facts["cause"]) == ("service", "exited")
    happened = ["created", "started", "was sent SIGKILL", "exited with code 137 (killed, SIGKILL)"]
    assert [one["event"] for one in facts["timeline"]] == happened
    assert facts["services"]["redis"]["state"] == "exited, code 137"
    assert facts["reproduce"].startswith("make itest SUITE=mortal")
    shared = "what other workers ran meanwhile" in (shared_checkout.latest / "junit.xml").read_text(encoding="utf-8")
    assert shared is bool(workers)


def test_a_database_that_dies_takes_nothing_with_it_that_would_hide_it(shared_checkout):
    """Cleaning up after the tests, and looking for what they left open, needs it."""
    shared_checkout.write("tests/database/test_a_kill.py", KILLING + "def test_it(stack, db): kill(stack, 'postgres')")
    ended = shared_checkout.run("run", "--suite", "database")

    assert ended.code == 5, ended.output
    assert "database: service postgres: exited with code 137 (killed, SIGKILL) during the tests" in ended.output
    assert "Traceback (most recent call last)" not in ended.output


def test_a_service_that_a_test_ends_and_starts_again_and_again_has_not_died(mortal):
    test = """
@pytest.mark.parametrize("number", range(6))
def test_that_means_it(stack, number):
    stack.kill("redis")
    stack.start("redis")
"""
    ended = mortal(REDIS, test)
    assert ended.code == 0, ended.output


def test_a_service_that_no_test_needs_ends_the_suite_all_the_same(mortal, shared_checkout):
    test = """
def test_that_kills(stack):
    kill(stack, "beside")


@pytest.mark.parametrize("number", range(500))
def test_that_is_green(eventually, redis_client, number):
    redis_client.blpop("nothing", timeout=0.05)
"""
    ended = mortal(beside("exec sleep 600"), test)

    assert ended.code == 5, ended.output
    assert "service beside: exited with code 137 (killed, SIGKILL) during the tests" in ended.output
    assert len(cases(shared_checkout)) < 100


def test_a_test_that_hangs_for_a_dead_service_is_ended(mortal, shared_checkout):
    test = """
def test_that_waits(stack):
    import threading
    kill(stack, "redis")
    threading.Event().wait(60)
"""
    ended = mortal(REDIS, test, timeout=40)

    assert ended.code == 5, ended.output
    assert "service redis: exited with code 137" in capsule(shared_checkout)["message"]


def test_of_several_that_died_the_one_that_the_others_need_comes_first(mortal, shared_checkout):
    dies_of_it = "until ! redis-cli -h redis ping >/dev/null; do sleep 0.02; done; exit 7"
    layer = beside(dies_of_it, "    depends_on: [redis]\n")
    ended = mortal(layer, DIES_MIDWAY.replace("    redis_client.ping()", "    threading.Event().wait(0.5)", 1))
    assert ended.code == 5, ended.output
    facts = capsule(shared_checkout)
    assert facts["message"].startswith("service redis: exited with code 137")
    assert facts["chain"] == ["service beside: exited with code 7 during the tests"]
    text = (shared_checkout.latest / "mortal/failure.txt").read_text(encoding="utf-8")
    assert text.splitlines()[1] == "then: service beside: exited with code 7 during the tests"


def test_what_is_gone_ends_the_wait_of_what_needs_it(mortal, shared_checkout):
    """Redis is ready and ends a second later; the other would wait for a minute."""
    layer = REDIS.replace(
        "user:", "command: [sh, -c, 'timeout -s KILL 2 redis-server --protected-mode no; exit 4']\n    user:"
    )
    layer += BESIDE.replace("COMMAND", "exec sleep 600") + "    x-itest: {ready: [{exec: [sh, -c, exit 1]}]}\n"
    ended = mortal(layer, "def test_it(stack): pass", timeout=30)

    assert ended.code == 5, ended.output
    facts = capsule(shared_checkout)
    assert facts["message"] == "service redis: exited with code 4 while the stack started"
    assert facts["cause"] == "exited"


class TestAOneShot:
    """A service that others wait for until it has ended well."""

    LAYER = beside("echo preparing; exit CODE").replace(
        "  redis:\n", "  redis:\n    depends_on: {beside: {condition: service_completed_successfully}}\n"
    )

    def test_that_ends_well_is_ready_and_not_missed_afterwards(self, mortal, shared_checkout):
        ended = mortal(self.LAYER.replace("CODE", "0"), "def test_it(redis_client):\n    assert redis_client.ping()")
        assert ended.code == 0, ended.output

    def test_that_fails_is_what_the_suite_fails_for(self, mortal, shared_checkout):
        ended = mortal(self.LAYER.replace("CODE", "3"), "def test_it(redis_client):\n    assert redis_client.ping()")
        assert ended.code == 5, ended.output
        assert capsule(shared_checkout)["message"].startswith("service beside: exited with code 3")
        assert "log: preparing" in ended.output


def test_a_healthcheck_that_never_succeeds_is_told_though_the_probe_does(mortal):
    layer = REDIS.rstrip() + "\n    healthcheck: {test: [CMD-SHELL, 'echo no; exit 1'], interval: 100ms}\n"
    ended = mortal(layer, "def test_it(redis_client): redis_client.blpop('nothing', timeout=2)")
    assert ended.code == 0, ended.output
    broken = "the healthcheck of redis has not succeeded once: no"
    assert f"mortal: `docker compose up --wait` would fail: {broken}" in ended.output
