"""The run in one look: summary.json for machines and the table at the end for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itest import errors
from itest.errors import Category
from itest.verdict import atomic
from itest.verdict.mask import Masker
from itest.verdict.results import STAGES, Case, SuiteResult

_HEADINGS = ("suite", "result", "tests", "failed", "errors", "skipped", "start s", "pytest s", "total s")
_START = ("images", "up", "ready", "data")  # the stages before pytest
_LISTED = 20
_LINE = 160  # characters of a message in the list below the table

_RED, _GREEN, _YELLOW, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_COLOURS = {"passed": _GREEN, "skipped": _YELLOW}


def write(
    path: Path,
    run: str,
    results: Sequence[SuiteResult],
    category: Category | None,
    *,
    started: str = "",
    seconds: float = 0.0,
    versions: Mapping[str, str] | None = None,
    masker: Masker | None = None,
) -> None:
    """Write summary.json (DESIGN: artifacts), whole or not at all.

    category: of the run (verdict.run_category); None when it passed.
    started:  ISO 8601 time; seconds: wall time of the run; versions: of the engine, compose, Python …
    Counts are those of the tests: a service that never came up is the status and the category, not a test's error.
    """
    content = {
        "exit_code": errors.exit_code(category),
        "category": category,
        "run": run,
        "started": started or None,
        "seconds": round(seconds, 3),
        "versions": dict(versions or {}),
        "suites": {result.name: _suite(result) for result in results},
    }
    masked = _masked(content, masker or Masker(()))
    atomic.write(path, json.dumps(masked, indent=2, ensure_ascii=False) + "\n")


def table(results: Sequence[SuiteResult], *, colour: bool = False) -> str:
    """The table, what the time to start was made of, why suites are red, which tests failed. No trailing newline."""
    rows = [_HEADINGS, *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    if colour:
        painted = zip(lines[1:], results, strict=True)
        lines[1:] = [f"{_COLOURS.get(result.status, _RED)}{line}{_RESET}" for line, result in painted]
    return "\n".join([*lines, *_startups(results), *_reasons(results), *_failed_tests(results)])


def closing(results: Sequence[SuiteResult], category: Category | None, seconds: float) -> str:
    """The last word: `passed: 160 tests in 2 suites, 6.1 s`, or what failed and the exit code that says so."""
    tests = _count(sum(result.report.tests for result in results), "test")
    ran = f"{tests} in {_count(len(results), 'suite')}, {seconds:.1f} s"
    if category is None:
        return f"passed: {ran}"
    red = ", ".join(f"{result.name} ({result.cause})" for result in results if result.category)
    return f"failed: {red + '; ' if red else ''}{ran}; exit {errors.exit_code(category)} ({category})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _suite(result: SuiteResult) -> dict[str, Any]:
    report, failure = result.report, result.failure
    return {
        "status": result.status,
        "category": result.category,
        "cause": result.cause,
        "message": failure.headline if failure else result.reason or None,
        "tests": report.tests,
        "failures": report.failures,
        "errors": report.errors,
        "skipped": report.skipped,
        "timings": {stage: round(result.timings.get(stage, 0.0), 3) for stage in STAGES},
        "services": {
            name: {"image": start.image, "ready_s": round(start.ready_s, 3), "attempts": start.attempts}
            for name, start in result.services.items()
        },
        "startup": result.startup.as_json() if result.startup else None,
        "egress": [one.in_short() for one in result.egress],
    }


def _masked(value: Any, masker: Masker) -> Any:
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, dict):
        return {key: _masked(item, masker) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, masker) for item in value]
    return value


def _row(result: SuiteResult) -> tuple[str, ...]:
    report = result.report
    counts = (report.tests, report.failures, report.errors, report.skipped)
    start = sum(result.timings.get(stage, 0.0) for stage in _START)
    times = (start, result.timings.get("pytest", 0.0), result.seconds)
    return (result.name, result.status, *map(str, counts), *(f"{seconds:.1f}" for seconds in times))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    words = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*words, *numbers])


def _startups(results: Sequence[SuiteResult]) -> list[str]:
    started = {result.name: result.startup.line for result in results if result.startup}
    width = max(map(len, started), default=0)
    return ["", "start-up:", *(f"  {name:<{width}}  {line}" for name, line in started.items())] if started else []


def _reasons(results: Sequence[SuiteResult]) -> list[str]:
    lines = []
    for result in results:
        if failure := result.failure:
            lines += ["", f"{result.name}: {failure.headline}"]
            lines += [f"  {line}" for line in [*failure.message.splitlines()[1:], *failure.seen.splitlines()]]
            lines += [f"  then: {line}" for line in failure.chain]
            lines += [f"  hint: {failure.hint}"] if failure.hint else []
            lines += [f"  evidence: {failure.evidence}"] if failure.evidence else []
            lines += [f"  log: {result.log}"] if result.log else []
    return lines


def _failed_tests(results: Sequence[SuiteResult]) -> list[str]:
    red = [case for result in results for case in result.report.red]
    lines = ["", "failed tests:", *map(_listed, red[:_LISTED])] if red else []
    return [*lines, f"  … and {len(red) - _LISTED} more"] if len(red) > _LISTED else lines


def _listed(case: Case) -> str:
    message = case.message if len(case.message) <= _LINE else case.message[: _LINE - 1] + "…"
    return f"  {case.id}" + (f"  {message}" if message else "")
