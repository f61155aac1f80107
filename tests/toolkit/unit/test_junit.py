"""The merged report: whatever a suite's file holds, the suite is in it and nothing complete is lost."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from itest import verdict
from itest.errors import ItestError
from itest.verdict import junit, report, summary, xmlread
from itest.verdict.results import StageFailure, SuiteResult

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3" time="1.250"
 timestamp="2025-01-02T03:04:05+00:00" hostname="builder"><properties><property name="seed" value="42" /></properties>
<testcase classname="tests.api.test_a.TestList" name="test_one" time="0.100"><properties><property name="itest.attempt"
 value="2" /></properties></testcase>
<testcase classname="tests.api.test_a" name="test_two" time="1.000"><failure message="assert 1 == 2">&gt; assert 1 == 2
</failure><system-out>said</system-out></testcase>
<testcase classname="tests.api.test_a" name="test_three" time="0.000"><skipped message="later" /></testcase>
</testsuite></testsuites>"""

BOMB = """<?xml version="1.0"?><!DOCTYPE bomb [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c SYSTEM "file:///etc/passwd">]>
<testsuite><testcase name="t"><failure>&b;&c;</failure></testcase></testsuite>"""

# The order in which the schemas want children; a rank may repeat, never fall.
ORDER = {
    "testsuite": ["properties", "testcase", "system-out", "system-err"],
    "testcase": ["properties", "skipped", "error", "failure", "system-out", "system-err"],
}


def suite(folder: Path, content: str | bytes = REPORT, name: str = "api", **more: object) -> SuiteResult:
    path = folder / f"{name}.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return SuiteResult(name, more.pop("status", "passed"), junit=path, **more)  # type: ignore[arg-type]


def merged(folder: Path, *results: SuiteResult, seconds: float = 2.0) -> ElementTree.Element:
    out = folder / "build" / "junit.xml"
    junit.merge(results, out, "run-7", seconds=seconds)
    root = ElementTree.fromstring(out.read_bytes())
    assert_well_kept(root, results)
    return root


def assert_well_kept(root: ElementTree.Element, results: tuple[SuiteResult, ...]) -> None:
    """What holds for every merged report: all suites in order, sums that add up, children in the schema's order."""
    assert (root.tag, root.get("name")) == ("testsuites", "itest")
    assert [child.get("name") for child in root] == [result.name for result in results]
    for child, result in zip(root, results, strict=True):
        cases = child.findall("testcase")
        assert cases or not result.category, "a red suite without a case looks as if it did not exist"
        counts = Counter(report.case(case).outcome for case in cases)
        said = {name: int(child.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}
        assert said == {
            "tests": len(cases),
            "failures": counts["failed"],
            "errors": counts["error"],
            "skipped": counts["skipped"],
        }
        for element in [child, *cases]:
            ranks = [ORDER[element.tag].index(part.tag) for part in element if part.tag in ORDER[element.tag]]
            assert element.tag == "testcase" or ranks == sorted(ranks)
            assert [part.tag for part in element].count("properties") <= 1
    for name in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(name, "-1")) == sum(int(child.get(name, "-1")) for child in root)


def properties(element: ElementTree.Element | None) -> dict[str | None, str | None]:
    assert element is not None
    return {prop.get("name"): prop.get("value") for prop in element.findall("properties/property")}


def test_suites_keep_their_names_times_hosts_and_properties_apart(tmp_path: Path) -> None:
    root = merged(tmp_path, suite(tmp_path, name="api"), suite(tmp_path, name="database"), seconds=1.5)
    assert [child.get("time") for child in root] == ["1.25", "1.25"]
    assert root.get("time") == "1.5", "wall time: side by side, the sum is no time that anybody waited"
    assert {child.get("hostname") for child in root} == {"builder"}
    assert {child.get("timestamp") for child in root} == {"2025-01-02T03:04:05+00:00"}
    assert properties(root[0]) == {"seed": "42", "itest.run": "run-7", "itest.status": "passed"}


def test_two_runs_of_one_suite_stay_two_suites(tmp_path: Path) -> None:
    """junitparser's add_testsuite would join them, because name, host and timestamp are equal."""
    assert len(merged(tmp_path, suite(tmp_path), suite(tmp_path))) == 2


def test_a_test_keeps_its_properties_result_and_output(tmp_path: Path) -> None:
    one, two, three = merged(tmp_path, suite(tmp_path))[0].findall("testcase")
    assert properties(one) == {"itest.attempt": "2"}
    assert (two.find("failure").text, two.find("system-out").text) == ("> assert 1 == 2\n", "said")  # type: ignore[union-attr]
    assert three.find("skipped").get("message") == "later"  # type: ignore[union-attr]
    assert (two.get("classname"), two.get("name"), two.get("time")) == ("tests.api.test_a", "test_two", "1.0")


def test_attempts_of_one_test_are_kept_apart(tmp_path: Path) -> None:
    attempts = """<testsuite name="s"><testcase classname="t" name="a"><failure message="1st"/></testcase>
    <testcase classname="t" name="a"/><testcase classname="t" name="b"><flakyFailure type="x" message="flaky">log
    </flakyFailure></testcase></testsuite>"""
    root = merged(tmp_path, suite(tmp_path, attempts))
    assert [case.get("name") for case in root[0].findall("testcase")] == ["a", "a", "b"]
    assert root.find(".//flakyFailure").get("message") == "flaky"  # type: ignore[union-attr]


