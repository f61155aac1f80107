"""Reports of a pytest that did not write one: what they say is what pytest's own would have said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from itest import finished, verdict
from itest.finished import Result
from itest.verdict import report, salvage
from itest.verdict.results import Case
from itest.verdict.salvage import Ending

ENDING = Ending("crash", "it ended")
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
CONFTEST = """
import os, pathlib, pytest
from itest.finished import Finished

def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Finished(pathlib.Path("finished")))

@pytest.fixture
def broken(): raise OSError("no way in")

@pytest.fixture
def untidy():
    yield
    raise OSError("no way out")
"""
TESTS = r"""
import os, pytest

def test_passes(): pass
class TestList:
    @pytest.mark.parametrize("value", ["a::b", "[c]/d.py"])
    def test_value(self, value): pass
def test_fails(record_property):
    record_property("itest.category", "data")
    print("what it \x1b[1msaid\x1b[0m \x00")
    assert {"a": 1} == {"a": 2}
def test_not_set_up(broken): pass
def test_not_torn_down(untidy): pass
def test_fails_and_not_torn_down(untidy): assert 0, "first"
def test_skipped(): pytest.skip("another day")
@pytest.mark.skip(reason="never")
def test_never(): pass
@pytest.mark.xfail(reason="a bug")
def test_known(): assert 0
@pytest.mark.xfail(strict=True, reason="no bug")
def test_mended(): pass
"""
ENDS = TESTS + "def test_last(): os._exit(7)\ndef test_never_begun(): pass\n"


def run(folder: Path, text: str, *arguments: str) -> int:
    (folder / "test_it.py").write_text(text)
    (folder / "conftest.py").write_text(CONFTEST)
    plain = ["-q", "-p", "no:cacheprovider", "-p", "xdist", "--junitxml=junit.xml"]
    plain += ["-o", "junit_family=xunit2", "-o", "junit_logging=system-out"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # no worker of ours
    environ = own | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-m", "pytest", *plain, *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False).returncode


def make_up(folder: Path, *running: str, ending: Ending = ENDING) -> Path:
    junit = folder / "junit.xml"
    salvage.salvage(junit, finished.read(folder / "finished"), running, ending, str)
    return junit


def by_test(cases) -> list[Case]:
    return sorted(cases, key=lambda case: (case.id, case.outcome))


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "workers"])
def test_it_says_what_pytests_own_would(tmp_path, arguments):
    run(tmp_path, TESTS, *arguments)
    own = report.read_suite(tmp_path / "junit.xml")
    (tmp_path / "junit.xml").unlink()
    made = report.read_suite(make_up(tmp_path))
    assert by_test(made.cases) == by_test(own.cases)
    assert (made.tests, made.failures, made.errors, made.skipped) == (12, 3, 3, 3)
    assert (own.problem, made.problem) == ("", salvage.PROBLEM)


def test_its_counts_texts_and_outputs_are_those_of_a_report(tmp_path):
    run(tmp_path, TESTS)
    own = ElementTree.parse(tmp_path / "junit.xml").getroot()
    (tmp_path / "junit.xml").unlink()
    made = ElementTree.parse(make_up(tmp_path)).getroot()
    assert made.tag == own.tag
    ours, theirs = made.find("testsuite"), own.find("testsuite")
    assert [ours.get(name) for name in ("name", "failures", "errors", "skipped")] == [
        theirs.get(name) for name in ("name", "failures", "errors", "skipped")
    ]
    fails = {name: root.find(".//testcase[@name='test_fails']") for name, root in (("own", own), ("made", made))}
    assert fails["made"].find("failure").text == fails["own"].find("failure").text
    assert "what it said" in fails["made"].find("system-out").text


def test_the_test_that_ended_pytest_is_an_error_and_the_suite_is_not_green(tmp_path):
    code = run(tmp_path, ENDS)
    assert code == 7
    assert not (tmp_path / "junit.xml").exists()
    junit = make_up(tmp_path, "test_it.py::test_last", ending=Ending.of(code))
    told = report.read_suite(junit)
    assert (told.tests, told.failures, told.errors, told.skipped) == (13, 3, 4, 3)
    words = "pytest ended with exit code 7 while this ran"
    assert told.red[-1] == Case("test_it.py::test_last", "error", None, "crash", words)
    for lie in (0, 1, 5, 7, -9):
        result = verdict.judge("it", pytest_exit=lie, junit=junit, timings={}, services={})
        assert result.status == "error", lie


def test_green_tests_alone_make_no_green_suite_of_an_unfinished_report(tmp_path):
    junit = tmp_path / "junit.xml"
    salvage.salvage(junit, [Result("test_it.py::test_a", "passed", 1.5)], [], Ending.of(0), str)
    result = verdict.judge("it", pytest_exit=0, junit=junit, timings={}, services={})
    assert (result.status, result.report.tests) == ("error", 1)
    assert result.failure.message == "tests of it: the report was not finished by pytest, though pytest exited 0"


def test_a_test_that_had_passed_or_failed_before_its_teardown_ended_pytest_counts_as_pytest_counts(tmp_path):
    noted = [Result("t.py::test_a", "passed", 1.5), Result("t.py::test_b", "failed", 0.5, "assert 0")]
    junit = tmp_path / "junit.xml"
    salvage.salvage(junit, noted, ["t.py::test_a", "t.py::test_b"], Ending("timeout", "took too long"), str)
    cases = report.read_suite(junit).cases
    assert [(case.id, case.outcome, case.cause) for case in cases] == [
        ("t.py::test_a", "error", "timeout"),
        ("t.py::test_b", "failed", "assertion"),
        ("t.py::test_b", "error", "timeout"),
    ]


def test_a_report_that_pytest_has_finished_is_left_as_it_is(tmp_path):
    run(tmp_path, TESTS)
    before = (tmp_path / "junit.xml").read_bytes()
    assert make_up(tmp_path).read_bytes() == before


def test_one_that_breaks_off_is_replaced(tmp_path):
    run(tmp_path, TESTS)
    whole = (tmp_path / "junit.xml").read_bytes()
    (tmp_path / "junit.xml").write_bytes(whole[: len(whole) // 2])
    assert report.read_suite(make_up(tmp_path)).tests == 12


def test_without_a_result_none_is_made_up(tmp_path):
    assert not make_up(tmp_path).exists()


def test_a_line_that_was_not_written_to_its_end_is_left_out(tmp_path):
    (tmp_path / "finished").write_text('{"test": "t.py::test_a", "outcome": "passed"}\n{"test": "t.py::te')
    assert [result.test for result in finished.read(tmp_path / "finished")] == ["t.py::test_a"]


def test_secrets_stay_out(tmp_path):
    noted = [
        Result("t.py::test_a[hunter2]", "failed", 0, "hunter2", "hunter2", "hunter2", [["itest.cause", "hunter2"]])
    ]
    junit = tmp_path / "junit.xml"
    salvage.salvage(junit, noted, ["hunter2"], Ending("crash", "hunter2"), lambda text: text.replace("hunter2", "***"))
    assert "***" in junit.read_text()
    assert "hunter2" not in junit.read_text()


@pytest.mark.parametrize(
    ("code", "words"),
    [(7, "ended with exit code 7"), (-11, "was killed by SIGSEGV"), (-99, "was killed by signal 99")],
)
def test_an_ending_says_how(code, words):
    assert Ending.of(code) == Ending("crash", f"pytest {words} while this ran")
