"""A mock that somebody killed while a test ran: told once, in words, with what is lost by it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from itest.errors import ItestError
from itest.isolation.mock import MockStore


def gone(service: str) -> str:
    raise ItestError("service", f"service {service}: it does not run (exited, code 137)", cause="exited")


STACK = SimpleNamespace(
    admin=gone,
    state=lambda _: "exited, code 137",
    halted=set(),
    places={},
    suite=SimpleNamespace(per_worker=("mock",)),
)


def test_that_the_journal_went_with_it_is_told_and_nothing_a_second_time():
    store = MockStore(STACK, "mock", ())
    with pytest.raises(ItestError) as caught:
        store.end()
    assert caught.value.category == "service"
    assert caught.value.message.startswith("service mock: exited, code 137, ")
    assert caught.value.chain == ("its journal can't be read, so no mock.txt tells what came",)
    assert store.dirt() == []


def test_one_that_is_found_gone_at_the_end_of_a_worker_is_told_there():
    with pytest.raises(ItestError, match="service mock: exited, code 137"):
        MockStore(STACK, "mock", ()).dirt()
