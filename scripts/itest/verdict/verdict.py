"""Decide how a suite and a run ended: from pytest's exit code and from its report, believing neither alone."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itest import errors
from itest.errors import Category
from itest.verdict import reason, report
from itest.verdict.results import Report, ServiceStart, StageFailure, Status, SuiteResult

# https://docs.pytest.org/en/stable/reference/exit-codes.html
_PASSED, _FAILED, _INTERRUPTED, _INTERNAL, _USAGE, _NO_TESTS = range(6)


@dataclass(frozen=True)
class Verdict:
    """How a suite ended; category, cause, message and hint are empty when it passed."""

    status: Status
    category: Category | None = None
    cause: str = ""
    message: str = ""
    hint: str = ""


def judge(
    suite: str,
    *,
    pytest_exit: int,
    junit: Path,
    timings: Mapping[str, float],
    services: Mapping[str, ServiceStart],
    failure: StageFailure | None = None,
    log: Path | None = None,
    running: str = "",
    again: str = "",
    workers: str = "",
    root: Path | None = None,
) -> SuiteResult:
    """The result of a suite whose pytest was started.

    log:     what pytest printed; it tells why where there is no report. root: the repository's, to shorten paths.
    running: the tests that had begun and not ended when it did. again: the command that runs the suite; workers: `-n 4`
             where it had several.
    failure: what the toolkit saw with its own eyes meanwhile (a service died, the deadline passed, Ctrl-C).
             It outranks what pytest says, because tests fail for it.
    """
    told = report.read_suite(junit, root)
    printed = log.read_text(encoding="utf-8", errors="replace") if log and log.is_file() else ""
    verdict = suite_verdict(suite, pytest_exit, told, printed, root, running, again, workers)
    status, skipped = verdict.status, ""
    if failure:
        status = _status(failure)
    elif verdict.category:
        failure = StageFailure(verdict.category, verdict.cause, verdict.message, verdict.hint, stage="pytest")
    else:
        skipped = verdict.message
    kept = log.relative_to(root) if log and root and log.is_relative_to(root) else log
    return SuiteResult(suite, status, failure, timings, services, junit, pytest_exit, told, skipped, kept)


def stopped(
    suite: str,
    failure: StageFailure,
    *,
    timings: Mapping[str, float],
    services: Mapping[str, ServiceStart],
) -> SuiteResult:
    """The result of a suite that never got as far as pytest."""
    return SuiteResult(suite, _status(failure), failure, timings, services)


def run_category(results: Sequence[SuiteResult], *others: Category | None) -> Category | None:
    """The category of the run: the gravest of the suites' and of others (what failed outside of any suite).

    A run in which no suite came to a result is a "usage" error: nothing was selected, and nothing must not look green.
    """
    category = errors.worst([*others, *(result.category for result in results)])
    if category is None and all(result.status == "skipped" for result in results):
        return "usage"
    return category


def suite_verdict(
    suite: str,
    pytest_exit: int | None,
    told: Report,
    printed: str = "",
    root: Path | None = None,
    running: str = "",
    again: str = "",
    workers: str = "",
) -> Verdict:
    """How a suite ended whose pytest left with this code (None or negative as subprocess gives it) and this report.

    printed: pytest's output, for what stands in no report. root: the repository's, to shorten the paths in it.
    running: the tests that had begun and not ended. again: the command that runs the suite, with its profile; workers:
    `-n 4` where it had several.
    Green needs both: exit code 0 and a whole report without a failed test.
    """
    again = again or f"make itest SUITE={suite}"
    killed_by = _signal(pytest_exit)
    collection = any(case.cause == "collection" for case in told.red)
    if killed_by == signal.SIGINT or (pytest_exit == _INTERRUPTED and not collection):
        hint = f"run the suite again: {again}"
        return Verdict("interrupted", "interrupted", "interrupted", f"tests of {suite}: interrupted", hint)
    if killed_by or pytest_exit is None:
        return _crashed(suite, killed_by, told, running, again)
    if pytest_exit == _INTERNAL:
        return _broken(suite, told, printed, root, again)
    if pytest_exit == _USAGE and not collection:  # a node id of a module that can't be imported is no wrong argument
        return _refused(suite, told, printed, root, again)
    if told.problem and running:
        message = f"tests of {suite}: {running} ended pytest with exit code {pytest_exit}"
        return Verdict("error", _category(told), "crash", message, f"run it alone: {_again(again, running)}")
    if told.problem:
        message = f"tests of {suite}: the report {told.problem}, though pytest exited {pytest_exit}"
        return Verdict("error", _category(told), "report", message, f"see where it stops: {_again(again, '-v')}")
    if told.red:
        return _failed(suite, pytest_exit, told, again, workers)
    if pytest_exit in (_PASSED, _NO_TESTS) and not told.cases:
        return Verdict("skipped", message="no test selected")
    return Verdict("passed") if pytest_exit == _PASSED else _contradicted(suite, pytest_exit, again)


def _failed(suite: str, pytest_exit: int, told: Report, again: str, workers: str) -> Verdict:
    category = _category(told)
    # A test that failed for a leak or a dead service is the one to show: the others may have failed for it, too.
    first = next(case for case in told.red if (case.category or "test") == category)
    outcome = "passed with exit code 0, yet " if pytest_exit == _PASSED else ""
    message = f"tests of {suite}: {outcome}{len(told.red)} of {told.tests} failed, first {first.id}"
    hint = f"run those alone: {_again(again, f'{workers} --lf'.lstrip())}"  # what fails with several may pass with one
    if first.cause == "timeout":
        hint = (
            "its traceback shows where it hung; more time: @pytest.mark.timeout(seconds), or ITEST_TEST_TIMEOUT for all"
        )
    if first.cause == "collection":
        message, hint = f"tests of {suite}: {first.id} cannot be imported", _mend(again, first.message)
    cause = first.cause if category == "test" or first.cause != "assertion" else category
    return Verdict("failed", category, cause, _with(message, first.message), hint)


def _crashed(suite: str, killed_by: int | None, told: Report, running: str, again: str) -> Verdict:
    how = "pytest ended without an exit code" if killed_by is None else f"pytest was killed by {_name(killed_by)}"
    how += f" while {running} ran" if running else ""
    if killed_by == signal.SIGKILL:
        message = f"tests of {suite}: {how}: the machine ran out of memory, or somebody killed it"
        hint = f"use fewer workers or more memory: {_again(again, '-n 1')}; `dmesg` tells if it was the OOM killer"
    else:
        message, hint = f"tests of {suite}: {how}", f"see which test it was: {_again(again, '-v -x')}"
    return Verdict("error", _category(told), "crash", message, hint)


def _refused(suite: str, told: Report, printed: str, root: Path | None, again: str) -> Verdict:
    """Exit code 4 has two meanings: arguments that pytest doesn't take, and a conftest.py that it can't load."""
    if why := reason.raised(printed, root):
        broken = reason.conftest(printed, root) or "a conftest.py or a plugin"
        message = f"tests of {suite}: {broken} cannot be imported: {why}"
        return Verdict("error", _category(told), "collection", message, _mend(again, why))
    message = _with(f"tests of {suite}: pytest refused its arguments", reason.refused(printed, root))
    return Verdict("error", "usage", "pytest", message, "correct ARGS, or addopts in pyproject.toml")


def _broken(suite: str, told: Report, printed: str, root: Path | None, again: str) -> Verdict:
    detail = next((case.message for case in told.red if case.cause == "plugin"), "")
    message = _with(
        f"tests of {suite}: a plugin or a conftest.py crashed pytest", reason.raised(printed, root) or detail
    )
    return Verdict("error", _category(told), "plugin", message, f"see the traceback: {_again(again, '-x')}")


def _contradicted(suite: str, pytest_exit: int, again: str) -> Verdict:
    message = f"tests of {suite}: pytest exited {pytest_exit}, but no test in its report failed"
    hint = f"a plugin (a coverage threshold?) or an exit() in a test did that: {_again(again, '-v')}"
    return Verdict("error", "test", "exit", message, hint)


def _category(told: Report) -> Category:
    """ "test", or what graver thing the failed tests themselves recorded (a leak between tests, a dead service)."""
    return errors.worst(["test", *(case.category for case in told.red)]) or "test"


def _status(failure: StageFailure) -> Status:
    if failure.category == "interrupted":
        return "interrupted"
    return "timeout" if failure.cause == "timeout" else "error"


def _signal(pytest_exit: int | None) -> int | None:
    """The signal that ended pytest: negative from subprocess, 128 + n through a shell (POSIX, `Exit Status`)."""
    if pytest_exit is None or pytest_exit >= 0:
        return pytest_exit - 128 if pytest_exit and 128 < pytest_exit <= 128 + 64 else None
    return -pytest_exit


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _again(again: str, arguments: str) -> str:
    return f"{again} ARGS='{arguments}'"


def _mend(again: str, why: str) -> str:
    package = " (a package that is missing: add it to scripts/requirements.in)" if "ModuleNotFoundError" in why else ""
    return f"correct it{package}, then: {again}"


def _with(message: str, detail: str) -> str:
    return f"{message}: {detail}" if detail else message
