"""Ctrl-C, SIGTERM (a cancelled CI job) and SIGHUP (a closed terminal), heard alike."""

from __future__ import annotations

import signal
import threading
import time
from threading import Event
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 2  # interrupts after which stacks are left to the next command
ONE = 1.0  # seconds within which several are one: make passes on what the terminal has sent to all, and fingers bounce


class Interrupts:
    """While entered, an interrupt sets `cancelled` and raises KeyboardInterrupt; once `patient`, only the second does.

    Patient is whoever has stacks to remove.
    """

    def __init__(self) -> None:
        self.cancelled = Event()
        self.patient = False
        self.heard = 0
        self._last = 0.0  # when one was last counted, in seconds of the monotonic clock

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.cancelled.set()
        now = time.monotonic()
        if self.heard and now - self._last < ONE:
            return
        self.heard, self._last = self.heard + 1, now
        if not self.patient or self.heard >= PATIENCE:
            raise KeyboardInterrupt


def all_alike() -> None:
    """From now on, in a process that hears Ctrl-C as KeyboardInterrupt, raise it for SIGTERM and SIGHUP too."""
    if threading.current_thread() is threading.main_thread():  # no other may say so
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup, nor where somebody else listens
                signal.signal(number, signal.default_int_handler)
