"""A fault: what is wrong with a service, or between two, from a moment that a test chooses until it is healed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

from itest.errors import ItestError

if TYPE_CHECKING:
    from typing_extensions import Self

    from itest.faults.book import Book


class Unable(ItestError):
    """What this machine can't do, with its reason: a test that asks for it is skipped."""

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        super().__init__("engine", f"{what}: {why}", hint=hint, cause="unable")


class Fault(ABC):
    """Inert until it is injected: `with fault: …`, or `fault.inject()` and `fault.heal()`. May be injected again then.

    services: those that it is about.
    """

    def __init__(self, book: Book, *services: str) -> None:
        self.services = services
        self._book = book
        self._is_on = False
        book.made(self)

    def use(self) -> None:
        """Somebody sees to it: it will be injected, or is left out on purpose."""
        self._book.used(self)

    @abstractmethod
    def describe(self) -> str:
        """What it does, in words for a person: `latency shop -> postgres 200 ms ± 50`."""

    @abstractmethod
    def _begin(self) -> None:
        """Make it so. Raises ItestError; `_end` is called then too."""

    @abstractmethod
    def _end(self) -> None:
        """Make it good, as far as `_begin` came. Does not raise for what is gone already."""

    def prepare(self) -> None:  # noqa: B027 (most need nothing)
        """Make ready what it needs, so that it begins at once when it is injected. Raises ItestError."""

    def stay(self, healed: Fault) -> None:  # noqa: B027 (most do by themselves)
        """It is on, and another has ended: do again what that has undone of it. Raises ItestError."""

    @property
    def is_on(self) -> bool:
        """Whether it is injected at this moment."""
        return self._is_on

    def inject(self) -> Self:
        """Begin. Returns itself.

        Raises ItestError: usage where it has begun already, service or engine where it can't be done; Unable where
        this machine never can.
        """
        if self._is_on:
            hint = "heal() it first; two at the same time are two calls of faults.…"
            raise ItestError("usage", f"fault {self.describe()}: it is injected already", hint=hint, cause="fault")
        self._book.begins(self)
        self._is_on = True
        try:
            self._begin()
        except BaseException:  # Ctrl-C in the middle of it too
            self.heal()
            raise
        self._book.began(self)
        return self

    def heal(self) -> None:
        """End it; nothing happens where it has ended. Raises ItestError (engine) where that fails, and stays on."""
        if self._is_on:
            self._end()
            self._is_on = False
            self._book.ends(self)

    def __enter__(self) -> Self:
        return self.inject()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()

    def __repr__(self) -> str:
        return f"<fault {self.describe()}{', injected' if self._is_on else ''}>"
