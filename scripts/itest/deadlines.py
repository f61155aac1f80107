"""Deadlines of a run, of each suite and of each stage: how long each may take, and what is said when one has passed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from itest import pytesting
from itest.errors import Category, ItestError
from itest.settings import Settings

CATEGORIES: dict[str, Category] = {
    "images": "image",
    "up": "service",
    "ready": "service",
    "data": "data",
    "pytest": "test",
    "evidence": "engine",
    "down": "engine",
}


@dataclass(frozen=True)
class Deadline:
    """What may take so many seconds, and the setting that says so. what: `suite api:`, or `suite api: stage up`."""

    what: str
    seconds: float
    setting: str

    def passed(self, category: Category, more: str = "", evidence: str = "", where: str = "") -> ItestError:
        """The error of a deadline that has passed. more: what it was at; where: the file that has all the evidence."""
        message = f"{self.what} took longer than {self.seconds:g} s{more}"
        raised = f"raise {self.setting}, or ITEST_TIMEOUT_FACTOR for all; 0 sets no limit"
        hint = f"{where} shows where it hung; if it is only slow, {raised}" if where else raised
        return ItestError(category, message, hint=hint, cause="timeout", evidence=evidence)


@dataclass(frozen=True)
class Limits:
    """How many seconds each may take; 0: any. began: when the run did, by the monotonic clock."""

    stage: float = 0
    suite: float = 0
    run: float = 0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, given: Settings) -> Limits:
        """Those that a person has set; none where somebody sits in a debugger."""
        if pytesting.is_debugging(given.arguments):
            return cls()
        factor = given.timeout_factor
        return cls(given.stage_timeout * factor, given.suite_timeout * factor, given.run_timeout * factor)

    @property
    def run_left(self) -> float:
        """Seconds until the run has to end; infinite for any."""
        return self.began + self.run - time.monotonic() if self.run else math.inf

    @property
    def of_run(self) -> Deadline:
        """The run's own."""
        return Deadline("run:", self.run, "ITEST_RUN_TIMEOUT")

    def of_suite(self, suite: str) -> Deadline:
        """That of a suite, `suite api`."""
        return Deadline(f"{suite}:", self.suite, "ITEST_SUITE_TIMEOUT")

    def of_stage(self, whose: str, stage: str) -> Deadline:
        """That of a stage of `suite api`, or of `run`. None for pytest's: each test has one, and the suite."""
        return Deadline(f"{whose}: stage {stage}", self.stage * (stage != "pytest"), "ITEST_STAGE_TIMEOUT")
