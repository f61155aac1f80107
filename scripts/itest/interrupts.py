"""Ctrl-C, SIGTERM (a cancelled CI job) and SIGHUP (a closed terminal), heard alike."""

from __future__ import annotations

import signal
import threading
from threading import Event
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 3  # interrupts after which stacks are left to the next command


class Interrupts:
    """While entered, an interrupt sets `cancelled` and raises KeyboardInterrupt; once `patient`, only the third raises.

    Patient is whoever has stacks to remove: removing takes about a second, and a person presses Ctrl-C again by then.
    """

    def __init__(self) -> None:
        self.cancelled = Event()
        self.patient = False
        self.heard = 0

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.cancelled.set()
        self.heard += 1
        if not self.patient or self.heard >= PATIENCE:
            raise KeyboardInterrupt


def all_alike() -> None:
    """From now on, in a process that hears Ctrl-C as KeyboardInterrupt, raise it for SIGTERM and SIGHUP too."""
    if threading.current_thread() is threading.main_thread():  # no other may say so
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup, nor where somebody else listens
                signal.signal(number, signal.default_int_handler)
