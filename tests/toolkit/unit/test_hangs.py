"""Tests that hang, in a real pytest: who sets their limit, and what their report says. And where processes are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from itest import hangs, processes, tracebacks
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
