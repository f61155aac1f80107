"""What takes too long is ended: a test, a stage, a suite, a run. It says what it was, where, and how to wait longer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from itest.verdict import report

REDIS = (Path(__file__).parent / "redis.yaml").read_text(encoding="utf-8")

HANGS = """
import threading
import pytest

def test_before(): pass

@pytest.mark.timeout(1)
def test_hangs(stack):
    helper = threading.Thread(target=lambda: threading.Event().wait(30), name="helper", daemon=True)
    helper.start()
    helper.join()

def test_after(): pass
"""


@pytest.fixture(scope="module")
def slow(shared_checkout):
    """Suites of one small service each, in a checkout where pytest gets little grace to end."""
    shared_checkout.replace("scripts/itest/pytesting.py", "INTERRUPT_GRACE = 20.0", "INTERRUPT_GRACE = 1.0")
    shared_checkout.replace("scripts/itest/watchdog.py", "GRACE = 10.0", "GRACE = 1.0")
    shared_checkout.suite("hangs", REDIS, test=HANGS)
    return shared_checkout


def cases(checkout, suite: str) -> dict[str, ElementTree.Element]:
    written = ElementTree.parse(checkout.latest / suite / "junit.xml")
    return {case.get("name", ""): case for case in written.iter("testcase")}


@pytest.mark.parametrize("arguments", ["", "-n 2"])
def test_a_test_that_hangs_fails_with_its_seconds_and_all_stacks_and_the_others_go_on(slow, arguments):
    ended = slow.run("run", "--suite", "hangs", f"--args={arguments}")
    assert ended.code == 1, ended.output
    suite = slow.summary["suites"]["hangs"]
    assert (suite["status"], suite["category"], suite["cause"]) == ("failed", "test", "timeout")
    assert (suite["tests"], suite["failures"], suite["errors"]) == (3, 1, 0)
    hanging = cases(slow, "hangs")["test_hangs"]
    assert "Timeout (>1.0s)" in hanging.find("failure").get("message")
    assert "helper.join()" in hanging.find("failure").text, "where the test itself was"
    assert "Thread helper:" in hanging.find("system-out").text, "where its threads were"
    assert "hint: its traceback shows where it hung; more time: @pytest.mark.timeout(seconds)" in ended.output


SWALLOWS = """
import threading
import pytest

def test_passes(): pass
def test_fails(): assert "its" == "words"

@pytest.mark.timeout(1)
def test_swallows(stack):
    while True:
        try: threading.Event().wait(600)
        except BaseException: pass
"""


@pytest.mark.parametrize("arguments", ["", "-n 2"])
def test_a_test_that_swallows_its_end_is_ended_and_what_the_others_said_is_not_lost(slow, arguments):
    slow.suite("swallows", REDIS, test=SWALLOWS)
    ended = slow.run("run", "--suite", "swallows", f"--args={arguments}")
    assert ended.code == 1, ended.output
    suite = slow.summary["suites"]["swallows"]
    test = "tests/swallows/test_swallows.py::test_swallows"
    assert (suite["status"], suite["category"], suite["cause"]) == ("timeout", "test", "timeout")
    assert suite["message"] == f"tests of swallows: {test} did not end within its 1 s, nor 1 s later"
    assert (suite["tests"], suite["failures"], suite["errors"]) == (3, 1, 1)
    assert f"itest: error: {test} did not end 1 s after its limit of 1 s" in ended.output
    assert "more time: @pytest.mark.timeout(seconds) on the test, or ITEST_TEST_TIMEOUT" in ended.output
    told = cases(slow, "swallows")
    assert "'its' == 'words'" in told["test_fails"].find("failure").text
    assert "did not end" in told["test_swallows"].find("error").get("message")
    assert report.case(told["test_swallows"]).cause == "timeout"
    assert "in test_swallows\n" in (slow.latest / "swallows/stacks.txt").read_text()
    assert not {"hung", "finished", "running"} & {path.name for path in (slow.latest / "swallows").iterdir()}
    assert slow.leftovers() == {"containers": [], "networks": []}


def test_a_test_that_ends_pytest_is_named_beside_the_results_of_those_before_it(slow):
    first = "def test_passes(): pass\ndef test_fails(): assert 0\n"
    slow.suite("leaves", REDIS, test=f"{first}import os\ndef test_leaves(stack): os._exit(0)\ndef test_next(): pass\n")
    ended = slow.run("run", "--suite", "leaves")
    assert ended.code == 1, ended.output
    suite = slow.summary["suites"]["leaves"]
    assert (suite["status"], suite["cause"]) == ("error", "crash")
    assert suite["message"] == "tests of leaves: tests/leaves/test_leaves.py::test_leaves ended pytest with exit code 0"
    assert (suite["tests"], suite["failures"], suite["errors"]) == (3, 1, 1)
    broken = cases(slow, "leaves")["test_leaves"].find("error")
    assert broken.get("message") == "pytest ended with exit code 0 while this ran"


# In C code that keeps the interpreter to itself: no signal handler of Python's runs, and no other thread.
DEAF = """
import ctypes
def test_passes(): pass
def test_deaf(stack):
    lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)
