"""What a run found out: plain data that the stages fill in and that verdict, JUnit, summary and table read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from itest.errors import Category, ItestError

if TYPE_CHECKING:
    from itest.stack.egress import Attempt
    from itest.stack.startup import Startup

Status = Literal["passed", "failed", "error", "skipped", "timeout", "interrupted"]
Outcome = Literal["passed", "failed", "error", "skipped"]

ALSO = "itest.also"  # property of a test: what may be the reason of its failure, and its message doesn't know
# The keys of SuiteResult.timings, in the order in which a suite goes through them.
STAGES = ("images", "up", "ready", "data", "pytest", "evidence", "down")


@dataclass(frozen=True)
class StageFailure:
    """Why a suite is red: an ItestError, the stage that raised it, where its evidence lies, what was seen at once.

    chain: what came of it.
    """

    category: Category
    cause: str
    message: str
    hint: str = ""
    evidence: Path | None = None
    stage: str = ""
    seen: str = ""
    chain: tuple[str, ...] = ()

    @classmethod
    def from_error(cls, error: ItestError, *, stage: str = "", evidence: Path | None = None) -> StageFailure:
        """The same failure as data."""
        return cls(error.category, error.cause, error.message, error.hint, evidence, stage, error.evidence, error.chain)

    @property
    def headline(self) -> str:
        """The first line of the message; the others are evidence."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True)
class ServiceStart:
    """How one service came up: its image, seconds until its probe answered, and how often it was asked."""

    image: str
    ready_s: float
    attempts: int


@dataclass(frozen=True)
class Case:
    """One test as a JUnit report tells it.

    id:       a pytest node id, "tests/api/test_items.py::TestList::test_pages[2]".
    category: what the test itself recorded as property itest.category, else None.
    cause:    "assertion", "setup", "teardown", "collection", "crash", "plugin", "timeout", or property itest.cause;
              "" if not red.
    message:  the first line of the failure, the error or the skip; the exception and its place if it is "collection";
              then what property itest.also says.
    """

    id: str
    outcome: Outcome
    category: Category | None = None
    cause: str = ""
    message: str = ""


@dataclass(frozen=True)
class Report:
    """What a suite's JUnit file says; `problem` tells why it can't be believed whole, "" when it can."""

    cases: tuple[Case, ...] = ()
    problem: str = ""

    @property
    def tests(self) -> int:
        """How many tests there are. One that fails and then breaks in teardown counts twice, as pytest counts it."""
        return len(self.cases)

    @property
    def failures(self) -> int:
        """How many failed."""
        return self._count("failed")

    @property
    def errors(self) -> int:
        """How many broke outside the test itself: in collection, in a fixture, by a crash."""
        return self._count("error")

    @property
    def skipped(self) -> int:
        """How many were skipped, expected failures included (JUnit has no word of its own for them)."""
        return self._count("skipped")

    @property
    def red(self) -> tuple[Case, ...]:
        """The tests that failed or broke."""
        return tuple(case for case in self.cases if case.outcome in ("failed", "error"))

    def _count(self, outcome: Outcome) -> int:
        return sum(case.outcome == outcome for case in self.cases)


@dataclass(frozen=True)
class SuiteResult:
    """How one suite ended.

    status:      "failed" when its own test cases tell why it is red; "error", "timeout", "interrupted" when they don't.
    failure:     None when passed or skipped.
    timings:     seconds by stage (STAGES); a stage that was not reached is absent.
    services:    by service name.
    junit:       the file that pytest was told to write; None when pytest was never started.
    pytest_exit: as subprocess gives it (negative: a signal); None when pytest was never started.
    reason:      why it was skipped, else "".
    log:         what pytest printed, relative to the root; None when pytest was never started.
    startup:     its critical path; None where the stack did not get ready.
    egress:      what it wanted from outside, where a sealed stack's door saw that.
    """

    name: str
    status: Status
    failure: StageFailure | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    services: Mapping[str, ServiceStart] = field(default_factory=dict)
    junit: Path | None = None
    pytest_exit: int | None = None
    report: Report = Report()
    reason: str = ""
    log: Path | None = None
    startup: Startup | None = None
    egress: tuple[Attempt, ...] = ()

    @property
    def category(self) -> Category | None:
        """The category that this suite gives to the run, None when it is not red."""
        return self.failure.category if self.failure else None

    @property
    def cause(self) -> str | None:
        """The finer reason, None when it is not red."""
        return self.failure.cause if self.failure else None

    @property
    def seconds(self) -> float:
        """What the stages took together."""
        return sum(self.timings.values())
