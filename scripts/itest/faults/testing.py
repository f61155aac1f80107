"""The fixture `faults`: what a test injects is healed when it ends, however it ends, and told where it fails."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeGuard

import pytest

from itest.controller import STACKS
from itest.errors import ItestError
from itest.faults.fault import Unable
from itest.fixtures import blaming
from itest.stack.stack import Stack

if TYPE_CHECKING:
    from itest.faults.book import Book
    from itest.faults.faults import Faults
    from itest.faults.network import Sidecars

_BOOK: pytest.StashKey[Book] = pytest.StashKey()  # of a test
_SIDECARS: pytest.StashKey[dict[str, Sidecars]] = pytest.StashKey()  # of a pytest process, by stack


class FaultWarning(pytest.PytestWarning):
    """A fault between services met nothing, as it has to where a test proves that nobody connects."""


@pytest.fixture
def faults(request: pytest.FixtureRequest, stack: Stack, _mock_state: None) -> Iterator[Faults]:
    """Faults between services and of services: `with faults.latency("shop", "postgres", ms=200): …`"""
    from itest.faults.book import Book
    from itest.faults.faults import Faults

    book = request.node.stash[_BOOK] = Book(stack, request.node.nodeid)
    yield Faults(book, _sidecars(request.config, stack))
    with blaming(request.node):  # before the stores are cleaned, which must be there for it
        book.heal()
    for words in book.unmet:
        request.node.warn(FaultWarning(f"{words}: no connection was there for it to act on while it lasted"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Tell with a failure which faults there were, and when; those that stand by hand; and who was cut off."""
    if call.when != "call" or not call.excinfo or isinstance(call.excinfo.value, pytest.skip.Exception):
        return
    book = item.stash.get(_BOOK, None)
    if book and (periods := book.periods):
        told = "".join(f"{period}\n" for period in periods)
        item.add_report_section("call", "stdout of itest, faults injected in this", told)
    error = call.excinfo.value
    if _is_sidecars(error):  # it is no failure of the test's, whose faults needed that
        item.user_properties += [("itest.category", error.category), ("itest.cause", error.cause)]
    for reached in _reached(item):
        _tell_standing(item, reached)
        _blame_sidecars(item, reached)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    with _skipping():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test that has passed has passed with its faults, not for want of them."""
    with _skipping():
        yield
    if book := item.stash.get(_BOOK, None):
        with blaming(item):
            book.refuse_idle()


def _reached(item: pytest.Item) -> list[Stack]:
    with suppress(ItestError):  # what failed is told, not that docker doesn't answer either
        return item.config.stash[STACKS].look(item.path)
    return []


def _tell_standing(item: pytest.Item, stack: Stack) -> None:
    """A kept stack may have faults that somebody forgot; nobody injects any by hand into a run's."""
    from itest.faults import byhand

    if "ITEST_STACK" not in os.environ and (told := byhand.left_standing(stack)):
        item.add_report_section("call", "stdout of itest, by hand during this", f"{told}\n")


def _blame_sidecars(item: pytest.Item, stack: Stack) -> None:
    """Where a sidecar has ended, and so cut its client off, that is what failed, and the next test finds it placed."""
    try:
        _sidecars(item.config, stack).mend_all()
    except ItestError as error:
        item.user_properties += [("itest.category", error.category), ("itest.cause", error.cause)]
        item.add_report_section("call", "stdout of itest, what is to blame for this", f"{error}\n")


def _is_sidecars(error: BaseException) -> TypeGuard[ItestError]:
    from itest.faults.network import ENDED

    return isinstance(error, ItestError) and error.cause == ENDED


@contextmanager
def _skipping() -> Iterator[None]:
    """Skip a test that asks for what this machine can't do, with the reason."""
    try:
        yield
    except Unable as error:
        pytest.skip(error.message)


def _sidecars(config: pytest.Config, stack: Stack) -> Sidecars:
    """Kept from test to test: a conversation with a sidecar costs more than what is said in it."""
    from itest.faults.network import Sidecars

    held = config.stash.setdefault(_SIDECARS, {})
    if stack.name not in held:
        stacks = config.stash[STACKS]
        held[stack.name] = sidecars = Sidecars(stack, stacks.report)
        stacks.closing.callback(sidecars.close)
    return held[stack.name]
