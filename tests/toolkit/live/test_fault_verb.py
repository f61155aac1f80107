"""`make fault`: faults of a kept stack by hand, which stay until they are healed, or the stack is gone."""

from __future__ import annotations

import os
import subprocess

import pytest

from itest.errors import EXIT_CODES

SUITE = "byhand"
LAYER = """
services:
  redis:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: redis}
    image: redis:8.0.2
    user: "999:999"
    mem_limit: 64m
    tmpfs: ["/data:uid=999,gid=999,size=4m", "/large:uid=999,gid=999,size=128m"]
    ports: ["127.0.0.1::6379"]
    stop_grace_period: 1s
  client:
    extends: {file: defaults.yaml, service: defaults}
    image: redis:8.0.2
    command: [sleep, infinity]
    init: true
    depends_on: {once: {condition: service_completed_successfully}}
  once:
    extends: {file: defaults.yaml, service: defaults}
    image: redis:8.0.2
    command: ["true"]
"""


@pytest.fixture(scope="module")
def kept(shared_checkout):
    """A checkout with a small stack that is kept."""
    shared_checkout.suite(SUITE, LAYER)
    shared_checkout.replace(f"compose/suites/{SUITE}.env", f"=itest-{SUITE}\n", f"=itest-{SUITE}-{os.getpid()}\n")
    up = shared_checkout.run("up", "--suite", SUITE)
    assert up.code == 0, up.output
    return shared_checkout


def fault(checkout, words: str = ""):
    return checkout.run("fault", "--suite", SUITE, f"--args={words}")


def answer() -> str:
    """What `client` hears from `redis` within half a second."""
    inside = ["docker", "exec", f"itest-{SUITE}-{os.getpid()}-client-1", "timeout", "0.5"]
    asked = [*inside, "redis-cli", "-h", "redis", "PING"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def listed(checkout) -> list[str]:
    """What stands, without for how long."""
    lines = fault(checkout).output.partition("\n\n")[0].splitlines()
    return [line.partition("  ")[0] for line in lines]


def test_a_fault_by_hand_stays_over_other_commands_until_it_is_healed(kept):
    heal = f"heal all: make fault SUITE={SUITE} ARGS=heal"
    for words in ("fill_disk redis /data", "pause redis"):
        done = fault(kept, words)
        assert done.code == 0, done.output
        assert done.output.splitlines() == [words, f"heal: make fault SUITE={SUITE} ARGS=heal"]
    stand = f"faults stand: fill_disk redis /data, pause redis (make fault SUITE={SUITE} ARGS=heal)"
    looked, up = kept.run("ps").output, kept.run("up", "--suite", SUITE)
    assert "healing" not in looked
    assert stand in looked
    assert f"hint: {stand}" in up.output, "not docker's own, which no note would know of"
    assert up.code == EXIT_CODES["service"]
    assert stand in kept.pytest(f"tests/{SUITE}").output
    assert listed(kept) == ["fill_disk redis /data", "pause redis", heal]
    assert answer() == ""
    assert fault(kept, "heal pause").output == "healed pause redis\n"
    assert answer() == "PONG"
    assert listed(kept) == ["fill_disk redis /data", heal]
    assert fault(kept, "heal").output == "healed fill_disk redis /data\n"
    assert fault(kept, "heal").output == "no fault stood\n"


def test_a_restart_is_over_when_the_service_is_ready_and_told_with_where_it_answers(kept):
    done = fault(kept, "restart redis").output
    assert done.startswith("restart redis: done, ready at redis://127.0.0.1:")
    assert listed(kept)[0].endswith("no fault stands")
    fault(kept, "kill redis")
    assert fault(kept, "heal").output.startswith("healed kill redis, ready at redis://127.0.0.1:")


def test_healing_one_does_not_run_a_one_shot_again(kept):
    look = ["docker", "inspect", "--format", "{{.State.StartedAt}}", f"itest-{SUITE}-{os.getpid()}-once-1"]
    before = subprocess.run(look, capture_output=True, check=True).stdout
    assert fault(kept, "kill client").code == 0
    assert fault(kept, "heal").output == "healed kill client\n"
    assert subprocess.run(look, capture_output=True, check=True).stdout == before


def test_a_fault_between_services_is_told_in_the_words_that_made_it(kept):
    words = "timeout client redis"
    assert fault(kept, words).code == 0
    assert answer() == ""
    assert listed(kept)[0] == words
    assert fault(kept, f"heal {words}").output == f"healed {words}\n"
    assert answer() == "PONG"


def test_what_is_possible_is_told_with_how_to_ask_for_it(kept):
    lines = fault(kept).output.partition("\n\n")[2].splitlines()
    able = dict(line.rsplit("  ", 1) for line in lines)
    told = {asked.split()[0]: words for asked, words in able.items()}
    assert (told["pause"], told["latency"]) == ("yes", "yes")
    assert told["oom"] == "redis"
    assert told["fill_disk"] == "redis /data"
    assert told["clock"].startswith("no: ")
    assert any(asked.startswith("latency CLIENT SERVER ms=…") for asked in able)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("puase redis", "no fault is called puase\nhint: did you mean `pause`?"),
        ("pause rdis", "fault pause rdis: suite byhand has no service rdis\nhint: did you mean `redis`?"),
        ("latency client redis", "fault latency: ms=… is missing\nhint: ARGS='latency CLIENT SERVER ms=…"),
        ("heal pause redis", "no such fault stands: pause redis\nhint: none stands"),
    ],
)
def test_wrong_words_are_told_with_the_right_ones(kept, words, problem):
    done = fault(kept, words)
    assert done.code == 2, done.output
    assert f"itest: error: {problem}" in done.output


def test_without_a_stack_it_is_told_how_to_have_one(shared_checkout):
    done = shared_checkout.run("fault", "--suite", "messaging", "--args=pause rabbitmq")
    assert done.code == 2
    assert "hint: make up SUITE=messaging" in done.output


def test_a_fault_goes_with_its_stack(kept):
    assert fault(kept, "pause redis").code == 0
    down = kept.run("down", "--suite", SUITE)
    assert down.code == 0, down.output
    kept.run("ps")
    assert list((kept.path / "build/itest/faults").iterdir()) == []
    assert kept.leftovers()["containers"] == []


def test_what_plain_compose_leaves_of_a_stack_goes_too(kept):
    assert kept.run("up", "--suite", SUITE).code == 0
    assert fault(kept, "latency client redis ms=1").code == 0
    project = f"itest-{SUITE}-{os.getpid()}"
    subprocess.run(["docker", "compose", "-p", project, "down"], check=True, capture_output=True)
    down = kept.run("down", "--suite", SUITE)
    assert f"removing {project}: 1 container, left by docker compose down" in down.output
    assert kept.leftovers()["containers"] == []
