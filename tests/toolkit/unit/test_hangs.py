"""Tests that hang, in a real pytest: who sets their limit, and what their report says. And where processes are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from itest import hangs, processes, pytesting, tracebacks, watchdog
from itest.stack.eventually import eventually

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
WAITS = "import threading, pytest\n{mark}\ndef test_it(): threading.Event().wait(0.6)\ndef test_next(): pass\n"


@pytest.fixture
def run(tmp_path):
    """A pytest of its own with one test that takes 0.6 seconds. mark: above it; ini: lines of pytest.ini."""

    def run(*arguments: str, mark: str = "", ini: str = "", **variables: str) -> SimpleNamespace:
        (tmp_path / "test_it.py").write_text(WAITS.format(mark=mark))
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("ITEST_", "PYTEST_"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "itest.hangs", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env=clean | {"PYTHONPATH": str(SCRIPTS)} | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return SimpleNamespace(code=done.returncode, output=done.stdout + done.stderr)

    return run


def test_a_test_that_takes_longer_than_the_setting_fails_and_the_next_one_runs(run):
    done = run(ITEST_TEST_TIMEOUT="0.2")
    assert done.code == 1, done.output
    assert "Timeout (>0.2s)" in done.output
    assert "1 failed, 1 passed" in done.output
    assert hangs.HINT in done.output


@pytest.mark.parametrize(
    "given",
    [
        {"ITEST_TEST_TIMEOUT": "0"},
        {"ITEST_TEST_TIMEOUT": "0.2", "ITEST_TIMEOUT_FACTOR": "100"},
        {"ITEST_TEST_TIMEOUT": "0.2", "mark": "@pytest.mark.timeout(20)"},
        {"ITEST_TEST_TIMEOUT": "20", "ini": "timeout = 0.2"},
    ],
    ids=["none", "factor", "mark", "over pytest's own"],
)
def test_the_limit_can_be_lifted(run, given):
    done = run(**given)
    assert done.code == 0, done.output


@pytest.mark.parametrize(
    "given",
    [
        {"ITEST_TEST_TIMEOUT": "20", "mark": "@pytest.mark.timeout(0.2)"},
        {"ini": "timeout = 0.2"},
        {"PYTEST_TIMEOUT": "0.2"},
    ],
    ids=["mark", "ini", "variable"],
)
def test_pytests_own_words_for_a_limit_count(run, given):
    done = run(**given)
    assert "Timeout (>0.2s)" in done.output
    assert done.code == 1


@pytest.mark.parametrize("flag", ["--pdb", "--trace"])
def test_a_debugger_has_all_the_time(run, flag):
    done = run(flag, ITEST_TEST_TIMEOUT="0.2")
    assert "Timeout" not in done.output


def test_a_limit_that_cannot_be_meant_is_a_usage_error_without_a_traceback(run):
    done = run(ITEST_TEST_TIMEOUT="soon")
    assert done.code == pytest.ExitCode.USAGE_ERROR
    assert "ITEST_TEST_TIMEOUT=soon: a number of seconds, 0 or more, is expected" in done.output
    assert "Traceback" not in done.output


@pytest.mark.timeout(60)
def test_what_is_not_counted_leaves_a_test_the_time_that_it_had():
    with hangs.not_counted():
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60


# Tests that go on after their time

DEAF_TO_EXCEPTIONS = """
import threading, time, pytest
from itest import watchdog
watchdog.GRACE = 0.5

