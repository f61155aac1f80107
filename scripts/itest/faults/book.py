"""What is injected at this moment, so that all of it can be healed, and a note of all that was, for the evidence."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import RLock
from traceback import walk_stack
from typing import TYPE_CHECKING

from itest.errors import ItestError

if TYPE_CHECKING:
    from itest.faults.fault import Fault
    from itest.stack.stack import Stack


@dataclass(frozen=True)
class Period:
    """When a fault was there, in seconds since the epoch; ended: None while it is. owner: such as a test."""

    fault: str
    owner: str
    began: float
    ended: float | None = None

    def __str__(self) -> str:
        clock = datetime.fromtimestamp(self.began).strftime("%H:%M:%S.%f")[:-3]
        lasted = "still there" if self.ended is None else f"{self.ended - self.began:.2f} s"
        return f"{clock}  {self.fault}  {lasted}"


@dataclass
class Book:
    """The faults of one owner, such as a test. owner: its name. kept: what is injected outlives this process."""

    stack: Stack
    owner: str = ""
    kept: bool = False
    unmet: list[str] = field(default_factory=list)  # faults that are over and had no connection to act on
    _idle: dict[Fault, str] = field(default_factory=dict)  # made and not injected yet -> where
    _on: dict[Fault, Period] = field(default_factory=dict)  # oldest first
    _over: list[Period] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock)  # a timeline injects from a thread of its own

    @property
    def on(self) -> Sequence[Fault]:
        """What is injected at this moment, oldest first."""
        with self._lock:
            return tuple(self._on)

    @property
    def periods(self) -> list[Period]:
        """All that there was and is, by its beginning."""
        with self._lock:
            return sorted([*self._over, *self._on.values()], key=lambda one: one.began)

    def made(self, fault: Fault) -> None:
        """Before anybody has injected it."""
        self._idle[fault] = _caller()

    def used(self, fault: Fault) -> None:
        """When it is injected, or a timeline has taken it over, which may end before its time comes."""
        self._idle.pop(fault, None)

    def refuse_idle(self) -> None:
        """Refuse what was made and never injected: the test has passed without it. Raises ItestError (test)."""
        for fault, where in self._idle.items():
            problem = f"fault {fault.describe()}: it was never injected{where}"
            hint = "`with faults.…:` around what it is for, or .inject()"
            raise ItestError("test", problem, hint=hint, cause="fault")

    def begins(self, fault: Fault) -> None:
        """Before a fault changes anything, so that it is healed whatever happens."""
        self.used(fault)
        with self._lock:
            self._on[fault] = Period(fault.describe(), self.owner, round(time.time(), 3))

    def began(self, fault: Fault) -> None:
        """When it is there. What is before that, such as an image that is built, is none of it."""
        with self._lock:
            self._on[fault] = period = replace(self._on[fault], began=round(time.time(), 3))
            note(period, os.environ.get("ITEST_INJECTED", ""))  # who is killed will not come to its end

    def ends(self, fault: Fault) -> None:
        """When all is as it was before the fault."""
        with self._lock:
            period = replace(self._on.pop(fault), ended=round(time.time(), 3))
            self._over.append(period)
            note(period, os.environ.get("ITEST_INJECTED", ""))
            for other in self._on:
                other.stay(fault)

    def heal(self) -> None:
        """Heal all, the newest first. Raises the first ItestError, when all others have been tried too."""
        failed: ItestError | None = None
        for fault in reversed(self.on):
            try:
                fault.heal()
            except ItestError as error:
                failed = failed or error
        if failed:
            raise failed


def _caller() -> str:
    """Where a test asks for a fault: ` (test_it.py:7)`."""
    frames = (frame for frame, _ in walk_stack(None))
    code = next((one for one in frames if not one.f_code.co_filename.startswith(str(Path(__file__).parent))), None)
    return f" ({Path(code.f_code.co_filename).name}:{code.f_lineno})" if code else ""


def note(period: Period, path: str) -> None:
    """A line in the file that a run names, "" for none: verdict/evidence.py makes faults.json of it."""
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{json.dumps(asdict(period), ensure_ascii=False)}\n")
