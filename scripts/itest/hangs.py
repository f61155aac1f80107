"""A test that hangs fails after its time, with the tracebacks of all threads in its report, and the others go on.

pytest-timeout ends it; here are its default (ITEST_TEST_TIMEOUT), and what its failure says beside where the test was.
watchdog.py ends what goes on all the same.
Processes of a run also tell where they are when the runner asks, for what no test can be ended by.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from itest import settings, tracebacks, watchdog
from itest.errors import ItestError
from itest.watchdog import Watchdog, Watched

CAUSE = "timeout"
SAYS = "Timeout (>"  # how pytest-timeout's message begins
HINT = "more time: @pytest.mark.timeout(seconds) on the test, or ITEST_TEST_TIMEOUT=seconds for all"


@pytest.hookimpl(tryfirst=True)  # before pytest-timeout looks
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "timeout", 0) is None and not _is_given(config):
        config.option.timeout = _default(config)
    note = os.environ.get("ITEST_HUNG")
    config.pluginmanager.register(Watched(config, Path(note) if note else None), "itest-watched")
    if folder := os.environ.get("ITEST_TRACEBACKS"):
        tracebacks.answer(Path(folder), os.environ.get("PYTEST_XDIST_WORKER", "pytest"))


def _is_given(config: pytest.Config) -> bool:
    """Whether somebody has said it in pytest's own words, and not in ours."""
    return not os.environ.get("ITEST_TEST_TIMEOUT") and bool(
        os.environ.get("PYTEST_TIMEOUT") or config.getini("timeout")
    )


def _default(config: pytest.Config) -> float:
    """Seconds for a test without a mark; 0, which is any, where a person sits in a debugger."""
    try:
        given = settings.read()
    except ItestError as error:
        raise pytest.UsageError(str(error)) from error
    return 0.0 if watchdog.is_debugging(config) else given.test_timeout * given.timeout_factor


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Mark a test that was ended for its time, so that the verdict knows it, and add what its traceback doesn't say."""
    ended = call.excinfo and call.excinfo.value
    if not isinstance(ended, pytest.fail.Exception) or not (ended.msg or "").startswith(SAYS):
        return
    item.user_properties.append(("itest.cause", CAUSE))
    ours = [thread.ident for thread in threading.enumerate() if isinstance(thread, Watchdog) and thread.ident]
    others = tracebacks.of_threads(but=[threading.get_ident(), *ours])
    # pytest's JUnit takes what begins so for the test's own output.
    item.add_report_section(call.when, "stdout of itest, the other threads when time was up in", f"{others}\n{HINT}\n")


@contextmanager
def not_counted() -> Iterator[None]:
    """What is done here takes none of the test's time: a stack that it happens to be the first to need."""
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        with watchdog.held():
            yield
    finally:
        if left:
            signal.setitimer(signal.ITIMER_REAL, left)
