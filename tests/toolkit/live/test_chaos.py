"""`make chaos`: faults that come and go while a suite's tests run, by a seed that gives the same ones again."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest

from itest import suite
from itest.chaos.schedule import schedule

REDIS = (Path(__file__).parent / "redis.yaml").read_text(encoding="utf-8")
PAUSES = re.compile(r"chaos: (pause redis for \d\.\d s)$", re.MULTILINE)

# It sees from its own side that the server stands still now and then, and loses nothing.
PATIENT = """
import time

def test_it_goes_on(redis_client):
    waited, until = [], time.monotonic() + 3
    while time.monotonic() < until:
        began = time.monotonic()
        redis_client.incr("count")
        waited.append(time.monotonic() - began)
    assert max(waited) > 0.05
    assert redis_client.get("count") == str(len(waited))
"""

# From now on the probe is refused, though the test is not.
SPOILT = """
import time

def test_it_takes_the_key_away(redis_client):
    redis_client.config_set("requirepass", "another")
    time.sleep(3)
"""


@pytest.fixture(scope="module")
def calm(shared_checkout):
    shared_checkout.suite("patient", REDIS, test=PATIENT)
    shared_checkout.suite("spoilt", REDIS, test=SPOILT)
    return shared_checkout


def test_tests_run_through_the_faults_that_the_seed_stands_for(calm):
    ended = calm.run("chaos", ITEST_SUITE="patient", ITEST_SEED="3")
    assert ended.code == 0, ended.output
    pauses = PAUSES.findall(ended.output)
    assert pauses
    noted = json.loads((calm.latest / "patient" / "faults.json").read_text(encoding="utf-8"))
    assert [one["fault"] for one in noted] == ["pause redis"] * len(pauses)
    told = f"patient: chaos of seed 3: {len(pauses)} fault{'s' * (len(pauses) != 1)}, steady before, after each"
    assert told in ended.output
    assert pauses == [str(step) for step in islice(schedule(suite.load(calm.path, "patient"), 3), len(pauses))]


def test_a_stack_that_is_not_steady_again_is_the_services_failure_and_names_fault_and_seed(calm):
    ended = calm.run("chaos", ITEST_SUITE="spoilt", ITEST_SEED="3")
    assert ended.code == 5, ended.output
    assert re.search(r"then: the stack was not steady after pause redis for \d\.\d s, in chaos of seed 3", ended.output)
    assert "not steady any more" in ended.output
    assert "make itest SUITE=spoilt SEED=3" in (calm.latest / "spoilt" / "failure.txt").read_text(encoding="utf-8")


def test_without_a_seed_one_is_made_up_and_told_first_and_last(calm):
    ended = calm.run("chaos", ITEST_SUITE="patient", ITEST_ARGS="--collect-only")
    told = r"^chaos of seed (\d+)\nitest .+: patient\n[\s\S]+patient: chaos of seed \1: "
    assert re.search(told, ended.output, re.MULTILINE), ended.output


def test_workers_are_refused_before_anything_starts(calm):
    ended = calm.run("chaos", ITEST_SUITE="patient", ITEST_ARGS="-n 2")
    assert ended.code == 2
    assert "hint: leave out -n" in ended.output