def swallow(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            threading.Event().wait(seconds)
        except BaseException:
            pass

def test_before(): pass
{test}
def test_after(): pass
"""
IN_TEST = "@pytest.mark.timeout(0.2)\ndef test_it(): swallow({seconds})"
IN_TEARDOWN = """
@pytest.fixture
def slow():
    yield
    swallow({seconds})

@pytest.mark.timeout(0.2{more})
def test_it(slow): assert {passes}
"""


@pytest.fixture
def swallowing(run, tmp_path):
    """The same with a test that goes on for some seconds whatever is raised in it, between two that pass."""

    def start(test: str, *arguments: str, seconds: float = 60, more: str = "", passes: bool = False, **variables: str):
        body = test.format(seconds=seconds, more=more, passes=passes)
        (tmp_path / "test_swallows.py").write_text(DEAF_TO_EXCEPTIONS.format(test=body))
        return run("test_swallows.py", "-v", *arguments, **variables)

    return start


LINE = "itest: error: test_swallows.py::test_it did not end 0.5 s after its limit of 0.2 s; {} is ended\n"


@pytest.mark.parametrize("test", [IN_TEST, IN_TEARDOWN], ids=["test", "teardown of a failed test"])
@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_a_test_that_swallows_its_end_is_ended_with_pytest_and_all_tracebacks(swallowing, test, capture):
    done = swallowing(test, f"--capture={capture}")
    assert done.code == 1, done.output
    assert LINE.format("pytest") in done.output
    assert "Thread MainThread:" in done.output
    assert "in swallow" in done.output
    assert "test_before PASSED" in done.output
    assert "test_after" not in done.output


def test_of_workers_only_the_one_is_ended_and_the_others_go_on(swallowing):
    done = swallowing(IN_TEST, "-n", "2")
    assert re.search(re.escape(LINE).replace(r"\{\}", r"gw\d"), done.output), done.output
    assert "1 failed, 2 passed" in done.output, done.output


def test_a_run_is_told_what_was_ended_and_where_it_was(swallowing, tmp_path):
    swallowing(IN_TEST, ITEST_HUNG=str(tmp_path / "hung"))
    error = pytesting.hung("api", tmp_path)
    assert error.message == "tests of api: test_swallows.py::test_it did not end within its 0.2 s, nor 0.5 s later"
    assert (error.category, error.cause) == ("test", "timeout")
    assert "@pytest.mark.timeout(seconds) on the test, or ITEST_TEST_TIMEOUT=seconds" in error.hint
    assert 'test_swallows.py", line 10 in swallow' in error.evidence
    assert "_pytest" not in error.evidence
    assert "Thread MainThread:" in (tmp_path / "stacks.txt").read_text()


@pytest.mark.parametrize(
    ("test", "given"),
    [
        (IN_TEST, {"seconds": 0.4}),
        (IN_TEARDOWN, {"more": ", func_only=True", "passes": True}),
        (IN_TEST.replace("@pytest.mark.timeout(0.2)", ""), {"ITEST_TEST_TIMEOUT": "0"}),
    ],
    ids=["ends in its grace", "its fixtures don't count", "no limit"],
)
def test_what_still_has_time_is_left_alone(swallowing, test, given):
    done = swallowing(test, **{"seconds": 1.5} | given)
    assert "did not end" not in done.output
    assert "test_after PASSED" in done.output


def test_a_debugger_is_never_ended(swallowing):
    done = swallowing(IN_TEST, "--pdb", seconds=1.5)
    assert "did not end" not in done.output


def test_a_watchdog_gives_a_test_its_limit_and_grace_anew_and_what_is_not_counted_on_top(monkeypatch):
    monkeypatch.setattr(watchdog, "GRACE", 0.0)
    ended: list[str] = []
    dog = watchdog.Watchdog(lambda test, limit: ended.append(f"{test} {limit}"))
    dog.watch("first", 0.2)
    dog.release()
    dog.join(0.5)
    assert ended == []
    dog.watch("second", 60)
    dog.watch("third", 0.2)
    with hangs.not_counted():
        dog.join(0.5)
        assert ended == []
    dog.join(30)
    assert ended == ["third 0.2"]


# Where processes are

DEAF = """
import ctypes, pathlib, sys, threading
from itest import tracebacks
tracebacks.answer(pathlib.Path(sys.argv[1]), "deaf")
lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
def hang():
    lock(mutex)
    print("hanging", flush=True)
    lock(mutex)
hang()
"""


@pytest.fixture
def deaf(tmp_path):
    """A process that hangs in C code, and has promised to tell where it is."""
    command = [sys.executable, "-c", DEAF, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"hanging\n"
        yield process
        process.kill()


def test_a_process_tells_where_it_is_even_from_c_code(deaf, tmp_path):
    said = tracebacks.ask(tmp_path, os.getpid())
    assert list(said) == [f"deaf.{deaf.pid}"]
    frames = tracebacks.current(said[f"deaf.{deaf.pid}"])
    assert frames[0].endswith("in hang")
    assert frames[1].endswith("in <module>")


def test_only_a_process_below_that_has_promised_an_answer_is_asked(deaf, tmp_path):
    with subprocess.Popen(["sleep", "60"]) as bystander:  # SIGUSR1 would end it
        (tmp_path / f"sleep.{bystander.pid}").touch()
        assert list(tracebacks.ask(tmp_path, os.getpid())) == [f"deaf.{deaf.pid}"]
        assert tracebacks.ask(tmp_path, bystander.pid) == {}
        assert bystander.poll() is None
        bystander.kill()


def test_the_threads_of_this_process_are_told_by_name():
    done = threading.Event()
    helper = threading.Thread(target=done.wait, name="helper")
    helper.start()
    both, one = tracebacks.of_threads(), tracebacks.of_threads(but=[threading.get_ident()])
    frames = tracebacks.of_thread(helper.ident)
    done.set()
    helper.join()
    assert "Thread helper:" in both
    assert "Thread MainThread:" in both
    assert "Thread helper:" in one
    assert "Thread MainThread:" not in one
    assert frames[0].endswith(" in wait")


def test_descendants_are_children_and_theirs():
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE) as shell:
        sleeper = int(shell.stdout.readline())
        eventually(lambda: processes.command(sleeper) == "sleep 60 ")
        found = processes.descendants(os.getpid())
        assert {shell.pid, sleeper} <= {one.pid for one in found}
        assert {one.pid for one in processes.descendants(shell.pid)} == {sleeper}
        processes.end(processes.descendants(shell.pid))
        shell.wait()
    assert processes.command(sleeper) == ""
