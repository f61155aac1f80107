"""The schedule of faults: of a seed alone, in words that a person can type, of nothing that tests do not survive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itest import chaos, suite
from itest.chaos.schedule import links, possible, schedule
from itest.errors import ItestError
from itest.faults import byhand
from itest.settings import Settings

API = suite.load(Path(__file__).parents[3], "api")
ALONE = replace(API, services={"shop": replace(API.services["shop"], depends_on=())})
SEEDS = st.integers(1, 10**9)


@dataclass(frozen=True)
class Called:
    """Stands where Faults does, to see what words ask of it."""

    kind: str = ""
    services: tuple[str, ...] = ()

    def __getattr__(self, kind):
        return lambda *services, **_amounts: Called(kind, services)


def first(seed: int, count: int = 40):
    return list(islice(schedule(API, seed), count))


@given(SEEDS)
def test_the_same_seed_gives_the_same_faults_at_the_same_times(seed):
    assert first(seed) == first(seed)


def test_seeds_near_each_other_give_other_faults():
    assert len({tuple(first(seed)) for seed in range(1, 51)}) == 50


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_every_step_can_be_typed_by_hand_and_hits_what_the_stack_has(seed):
    for step in first(seed, 10):
        asked = byhand.asked(Called(), step.words)
        assert asked.kind in possible(API)
        assert asked.services in [*links(API), ("postgres",), ("redis",)]


def test_in_time_every_kind_hits_every_link_and_every_store():
    hit = {" ".join(word for word in step.words if "=" not in word) for step in first(1, 400)}
    assert hit == {
        *(f"{kind} shop {store}" for kind in ("latency", "bandwidth", "slice") for store in ("postgres", "redis")),
        "pause postgres",
        "pause redis",
    }


def test_a_link_leads_from_who_is_no_store_to_what_it_depends_on():
    assert links(API) == [("shop", "postgres"), ("shop", "redis")]


def test_a_stack_that_no_fault_could_hit_is_refused():
    with pytest.raises(ItestError) as caught:
        chaos.check([API, ALONE], [])
    assert "has no store, and no service that depends on another" in caught.value.message


def test_workers_are_refused_as_their_services_would_not_be_hit():
    with pytest.raises(ItestError) as caught:
        chaos.check([API], ["-n", "2"])
    assert caught.value.hint == "leave out -n"


def test_a_seed_that_is_given_counts_and_else_one_is_made_up():
    assert chaos.seeded(Settings(seed=42)).seed == 42
    assert len({chaos.seeded(Settings()).seed for _ in range(20)} - {0}) > 15
