"""The contract of a store that returns to its seeded state between tests: the built-in ones, and a team's own."""

from __future__ import annotations

from typing import Protocol


class Resettable(Protocol):
    """A store. name: of its service, for messages. Calls come from one thread, never two at a time."""

    name: str

    def reset(self) -> None:
        """Bring it back to its baseline, whatever a test or a service did to it.

        Raises ItestError: data when that can't be done, service when the store can't be reached.
        """

    def dirt(self) -> list[str]:
        """What differs from the baseline at this moment, a line each; none when it is clean. Changes nothing."""

    def close(self) -> None:
        """Close what this opened, and remove what it made for this worker alone."""
