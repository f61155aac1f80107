"""A JUnit report in place of the one that pytest did not get to write, from the results that were noted meanwhile."""

# junitparser has annotations for what it takes, but not for all that it gives.
# mypy: allow-untyped-calls

from __future__ import annotations

import io
import platform
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Properties, Property, Skipped, SystemOut, TestCase, TestSuite

from itest.finished import Result
from itest.verdict import atomic, report

PROBLEM = "was not finished by pytest"
_END = b"</testsuites>"  # of every report of pytest's, which it writes in one go in the end
_TOLD = {"failed": Failure, "error": Error, "skipped": Skipped}


@dataclass(frozen=True)
class Ending:
    """Why pytest ended while a test ran. cause: as results.Case has it."""

    cause: str
    words: str

    @classmethod
    def of(cls, exit_code: int) -> Ending:
        """One that nobody but the test itself can be blamed for. exit_code: pytest's, negative for a signal."""
        if exit_code >= 0:
            return cls("crash", f"pytest ended with exit code {exit_code} while this ran")
        names = {one.value: one.name for one in signal.Signals}
        return cls("crash", f"pytest was killed by {names.get(-exit_code, f'signal {-exit_code}')} while this ran")


def salvage(
    junit: Path, finished: Sequence[Result], running: Sequence[str], ending: Ending, mask: Callable[[str], str]
) -> None:
    """Write junit, if pytest has not finished it and anything is known; the tests that were running are errors in it.

    Its property says to report.load that it is not pytest's, so that it makes no suite green. mask: for every text.
    """
    results = _merged([*finished, *(_ended(test, ending) for test in running)])
    if not results or _is_whole(junit):
        return
    suite = TestSuite("pytest")
    suite.append(_properties([(report.PROBLEM, PROBLEM)], mask))
    suite.extend([_case(result, mask) for result in results])
    suite.update_statistics()
    suite.hostname = platform.node()
    root = JUnitXml("pytest tests")
    root.append(suite)
    buffer = io.BytesIO()
    root.write(buffer)
    atomic.write(junit, buffer.getvalue())


def _is_whole(junit: Path) -> bool:
    try:
        return junit.read_bytes().rstrip().endswith(_END)
    except OSError:
        return False


def _ended(test: str, ending: Ending) -> Result:
    return Result(test, "error", message=ending.words, text=ending.words, properties=[("itest.cause", ending.cause)])


def _merged(results: Sequence[Result]) -> list[Result]:
    """As pytest counts: a test that passed and broke afterwards is one error, one that failed and broke is both."""
    merged: list[Result] = []
    passed: dict[str, int] = {}
    for result in results:
        if result.outcome == "error" and result.test in passed:
            index = passed.pop(result.test)
            merged[index] = replace(result, seconds=max(result.seconds, merged[index].seconds))
            continue
        if result.outcome == "passed":
            passed[result.test] = len(merged)
        merged.append(result)
    return merged


def _case(result: Result, mask: Callable[[str], str]) -> TestCase:
    classname, name = _address(result.test)
    case = TestCase(_clean(name, mask), _clean(classname, mask), round(result.seconds, 3))
    if result.properties:
        case.append(_properties([(name, value) for name, value in result.properties], mask))
    if kind := _TOLD.get(result.outcome):
        told = kind(_clean(result.message, mask))
        told.text = _clean(result.text, mask)
        case.append(told)
    if result.output:
        case.append(SystemOut(_clean(result.output, mask)))
    return case


def _address(test: str) -> tuple[str, str]:
    """Class and name as pytest's JUnit has them: `tests.api.test_items.TestList`, `test_pages[2]`."""
    place, bracket, parameters = test.partition("[")
    module, *names = place.split("::")
    parts = [re.sub(r"\.py$", "", module.replace("/", ".")), *names]
    return ".".join(parts[:-1]), f"{parts[-1]}{bracket}{parameters}"


def _properties(pairs: Sequence[tuple[str, str]], mask: Callable[[str], str]) -> Properties:
    properties = Properties()
    for name, value in pairs:
        properties.add_property(Property(_clean(name, mask), _clean(value, mask)))
    return properties


def _clean(text: str, mask: Callable[[str], str]) -> str:
    return mask(report.clean(text))
