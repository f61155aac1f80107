"""The contract of a store that returns to its seeded state between tests, built in or of a team's own."""

from __future__ import annotations

from typing import Protocol


class Resettable(Protocol):
    """A store. name: of its service, for messages. Calls come from one thread, one after the other."""

    name: str

    def reset(self) -> None:
        """Bring it back to its baseline, whatever was done to it; called after each test, and before the first.

        Raises ItestError: data when that can't be done, service when the store can't be reached.
        """

    def dirt(self) -> list[str]:
        """What differs from the baseline at this moment, a line each; none when it is clean. Changes nothing."""
