"""The stub that answers a request, and the fault over it, within a patience: see `patience.Patience`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

from itest.mock import misses, replies
from itest.mock.incoming import Incoming
from itest.mock.misses import Miss
from itest.mock.patience import TooSlow
from itest.mock.shelf import Count, Placed, Scope
from itest.mock.stubs import Effect, Stub

Patience = AbstractContextManager[object]


class Slow(Exception):
    """A stub that takes too long to say whether it answers a request."""

    def __init__(self, stub: Stub, error: TooSlow) -> None:
        super().__init__(f"whether it answers this request: it {error}")
        self.stub = stub


def seen(scope: Scope, everybody: Sequence[Placed], *, overlay: bool) -> list[Placed]:
    """What a scope sees, the first to be asked first."""
    return [placed for placed in (*scope.shelf, *everybody) if placed.stub.overlay == overlay]


def first(shelf: Iterable[Placed], scope: Scope, incoming: Incoming, patience: Patience) -> Placed | None:
    """The first that answers a request. Raises Slow."""
    placed = None
    try:
        with patience:
            for placed in shelf:
                if next(misses.differences(placed.stub, scope.state, incoming), None) is None:
                    return placed
    except TooSlow as error:
        raise Slow(placed.stub if placed else Stub(""), error) from error
    return None


def over(
    shelf: Sequence[Placed], scope: Scope, incoming: Incoming, now: float, patience: Patience
) -> tuple[Stub, Effect] | None:
    """The first overlay whose fault applies to a request, whatever stub answers that. Raises Slow."""
    rest = iter(shelf)
    while shelf and (placed := first(rest, scope, incoming, patience)):
        count = scope.counts.setdefault(placed, Count())
        asked, count.asked = count.asked, count.asked + 1
        if fault := replies.fault_of(placed.stub, asked, now - max(scope.begun, placed.added)):
            return placed.stub, fault.effect
    return None


def nearest(shelf: Iterable[Placed], scope: Scope, incoming: Incoming, patience: Patience) -> tuple[Miss, str]:
    """Which came nearest, and why that is not known."""
    try:
        with patience:
            return misses.nearest((placed.stub for placed in shelf), scope.state, incoming), ""
    except TooSlow as error:
        return Miss(None), f"no stub answers it, and to find the nearest {error}"
