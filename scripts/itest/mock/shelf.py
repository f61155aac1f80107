"""What a scope holds: its stubs, how often each was asked, and the states of its scenarios."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from itest.mock.stubs import BEGINNING, Stub


@dataclass(eq=False)
class Placed:
    """A stub where it stands. added: when, in seconds."""

    stub: Stub
    number: int
    added: float


@dataclass
class Count:
    """Of one stub in one scope. asked: requests that came to it; served: those that no fault or limit kept from it."""

    asked: int = 0
    served: int = 0
    admitted: deque[float] = field(default_factory=deque)


@dataclass
class Scope:
    """One scope since it began. after: the journal's last number then; written: entries since;

    shelf: its own stubs; removed: those that were among them.
    """

    begun: float
    test: str = ""
    strict: bool = False
    after: int = 0
    written: int = 0
    shelf: list[Placed] = field(default_factory=list)
    removed: list[Placed] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    counts: dict[Placed, Count] = field(default_factory=dict)

    def state(self, scenario: str) -> str:
        return self.states.get(scenario, BEGINNING)

    def remove(self, number: int) -> bool:
        """Take a stub of its own away, by its number. Whether it was there."""
        found = [placed for placed in self.shelf if placed.number == number]
        self.shelf = [placed for placed in self.shelf if placed not in found]
        self.removed += found
        return bool(found)
