"""What `mock.stub(…)` and `mock.fail(…)` return: a stub of a test's own, which can go before the test is over."""

from __future__ import annotations

from collections.abc import Callable


class Placed:
    """It is there from the call on. `remove()` takes it away, and so does the end of `with mock.fail(…):`.

    name: as the journal has it; where: the line of the test that made it. One that has answered nothing until it goes
    is unused, as others are.
    """

    def __init__(self, name: str, where: str, remove: Callable[[], None]) -> None:
        self.name, self.where, self._remove = name, where, remove

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __enter__(self) -> Placed:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Requests get what they got before it came; nothing where it is gone already. Raises ItestError (service)."""
        self._remove()
