"""Ends the process of a test that goes on after its time was up: one that swallows exceptions, or sits in C code.

pytest-timeout raises once, in the test. Here a thread looks whether that helped. Alone, pytest ends with it; of
pytest-xdist's workers only the one, and the others go on. C code that keeps the interpreter to itself stops this
thread, too: then the suite's deadline ends pytest (see timekeeper.py).
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from itest import tracebacks

GRACE = 10.0  # seconds that a test gets after its limit, with its teardown


class Watchdog(threading.Thread):
    """A thread that calls end(test, limit) once a test takes GRACE seconds longer than its limit; started when needed.

    It sleeps until it has to look, not from test to test, so that it costs a test next to nothing.
    """

    def __init__(self, end: Callable[[str, float], None]) -> None:
        super().__init__(name="itest watchdog", daemon=True)
        self._end, self._changed = end, threading.Condition()
        self._test, self._limit = "", 0.0
        self._due = self._looks = math.inf  # by the monotonic clock

    def watch(self, test: str, limit: float) -> None:
        """From now on look at a test, and at no other. limit: in seconds."""
        self._test, self._limit = test, limit
        self._set(time.monotonic() + limit + GRACE)
        if self.ident is None:
            self.start()

    def release(self) -> None:
        """Look at none."""
        self._set(math.inf)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What happens meanwhile takes none of the test's time."""
        left = self._due - time.monotonic()
        self.release()
        try:
            yield
        finally:
            self._set(time.monotonic() + left)

    def run(self) -> None:
        with self._changed:
            while (left := self._due - time.monotonic()) > 0:
                self._looks = self._due
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
        self._end(self._test, self._limit)

    def _set(self, due: float) -> None:
        with self._changed:
            self._due = due
            if due < self._looks:
                self._changed.notify()


@contextmanager
def held() -> Iterator[None]:
    """Hold this process's watchdog, if there is one."""
    with ExitStack() as stack:
        for thread in threading.enumerate():
            if isinstance(thread, Watchdog):
                stack.enter_context(thread.held())
        yield


@dataclass(eq=False)  # pytest needs a hash of its plugins
class Watched:
    """The plugin that sets the watchdog on tests with a limit. note: for the run, of the tests that had to be ended."""

    config: pytest.Config
    note: Path | None

    def __post_init__(self) -> None:
        self._watchdog, self._counts_fixtures = Watchdog(self._end), True

    # https://github.com/pytest-dev/pytest-timeout#extending-pytest-timeout-with-plugins
    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> None:
        """Beside pytest-timeout's own timer, whose seconds settings has."""
        self._counts_fixtures = not settings.func_only
        if not is_debugging(self.config):
            self._watchdog.watch(item.nodeid, settings.timeout)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self) -> None:
        """Also called when a test has failed, whose teardown may hang all the same: it counts where fixtures do."""
        if not self._counts_fixtures:
            self._watchdog.release()

    def pytest_runtest_logfinish(self) -> None:
        self._watchdog.release()

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Of pytest-xdist, which only knows that the test's worker has crashed."""
        if self.note and self.note.exists():
            told = map(json.loads, self.note.read_text(encoding="utf-8").splitlines())
            report.longrepr = next((one["said"] for one in told if one["test"] == crashitem), report.longrepr)

    def _end(self, test: str, limit: float) -> None:
        if is_debugging(self.config):
            return
        try:
            self._tell(test, limit)
        finally:
            os._exit(pytest.ExitCode.TESTS_FAILED)

    def _tell(self, test: str, limit: float) -> None:
        worker = os.environ.get("PYTEST_XDIST_WORKER")
        threads = tracebacks.of_threads(but=[threading.get_ident()])
        said = f"{test} did not end {GRACE:g} s after its limit of {limit:g} s; {worker or 'pytest'} is ended"
        text = f"\nitest: error: {said}\n"
        if self.note:
            main = tracebacks.telling(tracebacks.of_thread(threading.main_thread().ident or 0))
            told = {"test": test, "limit": limit, "grace": GRACE, "said": said, "frames": main}
            with self.note.open("a", encoding="utf-8") as note:
                note.write(f"{json.dumps(told)}\n")
            name = f"{worker or 'pytest'}.{os.getpid()}"
            tracebacks.keep(self.note.with_name(tracebacks.STACKS), {name: threads})
        else:
            text = f"\n{threads}{text}"
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            os.write(2, text.encode())


def is_debugging(config: pytest.Config) -> bool:
    """Whether a person sits in a debugger: pytest's own, or one that pytest-timeout notices."""
    timeout = config.pluginmanager.get_plugin("timeout")
    asked = config.getoption("usepdb", False) or config.getoption("trace", False)
    return bool(asked or (timeout and timeout.is_debugging()))
