"""A fault from its beginning to its end, and the book that knows of it, without an engine."""

from __future__ import annotations

import json

import pytest

from itest.errors import ItestError
from itest.faults.book import Book
from itest.faults.fault import Fault
from itest.stack.stack import Stack
from itest.verdict import evidence
from itest.verdict.mask import Masker


class Sulk(Fault):
    """Notes in `seen` what becomes of it. fails: on which of its steps it raises what."""

    def __init__(self, book: Book, seen: list[str], name: str = "sulk", **fails: BaseException) -> None:
        super().__init__(book, "app")
        self.seen, self.name, self.fails = seen, name, fails

    def describe(self) -> str:
        return f"{self.name} app"

    def _begin(self) -> None:
        self._step("begin")

    def _end(self) -> None:
        self._step("end")

    def _step(self, step: str) -> None:
        self.seen.append(f"{self.name} {step}")
        if error := self.fails.pop(step, None):
            raise error


@pytest.fixture
def book(repo) -> Book:
    suite = repo.load()
    return Book(Stack(suite, suite.project("p")), "tests/api/test_api.py::test_it")


def test_a_fault_is_inert_until_it_is_injected_and_is_there_for_a_block_only(book) -> None:
    seen: list[str] = []
    fault = Sulk(book, seen)
    assert (seen, fault.is_on, book.on) == ([], False, ())

    with fault as entered:
        assert entered is fault
        assert (seen, fault.is_on, book.on) == (["sulk begin"], True, (fault,))
    assert (seen, fault.is_on, book.on) == (["sulk begin", "sulk end"], False, ())


def test_healing_twice_is_healing_once_and_a_healed_fault_may_come_again(book) -> None:
    seen: list[str] = []
    fault = Sulk(book, seen).inject()
    fault.heal()
    fault.heal()
    with fault:
        pass
    assert seen == ["sulk begin", "sulk end"] * 2
    assert [period.fault for period in book.periods] == ["sulk app", "sulk app"]


def test_one_that_was_made_and_never_injected_is_told_with_where(book) -> None:
    with Sulk(book, []):
        pass
    Sulk(book, [], "timed").use()
    book.refuse_idle()
    Sulk(book, [], "forgotten")
    with pytest.raises(ItestError, match=r"fault forgotten app: it was never injected \(test_fault.py:\d+\)") as caught:
        book.refuse_idle()
    assert caught.value.category == "test"


def test_a_fault_that_is_injected_is_not_injected_again(book) -> None:
    with Sulk(book, []) as fault, pytest.raises(ItestError, match="fault sulk app: it is injected already") as caught:
        fault.inject()
    assert caught.value.category == "usage"


@pytest.mark.parametrize("error", [ItestError("service", "no"), KeyboardInterrupt()], ids=["refused", "interrupted"])
def test_one_that_comes_to_nothing_halfway_is_undone(book, error) -> None:
    seen: list[str] = []
    with pytest.raises(type(error)):
        Sulk(book, seen, begin=error).inject()
    assert (seen, book.on) == (["sulk begin", "sulk end"], ())


def test_the_book_heals_the_newest_first_and_the_others_too_where_one_does_not_heal(book) -> None:
    seen: list[str] = []
    first = Sulk(book, seen, "first").inject()
    stuck = Sulk(book, seen, "stuck", end=ItestError("engine", "docker is gone")).inject()
    Sulk(book, seen, "last").inject()
    seen.clear()

    with pytest.raises(ItestError, match="docker is gone"):
        book.heal()
    assert seen == ["last end", "stuck end", "first end"]
    assert (book.on, first.is_on) == ((stuck,), False)
    book.heal()  # it is still there to be healed
    assert book.on == ()


def test_a_run_is_told_what_there_was_and_when(book, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ITEST_INJECTED", str(injected := tmp_path / "injected"))
    with Sulk(book, []):
        [period] = map(json.loads, injected.read_text().splitlines())
        assert (period["fault"], period["owner"]) == ("sulk app", "tests/api/test_api.py::test_it")
    kept = evidence.keep_faults(tmp_path, injected, Masker(()))
    [told] = json.loads((tmp_path / "faults.json").read_text())
    assert told == period | {"ended": told["ended"]}
    assert told["began"] <= told["ended"]
    assert [one.words for one in kept] == [f"sulk app, for {told['ended'] - told['began']:.2f} s"]


def test_what_nobody_lived_to_heal_is_told_without_an_end(book, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ITEST_INJECTED", str(injected := tmp_path / "injected"))
    Sulk(book, []).inject()
    [one] = evidence.keep_faults(tmp_path, injected, Masker(()))
    assert one.words == "sulk app, still there"