def test_node_ids_can_be_given_to_pytest(tmp_path: Path) -> None:
    told = report.read_suite(suite(tmp_path).junit)  # type: ignore[arg-type]
    assert [case.id for case in told.cases] == [
        "tests/api/test_a.py::TestList::test_one",
        "tests/api/test_a.py::test_two",
        "tests/api/test_a.py::test_three",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("killed", "is not XML"),
        ("<html><body/></html>", "is no JUnit report: its root is <html>"),
        (BOMB, "has a DOCTYPE"),
        ("<a>" * 1000, "nested deeper than"),
        ('<?xml version="1.0" encoding="klingon"?><testsuite/>', "is not XML"),
        (REPORT[:-30], "breaks off"),
        (REPORT + "<again/>", "breaks off"),
    ],
)
def test_a_broken_report_is_an_error_of_its_suite_with_the_reason(tmp_path: Path, content: str, reason: str) -> None:
    root = merged(tmp_path, suite(tmp_path, content), suite(tmp_path, name="database"))
    error = root[0].find("testcase[@name='[junit]']/error")
    assert error is not None
    assert (error.get("type"), reason in error.get("message", "")) == ("test", True), error.get("message")
    assert root[1].find(".//error") is None


def test_a_missing_report_is_an_error_and_a_folder_too(tmp_path: Path) -> None:
    for path in (tmp_path / "none.xml", tmp_path):
        root = merged(tmp_path, SuiteResult("api", "passed", junit=path))
        assert root.get("errors") == "1"


@pytest.mark.parametrize("cut", range(0, len(REPORT), 7))
def test_complete_tests_before_a_cut_are_kept(tmp_path: Path, cut: int) -> None:
    told = report.read_suite(suite(tmp_path, REPORT[:cut]).junit)  # type: ignore[arg-type]
    complete = REPORT[:cut].count("</testcase>")
    assert (told.tests, bool(told.problem)) == (complete, True)


def test_a_huge_report_is_cut_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmlread, "MAX_BYTES", 1024 * 1024)
    case = f"<testcase classname='t' name='a'><system-out>{'x' * 1000}</system-out></testcase>"
    told = report.read_suite(suite(tmp_path, f"<testsuite>{case * 2000}</testsuite>").junit)  # type: ignore[arg-type]
    assert "larger than 1 MiB" in told.problem
    assert 900 < told.tests < 1200


def test_a_long_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    output = "begin" + "x" * 1_000_000 + "end"
    root = merged(tmp_path, suite(tmp_path, REPORT.replace("said", output)))
    text = root.findtext(".//system-out", "")
    assert text.startswith("begin")
    assert text.endswith("end")
    assert len(text) < 70_000
    assert "characters left out" in text


def test_an_infrastructure_failure_is_an_error_with_category_message_and_hint(tmp_path: Path) -> None:
    evidence = Path("build/itest/run-7/api/failure.txt")
    failure = StageFailure("service", "oom", "service postgres: killed\nlog: …", "give it memory", evidence, "ready")
    root = merged(tmp_path, SuiteResult("api", "error", failure, timings={"up": 1.0, "ready": 0.5}))
    case = root[0].find("testcase")
    assert case is not None
    assert (case.get("classname"), case.get("name")) == ("api", "[ready]")
    error = case.find("error")
    assert error is not None
    assert (error.get("type"), error.get("message")) == ("service", "service postgres: killed")
    assert error.text == f"service postgres: killed\nlog: …\nhint: give it memory\nevidence: {evidence}"
    assert root[0].get("time") == "1.5"
    assert properties(root[0])["itest.category"] == "service"
    assert properties(root[0])["itest.cause"] == "oom"


def test_a_failure_that_the_tests_tell_is_not_told_twice(tmp_path: Path) -> None:
    failure = StageFailure("test", "assertion", "tests of api: 1 of 3 failed", stage="pytest")
    root = merged(tmp_path, suite(tmp_path, status="failed", failure=failure))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "0")


def test_a_failure_beside_failed_tests_is_one_error_more(tmp_path: Path) -> None:
    failure = StageFailure("service", "exited", "service shop: exited with 1", stage="pytest")
    root = merged(tmp_path, suite(tmp_path, status="error", failure=failure))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")


@pytest.mark.parametrize("status", ["error", "timeout", "interrupted"])
def test_a_red_status_alone_is_an_error_too(tmp_path: Path, status: str) -> None:
    assert merged(tmp_path, suite(tmp_path, status=status)).get("errors") == "1"


def test_a_suite_that_never_started_has_no_tests_but_a_reason(tmp_path: Path) -> None:
    root = merged(tmp_path, SuiteResult("api", "skipped", reason="not started: the engine did not answer"))
    assert (root.get("tests"), root.get("skipped"), list(root[0].iter("testcase"))) == ("0", "0", [])
    assert properties(root[0])["itest.reason"] == "not started: the engine did not answer"


