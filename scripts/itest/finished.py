"""The results of a suite's tests, noted as they come: what is known of them should pytest end before its report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from itest.verdict.results import Outcome

MESSAGE = 500  # characters of a message; its text has them all


@dataclass(frozen=True)
class Result:
    """How a test ended, in the words of pytest's JUnit.

    seconds: with its fixtures, as far as they were done; output: what was captured, of one that is red.
    """

    test: str
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""
    text: str = ""
    output: str = ""
    properties: Sequence[Sequence[str]] = ()


@dataclass(eq=False)  # pytest needs a hash of its plugins
class Finished:
    """A plugin of the process that has the reports: with pytest-xdist, of the controller."""

    file: Path
    spent: dict[str, float] = field(default_factory=dict)  # by test: seconds of its phases so far

    def __post_init__(self) -> None:
        self._descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a result at once, for the test's teardown may never end."""
        spent = self.spent[report.nodeid] = self.spent.get(report.nodeid, 0.0) + report.duration
        if report.when == "call" or not report.passed:
            line = json.dumps(vars(_result(report, spent))) + "\n"
            os.write(self._descriptor, line.encode("ascii"))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.spent.pop(nodeid, None)

    def pytest_unconfigure(self) -> None:
        os.close(self._descriptor)


def read(file: Path) -> list[Result]:
    """What was noted, without a line that was not written to its end; nothing where there is no file."""
    results: list[Result] = []
    with suppress(FileNotFoundError):
        for line in file.read_text(encoding="ascii").splitlines():
            with suppress(ValueError):
                results.append(Result(**json.loads(line)))
    return results


def _result(report: pytest.TestReport, spent: float) -> Result:
    properties = [[str(name), str(value)] for name, value in report.user_properties]
    if report.passed:
        return Result(report.nodeid, "passed", spent, properties=properties)
    if report.skipped:
        reason = getattr(report, "wasxfail", None) or (report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        message = reason.removeprefix("reason: ").removeprefix("Skipped: ")
        return Result(report.nodeid, "skipped", spent, message, properties=properties)
    text = str(report.longrepr)
    crash = getattr(report.longrepr, "reprcrash", None)
    message = next(iter((crash.message if crash else text).splitlines()), "")[:MESSAGE]
    if report.when != "call":
        message = f'failed on {"teardown" if report.when == "teardown" else "setup"} with "{message}"'
    outcome: Outcome = "failed" if report.when == "call" else "error"
    return Result(report.nodeid, outcome, spent, message, text, report.capstdout, properties)
