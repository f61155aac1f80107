"""Verdicts on real pytest runs: tiny tests, a real pytest in a subprocess, its own exit code and its own report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from itest import verdict
from itest.verdict import report, summary
from itest.verdict.results import Case, Report, StageFailure, SuiteResult

GREEN = "def test_ok(): pass\n"
RED = "def test_one(): assert 1 == 2\ndef test_two(): assert 3 == 4\ndef test_ok(): pass\n"
LEAK = """
def test_plain(): assert 0
def test_leak(record_property):
    record_property("itest.category", "data")
    record_property("itest.cause", "leak")
    raise AssertionError("table users has 1 row more")
"""
CRASHED_PLUGIN = "def pytest_runtest_logreport(report): raise ValueError('a bug of the plugin')\n"


def run(folder: Path, *arguments: str, **files: str) -> tuple[int, Path]:
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    # Without the plugins of this environment but xdist: starting them all takes longer than the tests.
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plain = ["-q", "-p", "no:cacheprovider", "-p", "xdist", "--junitxml=junit.xml"]
    command = [sys.executable, "-m", "pytest", *plain, *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, stdout=PIPE, stderr=STDOUT, check=False, timeout=60)
    (folder / "pytest.log").write_bytes(done.stdout)
    return done.returncode, folder / "junit.xml"


def judge(exit_and_report: tuple[int, Path], failure: StageFailure | None = None) -> SuiteResult:
    pytest_exit, junit = exit_and_report
    log, root = junit.with_name("pytest.log"), junit.parent
    return verdict.judge(
        "api", pytest_exit=pytest_exit, junit=junit, timings={}, services={}, failure=failure, log=log, root=root
    )


def test_a_green_run_passes(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a=GREEN))
    assert (result.status, result.failure, result.report.tests) == ("passed", None, 1)


def test_what_may_be_the_reason_of_a_failure_stands_with_its_own_words(tmp_path: Path) -> None:
    also = "mock: a request that no stub answered: host: expected a, got b"
    told = f"def test_it(record_property):\n    record_property('itest.also', {also!r})\n    assert 502 == 200"
    long = told.replace("502 == 200", f"0, {'x' * 200!r}").replace("test_it", "test_long")
    result = judge(run(tmp_path, test_a=f"{told}\n{long}\n"))
    short, cut = (case.message for case in result.report.red)
    assert short == f"assert 502 == 200; {also}"
    assert cut.endswith(f"xxx…; {also}")
    assert summary.table([result]).count(also) == 3  # in the list, and of the first why the suite is red


def test_a_failed_test_is_named_with_its_own_words_and_a_way_to_run_it_alone(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a=RED))
    assert (result.status, result.category, result.cause) == ("failed", "test", "assertion")
    assert result.failure is not None
    assert result.failure.message == "tests of api: 2 of 3 failed, first test_a.py::test_one: assert 1 == 2"
    assert result.failure.hint == "run those alone: make itest SUITE=api ARGS='--lf'"


def test_tests_that_failed_side_by_side_are_run_again_side_by_side() -> None:
    told = Report((Case("test_a.py::test_one", "failed"),))
    again = verdict.suite_verdict("api", 1, told, workers="-n 2").hint
    assert again == "run those alone: make itest SUITE=api ARGS='-n 2 --lf'"


def test_a_leak_that_a_test_recorded_raises_the_category_and_is_the_test_that_is_shown(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a=LEAK))
    assert (result.status, result.category, result.cause) == ("failed", "data", "leak")
    assert result.failure is not None
    assert "first test_a.py::test_leak: " in result.failure.message


def test_a_passing_test_that_recorded_a_category_changes_nothing(tmp_path: Path) -> None:
    test = "def test_ok(record_property): record_property('itest.category', 'service')\n"
    assert judge(run(tmp_path, test_a=test)).status == "passed"


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("--continue-on-collection-errors",)])
def test_a_collection_error_is_a_test_failure_that_names_the_module(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = judge(run(tmp_path, *arguments, test_a=GREEN, test_b="import no_such_module\n"))
    assert (result.status, result.category, result.cause) == ("failed", "test", "collection")
    assert result.failure is not None
    why = "ModuleNotFoundError: No module named 'no_such_module' (test_b.py:1)"
    assert result.failure.message == f"tests of api: test_b.py cannot be imported: {why}"
    assert "scripts/requirements.in" in result.failure.hint


def test_a_module_that_pytest_refuses_without_a_traceback_is_told_in_its_words(tmp_path: Path) -> None:
    source = "import pytest\n\n@pytest.mark.isolaton('clone')\ndef test_a(): pass\n"
    result = judge(run(tmp_path, "--strict-markers", test_a=source))
    assert result.failure is not None
    why = "'isolaton' not found in `markers` configuration option"
    assert result.failure.message == f"tests of api: test_a.py cannot be imported: {why}"
    assert [case.message for case in result.report.red] == [why]


def test_a_refusal_of_two_lines_is_told_whole(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test_same.py").write_text(GREEN)
    result = judge(run(tmp_path))
    assert result.failure is not None
    assert "cannot be imported: import file mismatch: imported module 'test_same' has" in result.failure.message


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("\ndef helper(:\n", "SyntaxError: invalid syntax (conftest.py:2)"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' (conftest.py:1)"),
        ("def url():\n    raise KeyError('URL')\n\nurl()\n", "KeyError: 'URL' (conftest.py:2)"),
        ("import json\njson.loads('nothing')\n", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_conftest_that_cannot_be_imported_is_a_test_failure_with_its_exception_and_line(
    tmp_path: Path, source: str, why: str
) -> None:
    result = judge(run(tmp_path, test_a=GREEN, conftest=source))
    assert (result.status, result.category, result.cause) == ("error", "test", "collection")
    assert result.failure is not None
    assert result.failure.message.startswith("tests of api: conftest.py cannot be imported: ")
    assert why in result.failure.message


def test_the_place_of_an_exception_is_the_last_one_in_the_repository(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a="\nimport json\njson.loads('nothing')\n"))
    assert result.failure is not None
    assert result.failure.message.endswith(" (test_a.py:3)")


def test_a_test_chosen_by_name_in_a_module_that_cannot_be_imported_is_no_wrong_argument(tmp_path: Path) -> None:
    result = judge(run(tmp_path, "test_a.py::test_ok", test_a="import no_such_module\n"))
    assert (result.status, result.category, result.cause) == ("failed", "test", "collection")


def test_the_log_is_kept_relative_to_the_root(tmp_path: Path) -> None:
    assert judge(run(tmp_path, test_a=GREEN)).log == Path("pytest.log")


def test_ctrl_c_is_an_interruption_and_not_a_failure(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a=GREEN, test_b="def test_long(): raise KeyboardInterrupt\n"))
    assert (result.status, result.category) == ("interrupted", "interrupted")
    assert [case.id for case in result.report.cases] == ["test_a.py::test_ok"], "the nameless half test is not counted"


def test_a_killed_pytest_names_the_signal_and_keeps_no_green(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a=GREEN, test_b="import os\ndef test_k(): os.kill(os.getpid(), 9)\n"))
    assert (result.status, result.category, result.cause) == ("error", "test", "crash")
    assert result.failure is not None
    assert "killed by SIGKILL: the machine ran out of memory, or somebody killed it" in result.failure.message
    assert result.report.problem == "is missing"


def test_a_killed_worker_is_a_crash_of_the_test_that_it_ran(tmp_path: Path) -> None:
    result = judge(run(tmp_path, "-n1", test_b="import os\ndef test_k(): os.kill(os.getpid(), 9)\n"))
    assert (result.status, result.cause) == ("failed", "crash")
    assert result.report.red[0].id == "test_b.py::test_k"


def test_a_crashed_plugin_is_told_with_its_exception(tmp_path: Path) -> None:
    result = judge(run(tmp_path, test_a=GREEN, conftest=CRASHED_PLUGIN))
    assert (result.status, result.category, result.cause) == ("error", "test", "plugin")
    assert result.failure is not None
    assert result.failure.message.endswith("crashed pytest: ValueError: a bug of the plugin (conftest.py:1)")


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("--no-such-option", "unrecognized arguments: --no-such-option"),
        ("no_such_file.py", "file or directory not found: no_such_file.py"),
        ("test_a.py::test_none", "not found: test_a.py::test_none"),
        ("-k(", "Wrong expression passed to '-k': (:"),
    ],
)
def test_refused_arguments_are_a_usage_error_in_pytests_words(tmp_path: Path, argument: str, why: str) -> None:
    result = judge(run(tmp_path, argument, test_a=GREEN))
    assert (result.category, result.cause) == ("usage", "pytest")
    assert result.failure is not None
    assert result.failure.message.startswith(f"tests of api: pytest refused its arguments: {why}")


def test_a_suite_without_a_selected_test_is_skipped(tmp_path: Path) -> None:
    result = judge(run(tmp_path, "-k", "nothing", test_a=GREEN))
    assert (result.status, result.category, result.reason) == ("skipped", None, "no test selected")


def test_an_exit_code_0_over_failed_tests_is_not_believed(tmp_path: Path) -> None:
    liar = "def pytest_sessionfinish(session): session.exitstatus = 0\n"
    pytest_exit, junit = run(tmp_path, test_a=RED, conftest=liar)
    assert pytest_exit == 0, "the plugin must have hidden the failure, or this test proves nothing"
    result = judge((pytest_exit, junit))
    assert (result.status, result.category) == ("failed", "test")
    assert result.failure is not None
    assert "passed with exit code 0, yet 2 of 3 failed" in result.failure.message


def test_an_exit_code_1_without_a_failed_test_is_not_green(tmp_path: Path) -> None:
    threshold = "def pytest_sessionfinish(session): session.exitstatus = 1\n"
    result = judge(run(tmp_path, test_a=GREEN, conftest=threshold))
    assert (result.status, result.category, result.cause) == ("error", "test", "exit")


def test_an_exit_code_0_over_a_truncated_report_is_not_green(tmp_path: Path) -> None:
    pytest_exit, junit = run(tmp_path, test_a=GREEN)
    junit.write_bytes(junit.read_bytes()[:-10])
    result = judge((pytest_exit, junit))
    assert (result.status, result.category, result.cause, result.report.tests) == ("error", "test", "report", 1)


def test_what_the_toolkit_saw_outranks_what_pytest_says(tmp_path: Path) -> None:
    died = StageFailure("service", "oom", "service postgres: killed for memory", stage="pytest")
    result = judge(run(tmp_path, test_a=RED), died)
    assert (result.status, result.category, result.cause) == ("error", "service", "oom")
    assert result.report.failures == 2


def test_xfail_counts_as_skipped_and_fixture_errors_as_errors(tmp_path: Path) -> None:
    tests = """
