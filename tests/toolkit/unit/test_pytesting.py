"""The pytest stage: which arguments concern which suite, and a real pytest that is run, shown and interrupted."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from itest import pytesting, suite
from itest.pytesting import PytestRun
from itest.suite.suite import Suite
from itest.verdict.mask import Masker


@dataclass(frozen=True)
class Two:
    """Two suites of one repository."""

    api: Suite
    ui: Suite

    @property
    def root(self) -> Path:
        return self.api.root

    def concerned(self, *arguments: str) -> list[str]:
        both = [self.api, self.ui]
        return [one.name for one in both if pytesting.concerns(one, both, arguments)]

    def fail(self, one: Suite) -> None:
        """As pytest's cache remembers a failed test."""
        cache = self.root / "build/itest/cache" / one.name / "v/cache/lastfailed"
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"test_x.py::test_x": True}))


@pytest.fixture
def two(repo) -> Two:
    env = (
        repo.text("compose/suites/api.env")
        .replace("itest-api", "itest-ui")
        .replace("suites/api.yaml", "suites/ui.yaml")
    )
    repo.write("compose/suites/ui.env", env)
    repo.write("compose/suites/ui.yaml", "services: {}\n")
    repo.write("tests/api/test_api.py", "def test_api(): pass\ndef test_migrations(): pass\n")
    repo.write("tests/ui/test_ui.py", "def test_ui(): pass\ndef test_migrations(): pass\n")
    return Two(suite.load(repo.path, "api"), suite.load(repo.path, "ui"))


def test_without_a_path_every_suite_is_concerned(two):
    assert two.concerned() == ["api", "ui"]
    assert two.concerned("-x", "-k", "refund") == ["api", "ui"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("tests/api", ["api"]),
        ("tests/ui/test_ui.py", ["ui"]),
        ("tests/ui/test_ui.py::test_ui", ["ui"]),
        ("./tests/../tests/ui", ["ui"]),
        ("tests", ["api", "ui"]),
        (".", ["api", "ui"]),
        ("fixtures/base", []),
    ],
)
def test_a_path_concerns_the_suites_that_hold_it_or_that_it_holds(two, path, names):
    assert two.concerned("-x", path) == names
    assert two.concerned(str(two.root / path)) == names


def test_the_value_of_an_option_is_no_path_whatever_folder_has_its_name(two):
    for option in ("-k", "-m", "--ignore", "--deselect"):
        assert two.concerned(option, "migrations") == ["api", "ui"]


def test_a_very_long_expression_is_no_path(two):
    assert two.concerned("-q", "a or " * 1000) == ["api", "ui"]


@pytest.mark.parametrize("flag", ["--lf", "--last-failed"])
def test_the_last_failed_are_those_of_any_suite(two, flag):
    assert two.concerned(flag) == ["api", "ui"]  # none failed, so pytest would run all
    two.fail(two.ui)
    assert two.concerned(flag) == ["ui"]
    two.fail(two.api)
    assert two.concerned(flag) == ["api", "ui"]


def test_a_damaged_cache_counts_as_no_failure(two):
    two.fail(two.ui)
    (two.root / "build/itest/cache/ui/v/cache/lastfailed").write_bytes(b"\xff{")
    assert two.concerned("--lf") == ["api", "ui"]


@pytest.mark.parametrize(
    ("arguments", "debugging"), [(["--pdb"], True), (["-x", "--trace"], True), (["-k", "pdb"], False)]
)
def test_a_debugger_is_noticed(arguments, debugging):
    assert pytesting.is_debugging(arguments) is debugging


# A real pytest, on a suite whose stack is only a name.


@pytest.fixture
def run(two, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starting them takes longer than these tests
    monkeypatch.setenv("PYTEST_ADDOPTS", "-q")

    def run(one: Suite, *arguments: str, cancelled: threading.Event | None = None) -> Any:
        stack: Any = SimpleNamespace(suite=one, name="itest-x", discovery=lambda: {"ITEST_STORE_PORT": "5"})
        junit, log = two.root / "junit.xml", two.root / "pytest.log"
        ends = [cancelled.is_set] if cancelled else []
        code = pytesting.run(stack, PytestRun(arguments, junit, log, False, Masker(())), ends)
        ran = [case.get("name") for case in ElementTree.parse(junit).iter("testcase")] if junit.exists() else []
        return SimpleNamespace(code=code, ran=ran, log=log.read_text())

    return run


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        ([], ["test_ui", "test_migrations"]),
        (["tests"], ["test_ui", "test_migrations"]),
        (["tests/api", "tests/ui/test_ui.py::test_ui"], ["test_ui"]),
        (["-k", "migrations"], ["test_migrations"]),
        (["--deselect", "tests/ui/test_ui.py::test_ui"], ["test_migrations"]),
    ],
)
def test_a_suite_runs_its_own_tests_and_no_others(two, run, arguments, ran):
    done = run(two.ui, *arguments)
    assert (done.code, done.ran) == (0, ran), done.log


def test_tests_find_their_stack_in_the_environment(two, run):
    (two.root / "tests/ui/test_ui.py").write_text(
        "import os\n"
        "def test_stack(): assert os.environ['ITEST_STACK'] == '[\"ui\", \"itest-x\"]'\n"
        "def test_port(): assert os.environ['ITEST_STORE_PORT'] == '5'\n"
    )
    done = run(two.ui)
    assert done.code == 0, done.log


def test_the_log_holds_all_that_pytest_said_and_its_exit_code_is_passed_on(two, run):
    (two.root / "tests/ui/test_ui.py").write_text("def test_red(): assert 1 == 2, 'this is why'\n")
    done = run(two.ui, "--color=yes")
    assert done.code == 1
    assert "AssertionError: this is why" in done.log
    assert "\x1b[" not in done.log


def test_failures_are_remembered_by_suite(two, run):
    (two.root / "tests/ui/test_ui.py").write_text("def test_red(): assert 0\ndef test_green(): pass\n")
    run(two.ui)
    assert two.concerned("--lf") == ["ui"]
    assert run(two.ui, "--lf").ran == ["test_red"]


def test_an_interrupt_lets_pytest_finish_its_report(two, run):
    begun = two.root / "begun"
    (two.root / "tests/ui/test_ui.py").write_text(
        "import pathlib, threading\n"
        "def test_done(): pass\n"
        f"def test_hangs(): pathlib.Path({str(begun)!r}).touch(); threading.Event().wait(60)\n"
    )
    cancelled = threading.Event()
    poll = threading.Event()

    def interrupt() -> None:
        while not begun.exists():
            poll.wait(0.01)
        cancelled.set()

    threading.Thread(target=interrupt, daemon=True).start()
    done = run(two.ui, cancelled=cancelled)
    assert done.code == 2
    assert "test_done" in done.ran
    assert "KeyboardInterrupt" in done.log


@pytest.mark.parametrize(
    ("arguments", "words", "several"),
    [
        (["-x", "-n", "4"], "-n 4", True),
        (["-n4"], "-n 4", True),
        (["--numprocesses=auto"], "-n auto", True),
        (["-n", "4", "-n", "1"], "-n 1", False),
        (["-k", "refund"], "", False),
    ],
)
def test_how_many_workers_is_read_in_all_that_pytest_takes(arguments, words, several):
    assert (pytesting.workers(arguments), pytesting.has_workers(arguments)) == (words, several)
