"""Read one suite's JUnit report, however broken: which tests ran, how each ended, and why it was red."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree.ElementTree import Element

from itest.errors import Category
from itest.verdict import reason, xmlread
from itest.verdict.results import ALSO, Case, Outcome, Report

_CONTAINERS = frozenset({"testsuites", "testsuite"})
PROBLEM = "itest.problem"  # property of a report that salvage.py had to write

_BESIDE = 80  # characters of a message that leave room for what else is told
# What a test can know better than its exit code. It cannot say that nothing was started, or that Ctrl-C was pressed.
_RECORDED: tuple[Category, ...] = ("engine", "image", "service", "data", "test")

# pytest writes an escape character, which XML forbids, as the four characters #x1B.
_ANSI = re.compile(r"(?:\x1b|#x1B)\[[0-9;?]*[ -/]*[@-~]")
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# What pytest and pytest-xdist write as the message of an <error>, and the cause that it stands for.
_CAUSES = {
    re.compile("collection failure"): "collection",
    re.compile("internal error"): "plugin",
    re.compile("failed on setup with .* did not end .* after its limit"): "timeout",  # as watchdog.py says
    re.compile("failed on setup with .*crashed while running"): "crash",
    re.compile("failed on setup"): "setup",
    re.compile("failed on teardown"): "teardown",
}


def read_suite(path: Path, root: Path | None = None) -> Report:
    """What the report at path says. Never raises: a file that can't be believed whole gives a Report with a problem.

    root: of the repository, to shorten paths.
    """
    document, problem = load(path)
    return Report(tuple(case(element, root) for element in testcases(document)), problem)


def load(path: Path) -> tuple[Element | None, str]:
    """The report's root element, None when it holds nothing of use, and what is wrong with it, "" when nothing is."""
    root, problem = xmlread.read(path, _CONTAINERS)
    if root is not None and root.tag not in _CONTAINERS:
        return None, f"is no JUnit report: its root is <{root.tag[:40]}>"
    suites = [] if root is None else root.iter("testsuite")
    noted = (value for suite in suites for name, value in properties(suite) if name == PROBLEM)
    return root, problem or next(noted, "")


def testcases(root: Element | None) -> list[Element]:
    """All test cases but the nameless one that pytest leaves for a test that was interrupted or broke a plugin."""
    return [] if root is None else [element for element in root.iter("testcase") if element.get("name")]


def case(element: Element, root: Path | None = None) -> Case:
    """The test that a <testcase> tells of. The gravest result counts if it has several."""
    recorded = dict(properties(element))
    category = next((word for word in _RECORDED if word == recorded.get("itest.category")), None)
    children = {child.tag: child for child in element}
    outcomes: dict[str, Outcome] = {"error": "error", "failure": "failed", "skipped": "skipped"}
    for tag, outcome in outcomes.items():
        if (result := children.get(tag)) is not None:
            message = _first_line(result.get("message") or result.text or "")
            cause = recorded.get("itest.cause") or _cause(outcome, message)
            if cause == "collection":  # the message is always "collection failure"; the text is why
                text = clean(result.text or "")
                message = reason.raised(text, root) or reason.plain(text) or message
            if outcome != "skipped" and (also := recorded.get(ALSO)):
                message = f"{message if len(message) <= _BESIDE else message[: _BESIDE - 1] + '…'}; {also}"
            return Case(_node_id(element), outcome, category, cause, message)
    return Case(_node_id(element), "passed", category)


def properties(element: Element) -> list[tuple[str, str]]:
    """The properties of a suite or a test, as pairs of name and value."""
    return [(p.get("name", ""), p.get("value", "")) for p in element.findall("properties/property") if p.get("name")]


def seconds(text: str | None) -> float:
    """A time attribute in seconds ("1,234.5" as Ant writes it); 0 for what is none."""
    try:
        number = float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0
    return round(number, 3) if math.isfinite(number) and 0 <= number < 1e9 else 0.0


def clean(text: str) -> str:
    """The text without terminal colours and without what XML forbids."""
    return _ILLEGAL.sub("", _ANSI.sub("", text))


def _cause(outcome: Outcome, message: str) -> str:
    if outcome == "error":
        return next((cause for pattern, cause in _CAUSES.items() if pattern.match(message)), "error")
    return "assertion" if outcome == "failed" else ""


def _first_line(text: str) -> str:
    return next(iter(clean(text).strip().splitlines()), "")


def _node_id(element: Element) -> str:
    """The node id that pytest takes on its command line: class names begin with a capital, modules don't (PEP 8)."""
    name, classname = clean(element.get("name", "")), clean(element.get("classname", ""))
    if not classname:  # a module that could not be collected
        return name if "/" in name else name.replace(".", "/") + ".py"
    parts = classname.split(".")
    first = next((index for index, part in enumerate(parts) if part[:1].isupper()), len(parts))
    module = element.get("file") or "/".join(parts[:first]) + ".py"
    return "::".join([clean(module), *parts[first:], name])
