"""What takes too long is ended: a test, a stage, a suite, a run. It says what it was, where, and how to wait longer."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

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
    shared_checkout.suite("hangs", REDIS, test=HANGS)
    return shared_checkout


def cases(checkout, suite: str) -> dict[str, ElementTree.Element]:
    report = ElementTree.parse(checkout.latest / suite / "junit.xml")
    return {case.get("name", ""): case for case in report.iter("testcase")}


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
    assert "more time: @pytest.mark.timeout" in ended.output


def test_every_test_has_a_limit_that_a_mark_and_a_debugger_lift(slow):
    slow.write("tests/hangs/test_default.py", "import threading\ndef test_it(): threading.Event().wait(1.5)\n")


# deaf: in C code, where neither SIGALRM nor Ctrl-C is heard. https://docs.python.org is silent on a way out but SIGKILL.
DEAF = """
import ctypes, signal
def test_deaf(stack):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    ctypes.PyDLL(None).sleep(60)
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
    assert "raise ITEST_SUITE_TIMEOUT" in ended.output
    assert "test_deaf.py\", line 5 in test_deaf" in (slow.latest / "deaf/failure.txt").read_text()
    stacks = (slow.latest / "deaf/stacks.txt").read_text()
    assert "=== itest\n" in stacks
    assert "=== pytest." in stacks
    assert slow.leftovers() == {"containers": [], "networks": []}