import pytest
@pytest.fixture
def broken(): raise RuntimeError("no database")
@pytest.fixture
def late():
    yield
    raise RuntimeError("left open")
@pytest.mark.xfail
def test_expected(): assert 0
@pytest.mark.skip(reason="later")
def test_skipped(): pass
def test_setup(broken): pass
def test_teardown(late): pass
class TestList:
    @pytest.mark.parametrize("page", ["a.b/c"])
    def test_page(self, page): assert not page
"""
    _, junit = run(tmp_path, test_a=tests)
    told = report.read_suite(junit)
    assert (told.tests, told.failures, told.errors, told.skipped) == (5, 1, 2, 2)
    assert [(case.id, case.cause) for case in told.red] == [
        ("test_a.py::test_setup", "setup"),
        ("test_a.py::test_teardown", "teardown"),
        ("test_a.py::TestList::test_page[a.b/c]", "assertion"),
    ]


@pytest.mark.parametrize(
    ("pytest_exit", "words"),
    [(-11, "SIGSEGV"), (139, "SIGSEGV"), (137, "out of memory"), (-99, "signal 99"), (None, "without an exit code")],
)
def test_a_crash_says_how(pytest_exit: int | None, words: str) -> None:
    found = verdict.suite_verdict("api", pytest_exit, Report())
    assert (found.status, found.category, found.cause) == ("error", "test", "crash")
    assert words in found.message


@pytest.mark.parametrize("pytest_exit", [-2, 130, 2])
def test_sigint_is_an_interruption_even_when_tests_had_failed(pytest_exit: int) -> None:
    told = Report((Case("a.py::test_a", "failed", cause="assertion"),))
    assert verdict.suite_verdict("api", pytest_exit, told).status == "interrupted"


def test_no_exit_code_and_no_report_makes_red_look_green() -> None:
    red = Report((Case("a.py::test_ok", "passed"), Case("a.py::test_a", "failed", cause="assertion")))
    for pytest_exit in [None, *range(-64, 256)]:
        for told in (red, Report(problem="is empty"), Report(red.cases[:1], "breaks off")):
            assert verdict.suite_verdict("api", pytest_exit, told).category, (pytest_exit, told)


def test_a_suite_that_never_got_ready_is_a_timeout_of_its_category() -> None:
    failure = StageFailure("service", "timeout", "service postgres: not ready after 30 s", stage="ready")
    result = verdict.stopped("api", failure, timings={"up": 1.0}, services={})
    assert (result.status, result.category) == ("timeout", "service")


class TestRunCategory:
    passed = SuiteResult("a", "passed")
    nothing = SuiteResult("b", "skipped", pytest_exit=5, reason="no test selected")
    tests = SuiteResult("c", "failed", StageFailure("test", "assertion", "tests of c: 1 of 2 failed"))
    data = SuiteResult("d", "error", StageFailure("data", "migration", "migration V1: syntax error"))

    def test_is_none_when_a_suite_passed_and_none_is_red(self) -> None:
        assert verdict.run_category([self.passed, self.nothing]) is None

    def test_is_usage_only_when_no_suite_selected_any_test(self) -> None:
        assert verdict.run_category([self.nothing, self.nothing]) == "usage"
        assert verdict.run_category([self.nothing, self.tests]) == "test"
        assert verdict.run_category([]) == "usage"

    def test_is_the_gravest(self) -> None:
        assert verdict.run_category([self.passed, self.tests, self.data]) == "data"
        assert verdict.run_category([self.data], "interrupted", None) == "interrupted"