"""


def suite_of(checkout, name: str) -> dict:
    return checkout.summary["suites"][name]


def test_a_suite_whose_pytest_is_deaf_ends_all_the_same_and_tells_where_it_was(slow):
    slow.suite("deaf", REDIS, test=DEAF)
    ended = slow.run("run", "--suite", "deaf", ITEST_SUITE_TIMEOUT="4")
    assert ended.code == 1, ended.output
    deaf = suite_of(slow, "deaf")
    assert (deaf["status"], deaf["category"], deaf["cause"]) == ("timeout", "test", "timeout")
    assert deaf["message"] == (
        "suite deaf: took longer than 4 s, in stage pytest while tests/deaf/test_deaf.py::test_deaf ran"
    )
    assert (deaf["tests"], deaf["failures"], deaf["errors"]) == (2, 0, 1)
    assert "raise ITEST_SUITE_TIMEOUT" in ended.output
    assert 'test_deaf.py", line 7 in test_deaf' in (slow.latest / "deaf/failure.txt").read_text()
    stacks = (slow.latest / "deaf/stacks.txt").read_text()
    assert "=== itest\n" in stacks
    assert "=== pytest." in stacks
    assert slow.leftovers() == {"containers": [], "networks": []}


def test_a_migration_that_hangs_ends_with_its_stage_in_a_run_and_in_a_bake(slow):
    slow.write("migrations/shop/V9000__slow.sql", "SELECT pg_sleep(600);\n")
    try:
        ended = slow.run("run", "--suite", "database", timeout=60, ITEST_STAGE_TIMEOUT="6", ITEST_BAKE="0")
        baking = slow.run("run", "--suite", "database", timeout=60, ITEST_STAGE_TIMEOUT="6")
    finally:
        (slow.path / "migrations/shop/V9000__slow.sql").unlink()
    assert ended.code == 6, ended.output
    assert "suite database: stage data took longer than 6 s" in ended.output
    assert "then: its containers were killed, so that what waited for them ended" in ended.output
    assert "migrate.py" in ended.output, "the evidence is the thread that hung"
    assert "Traceback" not in ended.output
    assert baking.code == 4, baking.output
    assert "run: stage images took longer than 6 s" in baking.output
    assert "Traceback" not in baking.output
    assert suite_of(slow, "database")["status"] == "skipped"
    assert slow.leftovers() == {"containers": [], "networks": []}


def test_a_service_that_is_never_ready_ends_with_its_stage(slow):
    slow.suite("never", REDIS.replace("{kind: redis}", "{kind: redis, ready: {log: never}, timeout: 60}"))
    ended = slow.run("run", "--suite", "never", ITEST_STAGE_TIMEOUT="4")
    assert ended.code == 5, ended.output
    never = suite_of(slow, "never")
    assert (never["status"], never["cause"]) == ("timeout", "timeout")
    assert never["message"] == "suite never: stage ready took longer than 4 s"
    assert "raise ITEST_STAGE_TIMEOUT" in ended.output
    assert (slow.latest / "never/logs/redis.log").exists()


def test_a_docker_that_does_not_answer_ends_with_its_stage(slow):
    real = shutil.which("docker")
    slow.write("bin/docker", f'#!/bin/sh\ncase "$*" in *" up "*) sleep 600;; esac\nexec {real} "$@"\n')
    (slow.path / "bin/docker").chmod(0o755)
    path = f"{slow.path}/bin:{os.environ['PATH']}"
    ended = slow.run("run", "--suite", "hangs", timeout=60, ITEST_STAGE_TIMEOUT="4", PATH=path)
    assert ended.code == 5, ended.output
    assert "suite hangs: stage up took longer than 4 s" in ended.output
    assert slow.leftovers() == {"containers": [], "networks": []}


def test_a_run_whose_time_is_up_ends_its_suites_and_starts_no_other(slow):
    for name in ("first", "second"):
        slow.suite(name, REDIS, test="import threading\ndef test_it(stack): threading.Event().wait(60)\n")
    ended = slow.run("run", "--suite", "first,second", ITEST_JOBS="1", ITEST_RUN_TIMEOUT="7")
    assert ended.code == 1, ended.output
    first, second = suite_of(slow, "first"), suite_of(slow, "second")
    test = "tests/first/test_first.py::test_it"
    assert first["message"] == f"run: took longer than 7 s, suite first in stage pytest while {test} ran"
    assert (first["status"], first["category"]) == ("timeout", "test")
    assert (second["status"], second["message"]) == ("skipped", "not started: the time of the run was up")
    assert "run: took longer than 7 s, so that these were not started: second" in ended.output
    assert slow.leftovers() == {"containers": [], "networks": []}
