"""A limit to what one request may cost: a regular expression can take hours on a text that nearly fits it.

Python's looks for signals while it works, and an exception of their handler ends it. The timer counts the process's own
computing, so that a busy machine exhausts nobody's patience.
"""

from __future__ import annotations

import signal
from types import FrameType

SECONDS = 0.5


class TooSlow(Exception):
    """It is not worth waiting for."""

    def __init__(self, seconds: float = SECONDS) -> None:
        super().__init__(f"gave no answer within {seconds:g} s of computing")


class Patience:
    """What is done in `with patience:` may end with TooSlow. Only in a process's main thread, with its only timer."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds, self._waiting = seconds, False
        signal.signal(signal.SIGVTALRM, self._over)

    def __enter__(self) -> None:
        self._waiting = True
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        self._waiting = False  # first: the signal may be on its way
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _over(self, number: int, frame: FrameType | None) -> None:
        if self._waiting:
            raise TooSlow(self._seconds)
