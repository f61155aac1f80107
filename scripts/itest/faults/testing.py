"""The fixture `faults`: what a test injects is healed when it ends, however it ends, and told where it fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from itest.controller import STACKS
from itest.faults.fault import Unable
from itest.fixtures import blaming
from itest.stack.stack import Stack

if TYPE_CHECKING:
    from itest.faults.book import Book
    from itest.faults.faults import Faults
    from itest.faults.network import Sidecars

_BOOK: pytest.StashKey[Book] = pytest.StashKey()  # of a test
_SIDECARS: pytest.StashKey[dict[str, Sidecars]] = pytest.StashKey()  # of a pytest process, by stack


@pytest.fixture
def faults(request: pytest.FixtureRequest, stack: Stack, _mock_state: None) -> Iterator[Faults]:
    """Faults between services and of services: `with faults.latency("shop", "postgres", ms=200): …`"""
    from itest.faults.book import Book
    from itest.faults.faults import Faults

    book = request.node.stash[_BOOK] = Book(stack, request.node.nodeid)
    yield Faults(book, _sidecars(request.config, stack))
    with blaming(request.node):  # before the stores are cleaned, which must be there for it
        book.heal()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Tell with a failure which faults there were, and when."""
    book = item.stash.get(_BOOK, None)
    if book and call.when == "call" and call.excinfo and (periods := book.periods):
        told = "".join(f"{period}\n" for period in periods)
        item.add_report_section("call", "stdout of itest, faults injected in this", told)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    with _skipping():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    with _skipping():
        return (yield)


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
