"""What a test has to answer for, of all that came to its scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itest.mock.journal import Entry
from itest.mock.shelf import Scope

MOST_TOLD = 100  # requests of a sort; who has more wrong is not helped by reading them all


@dataclass(frozen=True)
class Verdict:
    """unused: names and places of its own stubs that answered nothing, which counts where it is strict;

    lost: entries that the journal had no room for.
    """

    test: str
    strict: bool
    unmatched: tuple[Entry, ...]
    problems: tuple[Entry, ...]
    in_flight: tuple[Entry, ...]
    unused: tuple[tuple[str, str], ...]
    lost: int

    def as_data(self) -> dict[str, Any]:
        """For JSON: the first MOST_TOLD of each sort, without bodies; more: how many are left out, by sort."""
        sorts = {name: getattr(self, name) for name in ("unmatched", "problems", "in_flight")}
        return {
            "test": self.test,
            "strict": self.strict,
            **{name: [entry.as_data(bodies=False) for entry in some[:MOST_TOLD]] for name, some in sorts.items()},
            "more": {name: len(some) - MOST_TOLD for name, some in sorts.items() if len(some) > MOST_TOLD},
            "unused": [{"name": name, "where": where} for name, where in self.unused],
            "lost": self.lost,
        }


def verdict(scope: Scope, entries: Sequence[Entry]) -> Verdict:
    """On a scope since it began. entries: of the journal."""
    own = sorted([*scope.shelf, *scope.removed], key=lambda placed: placed.number)
    return Verdict(
        scope.test,
        scope.strict,
        unmatched=tuple(entry for entry in entries if not entry.matched),
        problems=tuple(entry for entry in entries if entry.matched and entry.problem),
        in_flight=tuple(entry for entry in entries if entry.completed is None),
        unused=tuple((placed.stub.name, placed.stub.where) for placed in own if placed not in scope.counts),
        lost=scope.written - len(entries),
    )
