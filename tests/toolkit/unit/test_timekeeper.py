"""Deadlines: which one has passed, what it says, and what becomes of the stage that it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

import pytest

from itest.deadlines import Limits
from itest.errors import ItestError
from itest.settings import Settings
from itest.stack import unblock
from itest.stack.eventually import eventually
from itest.timekeeper import Subject, Timekeeper


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(unblock, "GRACE", 0.01)


@pytest.fixture
def keep(tmp_path):
    """A timekeeper of suite api, which has no stack."""

    def keep(**limits: float) -> Timekeeper:
        subject = Subject("suite api", tmp_path, lambda: [], lambda: "test_x", lambda: (tmp_path / "killed").touch())
        return Timekeeper(subject, Limits(**limits))

    return keep


def lose_connection(keeper: Timekeeper, stage: str, when: Callable[[], bool]) -> None:
    with keeper.stage(stage):
        eventually(when)
        raise ConnectionError("the server went away")


def test_limits_are_multiplied_and_a_debugger_has_none():
    given = Settings(stage_timeout=2, suite_timeout=3, run_timeout=0, timeout_factor=2)
    limits = Limits.of(given)
    assert (limits.stage, limits.suite, limits.run) == (4, 6, 0)
    assert limits.run_left == float("inf")
    debugging = Limits.of(Settings(args="--pdb"))
    assert (debugging.stage, debugging.suite, debugging.run) == (0, 0, 0)


def test_the_tests_stage_has_no_limit_of_its_own_as_each_test_and_the_suite_have_one():
    limits = Limits(stage=5, suite=9)
    assert limits.of_stage("suite api", "pytest").seconds == 0
    assert (limits.of_stage("suite api", "ready").seconds, limits.of_suite("suite api").seconds) == (5, 9)


def test_a_run_counts_from_its_beginning():
    assert Limits(run=10, began=time.monotonic() - 20).run_left < 0


@pytest.mark.parametrize(
    ("stage", "category"),
    [("up", "service"), ("ready", "service"), ("data", "data"), ("evidence", "engine"), ("down", "engine")],
)
def test_what_a_stage_raises_for_its_deadline_is_the_deadlines_error(keep, tmp_path, stage, category):
    with keep(stage=0.05) as keeper:
        with pytest.raises(ItestError) as caught:
            lose_connection(keeper, stage, keeper.passed.is_set)
        error = caught.value
        assert error is keeper.error
        assert (error.category, error.cause) == (category, "timeout")
        assert error.message == f"suite api: stage {stage} took longer than 0.05 s while test_x ran"
        assert "raise ITEST_STAGE_TIMEOUT" in error.hint
        assert "in lose_connection" in error.evidence
    assert "Thread MainThread:" in (tmp_path / "stacks.txt").read_text()


def test_what_does_not_end_of_itself_loses_its_containers_and_the_error_says_so(keep, tmp_path):
    with keep(stage=0.05) as keeper:
        with pytest.raises(ItestError) as caught:
            lose_connection(keeper, "data", (tmp_path / "killed").exists)
        assert caught.value.chain == ("its containers were killed, so that what waited for them ended",)


def test_pytest_is_ended_by_its_own_stage_and_keeps_its_stack(keep, tmp_path):
    with keep(suite=0.05) as keeper:
        with keeper.stage("pytest"):
            assert keeper.passed.wait(5)
            Event().wait(0.2)  # in which any other stage would lose its containers
        assert keeper.error.category == "test"
        assert keeper.error.message == "suite api: took longer than 0.05 s, in stage pytest while test_x ran"
        with pytest.raises(ItestError):
            keeper.check()
    assert not (tmp_path / "killed").exists()


def test_the_run_that_a_suite_is_part_of_ends_it(keep):
    with keep(run=0.05) as keeper, keeper.stage("pytest"):
        assert keeper.passed.wait(5)
    assert keeper.error.message == "run: took longer than 0.05 s, suite api in stage pytest while test_x ran"
    assert "ITEST_RUN_TIMEOUT" in keeper.error.hint


def test_without_limits_and_in_time_nothing_happens(keep, tmp_path):
    for limits in ({}, {"stage": 60, "suite": 60, "run": 60}):
        with keep(**limits) as keeper:
            with keeper.stage("data"):
                pass
            with pytest.raises(ConnectionError), keeper.stage("ready"):
                raise ConnectionError("of its own")
            keeper.check()
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_has_ended_in_time_is_never_late(keep):
    with keep(stage=0.2) as keeper:
        with keeper.stage("up"):
            pass
        Event().wait(0.5)
        keeper.check()
