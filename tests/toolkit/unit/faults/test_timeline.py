"""A timeline of faults that do nothing, in hundredths of a second."""

from __future__ import annotations

import time

import pytest

from itest.errors import ItestError
from itest.faults.book import Book
from itest.faults.fault import Fault
from itest.faults.timeline import Timeline
from itest.stack.eventually import eventually
from itest.stack.stack import Stack


class Tick(Fault):
    """Notes when it begins and ends. error: what it raises instead of beginning."""

    def __init__(self, book: Book, log: list[tuple[str, float]], name: str, error: Exception | None = None) -> None:
        super().__init__(book, "app")
        self.log, self.name, self.error = log, name, error

    def describe(self) -> str:
        return self.name

    def _begin(self) -> None:
        if self.error:
            raise self.error
        self.log.append((f"+{self.name}", time.monotonic()))

    def _end(self) -> None:
        self.log.append((f"-{self.name}", time.monotonic()))


@pytest.fixture
def book(repo) -> Book:
    suite = repo.load()
    return Book(Stack(suite, suite.project("p")))


def names(log: list[tuple[str, float]]) -> list[str]:
    return [name for name, _ in log]


def test_faults_come_and_go_at_their_times_whatever_their_order(book) -> None:
    log: list[tuple[str, float]] = []
    b, a = Tick(book, log, "b"), Tick(book, log, "a")
    began = time.monotonic()
    with Timeline((0.06, 0.1, b), (0.02, 0.06, a)) as timeline:
        assert not timeline.over
        eventually(lambda: timeline.over)
    assert names(log) == ["+a", "-a", "+b", "-b"]  # what ends at a moment ends first
    assert [at - began >= due for (_, at), due in zip(log, (0.02, 0.06, 0.06, 0.1), strict=True)] == [True] * 4


def test_a_block_that_ends_early_heals_what_is_there_and_leaves_out_what_was_to_come(book) -> None:
    log: list[tuple[str, float]] = []
    now, later = Tick(book, log, "now"), Tick(book, log, "later")
    with Timeline((0, 60, now), (50, 60, later)):
        eventually(lambda: now.is_on)
    assert (names(log), book.on) == (["+now", "-now"], ())


def test_what_goes_wrong_in_it_is_raised_when_the_block_ends_and_the_rest_is_healed(book) -> None:
    log: list[tuple[str, float]] = []
    good, bad = Tick(book, log, "good"), Tick(book, log, "bad", ItestError("service", "bad: no such place"))
    with pytest.raises(ItestError, match="no such place"), Timeline((0, 60, good), (0.01, 60, bad)) as timeline:
        eventually(lambda: timeline.over)
    assert ([name for name in names(log) if "good" in name], book.on) == (["+good", "-good"], ())


def test_an_interrupt_of_the_block_stays_one(book) -> None:
    bad = Tick(book, [], "bad", ItestError("service", "no"))
    timeline = Timeline((0, 60, bad)).__enter__()
    eventually(lambda: timeline.over)
    interrupt = KeyboardInterrupt()
    assert timeline.__exit__(KeyboardInterrupt, interrupt, None) is None  # neither raised nor kept from going on


@pytest.mark.parametrize(("since", "until"), [(2, 1), (1, 1), (-1, 1)])
def test_times_that_mean_nothing_are_refused(book, since, until) -> None:
    with pytest.raises(ItestError, match=f"faults.timeline: x from {since} s to {until} s"):
        Timeline((since, until, Tick(book, [], "x")))
