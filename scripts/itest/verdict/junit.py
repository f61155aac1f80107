"""Merge the suites' JUnit reports into one file, without losing any of them however broken it is."""

# junitparser has annotations for what it takes, but not for all that it gives.
# mypy: allow-untyped-calls

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from junitparser import (
    Attr,
    Error,
    Failure,
    JUnitXml,
    Properties,
    Property,
    Skipped,
    SystemErr,
    SystemOut,
    TestCase,
    TestSuite,
)
from junitparser.xunit2 import FlakyError, FlakyFailure, RerunError, RerunFailure

from itest.verdict import atomic, report
from itest.verdict.results import Report, SuiteResult

Mask = Callable[[str], str]

_TEXT_LIMIT = 64 * 1024  # of one failure or captured output in the merged file; the suite's own file has all of it

# The schemas (Ant's, and Jenkins' junit-10.xsd) want properties before results before output, as pytest writes them.
_RESULTS = {"skipped": Skipped, "error": Error, "failure": Failure}
_ATTEMPTS = {
    "rerunFailure": RerunFailure,
    "rerunError": RerunError,
    "flakyFailure": FlakyFailure,
    "flakyError": FlakyError,
}
_OUTPUT: dict[str, type[SystemOut] | type[SystemErr]] = {"system-out": SystemOut, "system-err": SystemErr}


class _Case(TestCase):
    """junitparser's test case with the place that pytest's xunit1 family adds."""

    file = Attr()
    line = Attr()


def merge(results: Sequence[SuiteResult], out: Path, run: str, *, seconds: float, mask: Mask = str) -> None:
    """Write one <testsuites name="itest"> with one <testsuite> for every result, in their order.

    Names, times, timestamps, host names, properties and repeated test cases stay apart as each suite's file has them;
    what makes a suite red and no test case tells (a stage that failed, an unreadable file) becomes one more test case,
    an error, because readers of JUnit look at nothing else. So the counts are those of summary.json plus these errors.
    A suite without tests that is not red (nothing selected, never started) has no case, only property itest.reason.

    run:     identifier of the run, recorded as property itest.run.
    seconds: wall time of the run. Suites run side by side, so the sum of theirs would be wrong.
    mask:    applied to every text; takes the secrets out.
    """
    suites = [_Merged(result, run, mask).suite() for result in results]
    root = JUnitXml("itest")
    for suite in suites:
        root.append(suite)  # not add_testsuite(), which joins suites that look alike
    for name in ("tests", "failures", "errors", "skipped"):
        setattr(root, name, sum(getattr(suite, name) for suite in suites))
    root.time = round(seconds, 3)
    buffer = io.BytesIO()
    root.write(buffer)
    atomic.write(out, buffer.getvalue())


class _Merged:
    """Builds the <testsuite> of one result."""

    def __init__(self, result: SuiteResult, run: str, mask: Mask) -> None:
        self._result = result
        self._run = run
        self._mask = mask

    def suite(self) -> TestSuite:
        root, problem = report.load(self._result.junit) if self._result.junit else (None, "")
        elements = report.testcases(root)
        told = Report(tuple(map(report.case, elements)), problem)
        own = self._own_case(told)
        parts = [] if root is None else list(root.iter("testsuite"))
        suite = TestSuite(self._text(self._result.name))
        suite.append(self._properties([pair for part in parts for pair in report.properties(part)] + self._labels()))
        suite.extend([self._copy(element) for element in elements] + own)
        suite.extend(self._output(parts))
        suite.tests = told.tests + len(own)
        suite.failures = told.failures
        suite.errors = told.errors + len(own)
        suite.skipped = told.skipped
        self._date(suite, parts)
        return suite

    def _date(self, suite: TestSuite, parts: Sequence[Element]) -> None:
        times = [report.seconds(part.get("time")) for part in parts]
        suite.time = round(sum(times), 3) if any(times) else round(self._result.seconds, 3)
        suite.hostname = next(filter(None, (part.get("hostname") for part in parts)), platform.node())
        if timestamp := next(filter(None, (part.get("timestamp") for part in parts)), ""):
            suite.timestamp = timestamp

    def _labels(self) -> list[tuple[str, str]]:
        labels = [("itest.run", self._run), ("itest.status", self._result.status)]
        if failure := self._result.failure:
            labels += [("itest.category", failure.category), ("itest.cause", failure.cause)]
        return labels + ([("itest.reason", self._result.reason)] if self._result.reason else [])

    def _own_case(self, told: Report) -> list[TestCase]:
        """The error that says what the others don't: at most one, none when they say it all."""
        result, failure = self._result, self._result.failure
        broken = f"report of {result.name}: {result.junit.name} {told.problem}" if result.junit and told.problem else ""
        if failure and not (result.status == "failed" and told.red):
            hint = f"hint: {failure.hint}" if failure.hint else ""
            evidence = f"evidence: {failure.evidence}" if failure.evidence else ""
            text = "\n".join(filter(None, (failure.message, hint, broken, evidence)))
            return [self._infrastructure(failure.stage or failure.category, failure.category, failure.headline, text)]
        if broken:
            return [self._infrastructure("junit", "test", broken, broken)]
        if result.status in ("error", "timeout", "interrupted"):
            return [self._infrastructure("run", result.status, f"suite {result.name}: {result.status}", "")]
        return []

    def _infrastructure(self, stage: str, kind: str, message: str, text: str) -> TestCase:
        error = Error(self._text(message), kind)
        error.text = self._text(text)
        case = TestCase(self._text(f"[{stage}]"), self._text(self._result.name), 0.0)
        case.append(error)
        return case

    def _copy(self, element: Element) -> TestCase:
        case = _Case(self._text(element.get("name", "")), self._text(element.get("classname", "")))
        case.time = report.seconds(element.get("time"))
        for name in {"file", "line"} & set(element.attrib):
            setattr(case, name, self._text(element.attrib[name]))
        if properties := report.properties(element):
            case.append(self._properties(properties))
        for kinds in (_RESULTS, _ATTEMPTS):
            for child in (child for child in element if child.tag in kinds):
                outcome = kinds[child.tag](self._text(child.get("message", "")), self._text(child.get("type", "")))
                outcome.text = self._text("".join(child.itertext()))
                case.append(outcome)
        case.extend(self._output([element]))
        return case

    def _output(self, parents: Iterable[Element]) -> list[SystemOut | SystemErr]:
        children = [child for parent in parents for child in parent]
        return [
            kind(self._text(child.text or ""))
            for tag, kind in _OUTPUT.items()
            for child in children
            if child.tag == tag
        ]

    def _properties(self, pairs: Iterable[tuple[str, str]]) -> Properties:
        properties = Properties()
        for name, value in pairs:
            properties.add_property(Property(self._text(name), self._text(value)))
        return properties

    def _text(self, text: str) -> str:
        text = self._mask(report.clean(text))
        if len(text) <= _TEXT_LIMIT:
            return text
        half, left_out = _TEXT_LIMIT // 2, len(text) - _TEXT_LIMIT
        return f"{text[:half]}\n… {left_out} characters left out; the suite's own junit.xml has them …\n{text[-half:]}"
