"""Another time for the processes of one service, by libfaketime, which its overlay brings along (compose/clocked.yaml).

What it measures by its monotonic clock, time-outs for instance, stays as it is.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from itest.containers import Container
from itest.errors import ItestError
from itest.faults import active
from itest.faults.containers import ContainerFault, execute

if TYPE_CHECKING:
    from itest.faults.book import Book

# https://github.com/wolfcw/libfaketime, "Using offsets for relative dates"
FILE = "FAKETIME_TIMESTAMP_FILE"
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
OFFSET = re.compile(r"(?P<amount>[+-]?\d+(?:\.\d+)?)(?P<unit>[smhd]?)")
APART = 5.0  # seconds by which a clock may seem wrong on a loaded machine


class Clock(ContainerFault):
    """The service's clock is ahead, or behind with a negative offset: seconds, a timedelta, or words such as "+2h"."""

    verb = "clock"

    def __init__(self, book: Book, service: str, offset: str | float | timedelta) -> None:
        self._offset = seconds(offset)
        super().__init__(book, service)

    def describe(self) -> str:
        return f"clock {self._service} {self._offset:+g}s"

    def _begin(self) -> None:
        container = self._running()
        if not is_prepared(container):
            edit = "{extends: {file: clocked.yaml, service: clocked}}"
            hint = f"{self._service}: {edit} in the suite's overlay, and what compose/clocked.yaml says beside"
            raise self._refusal("the service is not prepared for it", hint)
        file = container.environment[FILE]
        self._take_note(container, "exec", "--user=0", container.id, "rm", "-f", file)
        write = ["sh", "-c", 'echo "$0" > "$1"', f"{self._offset:+f}", file]
        done = execute(container, write, "--user=0")
        if done.returncode or abs(self._shown(container) - time.time() - self._offset) > APART:
            why = done.stderr.strip() or "`date` in it still shows another time"
            hint = "a library doesn't load into musl, or where libc is older: see compose/clocked.yaml"
            raise ItestError("service", f"fault {self.describe()}: {why}", hint=hint, cause="fault")

    def _end(self) -> None:
        if self._note:
            active.undo(self._note.standing)
            self._note.strike()
            self._note = None

    def _shown(self, container: Container) -> float:
        """The time that a process of the container sees, in seconds since the epoch."""
        return float(execute(container, ["date", "+%s"]).stdout or 0)


def seconds(offset: str | float | timedelta) -> float:
    """An offset in seconds. Raises ItestError (usage) for one that means nothing."""
    if isinstance(offset, timedelta):
        return offset.total_seconds()
    if not (found := OFFSET.fullmatch(str(offset))):
        hint = 'such as "+2h", "-30m", "+1d", or seconds'
        raise ItestError("usage", f"fault clock: {offset!r} is no offset", hint=hint, cause="fault")
    return float(found["amount"]) * UNITS[found["unit"]]


def is_prepared(container: Container) -> bool:
    """Whether a service brings along what moves its clock."""
    return FILE in container.environment and "faketime" in container.environment.get("LD_PRELOAD", "")