def test_its_counts_are_those_of_the_summary_and_one_error_for_each_suite_that_its_tests_do_not_tell_of(
    tmp_path: Path,
) -> None:
    told = verdict.judge("api", pytest_exit=1, junit=suite(tmp_path).junit, timings={}, services={})  # type: ignore[arg-type]
    failure = StageFailure("service", "exited", "service shop: exited with 1", stage="ready")
    never_ready = verdict.stopped("shop", failure, timings={}, services={})
    results = (told, never_ready, SuiteResult("database", "skipped", reason="not started"))
    root = merged(tmp_path, *results)
    summary.write(tmp_path / "summary.json", "run-7", results, "service")
    suites = json.loads((tmp_path / "summary.json").read_text())["suites"].values()
    counts = {name: sum(one[name] for one in suites) for name in ("tests", "failures", "errors", "skipped")}
    more = {"tests": 1, "errors": 1}
    assert {name: int(root.get(name, "-1")) for name in counts} == {
        name: count + more.get(name, 0) for name, count in counts.items()
    }


def test_a_run_that_failed_outside_of_any_suite_can_be_an_error_of_its_own(tmp_path: Path) -> None:
    """Or a reader of the JUnit alone would see skipped suites and call it green."""
    error = ItestError("engine", "engine: no answer from the socket", hint="make engine")
    own = verdict.stopped("itest", StageFailure.from_error(error, stage="engine"), timings={}, services={})
    root = merged(tmp_path, own, SuiteResult("api", "skipped", reason="not started"))
    assert (root.get("errors"), root.get("skipped")) == ("1", "0")


def test_only_legal_characters_and_no_colours_reach_the_file(tmp_path: Path) -> None:
    failure = StageFailure("data", "sql", "bad \x1b[31mred\x1b[0m \x00\x08\ufffe\ud800 end", hint="\x0c", stage="data")
    coloured = REPORT.replace("assert 1 == 2", "#x1B[1m#x1B[31massert 1#x1B[0m")
    root = merged(tmp_path, suite(tmp_path, coloured, status="error", failure=failure))
    assert root.find(".//error").get("message") == "bad red  end"  # type: ignore[union-attr]
    assert root.find(".//failure").get("message") == "assert 1"  # type: ignore[union-attr]


def test_secrets_are_masked_in_attributes_texts_and_properties(tmp_path: Path) -> None:
    out = tmp_path / "junit.xml"
    failure = StageFailure("service", "auth", "refused s3cr3t-42", "not s3cr3t-42", stage="ready")
    content = REPORT
    for text in ("later", "42", "said"):
        content = content.replace(text, "s3cr3t-42")
    result = suite(tmp_path, content, status="error", failure=failure)
    junit.merge([result], out, "run-7", seconds=1, mask=lambda text: text.replace("s3cr3t-42", "***"))
    assert "s3cr3t-42" not in out.read_text()
    assert out.read_text().count("***") == 6


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    out = tmp_path / "junit.xml"
    out.mkdir()
    with pytest.raises(OSError, match=r"junit\.xml"):
        junit.merge([SuiteResult("api", "passed")], out, "run-7", seconds=1)
    assert list(tmp_path.iterdir()) == [out]


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<testsuites>", "<testsuite name='s' time='x' tests='-1'>", "</testsuite>", "</testsuites>",
            "<testcase name='a' classname='B.c' time='nan'>", "<testcase name='b' time='1,234.5' file='f' line='3' />",
            "<testcase name='' />", "<x:testcase xmlns:x='u' name='n'/>", "</testcase>",
            "<failure message='m'>t", "</failure>", "<error/>", "<skipped>", "<rerunFailure>r</rerunFailure>",
            "<properties><property name='itest.category' value='data'/></properties>", "<system-out>o</system-out>",
            "&#0;", "&#x1F600;", "<![CDATA[\x7f]]>", "\x00", "é",
        ]
    ),
    max_size=30,
).map("".join)  # fmt: skip
CONTENT = st.binary(max_size=200) | FRAGMENTS.map(str.encode) | FRAGMENTS.map(lambda text: text.encode("utf-16"))


@given(st.lists(CONTENT, min_size=1, max_size=3))
@example([BOMB.encode()])
@example([REPORT.encode() + b"\x00"])
def test_no_bytes_whatever_lose_a_suite(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [suite(folder, content, f"s{index}") for index, content in enumerate(contents)]
        root = merged(folder, *results)
        for result, child in zip(results, root, strict=True):
            told = report.read_suite(result.junit)  # type: ignore[arg-type]
            kept = [case for case in child.findall("testcase") if case.get("classname") != result.name]
            assert len(kept) == told.tests
            assert (child.find(".//testcase[@name='[junit]']") is not None) == bool(told.problem)


@given(st.text(), st.text(), st.text())
def test_no_message_whatever_breaks_the_file(message: str, hint: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "junit.xml"
        failure = StageFailure("service", "exited", message, hint, stage=name)
        junit.merge([SuiteResult("api", "error", failure)], out, name, seconds=1)
        assert report.read_suite(out).errors == 1
