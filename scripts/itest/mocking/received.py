"""What came to the mock and fits what a test asks for: a list that can say what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

from itest.mocking.call import Call
from itest.mocking.wanted import Step, Wanted, step

SHOWN = 20  # requests that a message lists
ROOM = "MOCK_DETAIL=headers or a greater MOCK_JOURNAL in the suite's .env makes some"


class Received(Collection[Call]):
    """Requests in the order of their arrival. wanted: what they were asked for; everything: that came to the test;

    lost: how many more came first, which the journal had no room for, so that their number can't be told.
    What a method expects and doesn't find is an AssertionError that shows what came instead.
    """

    def __init__(self, everything: Sequence[Call], wanted: Wanted, lost: int = 0) -> None:
        self.wanted, self.lost = wanted, lost
        self.everything = tuple(sorted(everything, key=lambda call: call.number))
        self._calls = tuple(call for call in self.everything if wanted.fits(call))

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | Sequence[Call]:
        return self._calls[index]

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __contains__(self, call: object) -> bool:
        return call in self._calls

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        return f"<{self.wanted.title}: {_times(self.count)}>"

    @property
    def count(self) -> int:
        return len(self._calls)

    @property
    def bodies(self) -> list[Any]:
        """Of each what its JSON holds, or its text where it is none."""
        return [call.body for call in self._calls]

    @property
    def gaps(self) -> list[float]:
        """Seconds from the arrival of each to that of the next: one fewer than there are requests."""
        return [later.arrived - earlier.arrived for earlier, later in pairwise(self._calls)]

    @property
    def pauses(self) -> list[float]:
        """Seconds from the end of each to the arrival of the next: what a client waited before it tried again.

        Negative where the next came before; infinitely so after one that is still under way.
        """
        pairs = pairwise(self._calls)
        return [later.arrived - (float("inf") if a.completed is None else a.completed) for a, later in pairs]

    @property
    def concurrency(self) -> int:
        """How many were under way at the same moment, at most."""
        edges = [(call.arrived, 1) for call in self._calls]
        edges += [(call.completed, -1) for call in self._calls if call.completed is not None]
        running = most = 0
        for _, change in sorted(edges):  # of two at one moment the end comes first: those didn't overlap
            running += change
            most = max(most, running)
        return most

    @property
    def in_flight(self) -> list[Call]:
        """Those that have no complete answer yet."""
        return [call for call in self._calls if call.completed is None]

    def once(self) -> Call:
        """The one that came. Fails unless there is exactly one."""
        __tracebackhide__ = True
        self.times(1)
        return self._calls[0]

    def times(self, number: int) -> Received:
        """Fails unless so many came."""
        __tracebackhide__ = True
        if self.count != number or self.lost:
            raise AssertionError(self._told(_times(number) if number else "none"))
        return self

    def at_least(self, number: int) -> Received:
        """Fails unless so many came, or more."""
        __tracebackhide__ = True
        if self.count < number:
            raise AssertionError(self._told(f"{_times(number)} or more"))
        return self

    def never(self) -> Received:
        """Fails if any came."""
        __tracebackhide__ = True
        return self.times(0)

    def in_order(self, *steps: Step, strict: bool = False) -> Received:
        """Fails unless requests came in this order, each step after the one before: `"POST /v1/payments"`, `"/v1/…"`.

        Others may come in between; strict: none may, nor before, nor after.
        """
        __tracebackhide__ = True
        all_wanted = [step(one) for one in steps]
        found = self._strictly(all_wanted) if strict else self._one_after_the_other(all_wanted)
        if len(found) < len(all_wanted) or (strict and (self.lost or len(all_wanted) != self.count)):
            raise AssertionError(self._disorder(all_wanted, found, strict=strict))
        return self

    def _one_after_the_other(self, steps: Sequence[Wanted]) -> list[Call]:
        """The requests that fulfil the steps, up to the first step that none does."""
        rest, found = iter(self._calls), list[Call]()
        for one in steps:
            call = next(filter(one.fits, rest), None)
            if call is None:
                break
            found.append(call)
        return found

    def _strictly(self, steps: Sequence[Wanted]) -> list[Call]:
        found = list[Call]()
        for one, call in zip(steps, self._calls, strict=False):
            if not one.fits(call):
                break
            found.append(call)
        return found

    def _told(self, expected: str) -> str:
        came = f"came {_times(self.count)}" if self.count else "never came"
        lines = [f"{self.wanted.title}: expected {expected}, {came}", *self._lost()]
        lines += self._listed(self._calls)
        others = [call for call in self.everything if call not in self._calls]
        if others and not self.count:
            near = min(others, key=lambda call: len(self.wanted.differences(call)))
            lines += [f"nearest: {near.line(self._zero)}"]
            lines += [f"    {difference}" for difference in self.wanted.differences(near)]
        if others:
            lines += ["what else came:", *self._listed(others)]
        return "\n".join(lines if self.everything else [*lines, "nothing at all came to the mock"])

    def _disorder(self, steps: Sequence[Wanted], found: Sequence[Call], *, strict: bool) -> str:
        allowed = "with nothing else" if strict else "others may come in between"
        lines = [f"{self.wanted.title}: expected in this order, {allowed}:"]
        for index, one in enumerate(steps):
            sign, seen = ("✓", f"   #{found[index].number}") if index < len(found) else ("·", "")
            if index == len(found):
                sign, seen = "✗", self._missing(one, found, strict=strict)
            lines.append(f"  {sign} {one.title}{seen}")
        if len(found) == len(steps) < self.count:
            lines.append(f"  ✗ and no more, but then came #{self._calls[len(steps)].number}")
        lines += self._lost()
        return "\n".join([*lines, "came:" if self._calls else "came: nothing", *self._listed(self._calls)])

    def _missing(self, one: Wanted, found: Sequence[Call], *, strict: bool) -> str:
        """Why a step isn't there, after those before it."""
        if strict and len(found) < self.count:
            return f"   instead came #{self._calls[len(found)].number}"
        earlier = next((call for call in self._calls if one.fits(call)), None)
        if earlier and found:
            return f"   not after #{found[-1].number}: it came as #{earlier.number}"
        return "   it never came"

    def _lost(self) -> list[str]:
        """Why nobody can tell what came before the rest."""
        many = f"the {_of(self.lost)} of the test that came first"
        return [f"but nobody can tell: the mock's journal had no room for {many}; {ROOM}"] if self.lost else []

    def _listed(self, calls: Sequence[Call]) -> list[str]:
        more = [f"  and {len(calls) - SHOWN} more"] if len(calls) > SHOWN else []
        return [*(f"  {call.line(self._zero)}" for call in calls[:SHOWN]), *more]

    @property
    def _zero(self) -> float:
        return self.everything[0].arrived


def _of(number: int) -> str:
    return "one request" if number == 1 else f"{number} requests"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
