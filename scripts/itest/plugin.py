"""The pytest plugin: the fixtures that a suite's tests use, and a clean state before each of them.

Under `make itest` the tests reach the run's own stack. Called directly (`pytest tests/api -k refund`, an IDE) they
attach to the suite's kept stack, or start one and remove it afterwards. Each pytest-xdist worker has its own stack.
Every public fixture may be overridden in a conftest.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from itest.errors import ItestError, exit_code
from itest.stack.stack import Stack
from itest.suite.suite import Suite

if TYPE_CHECKING:
    import psycopg
    import redis
    import requests

    from itest.isolation.isolation import Cleaner


@dataclass
class _Stacks:
    """The stacks that this pytest process reaches, by suite; those that it started go when it closes."""

    root: Path
    worker: str  # "" without pytest-xdist
    report: Callable[[str], None]
    open: dict[str, tuple[Stack, Cleaner]] = field(default_factory=dict)
    suites: dict[str, Suite] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)  # all that this process started

    def suite_of(self, path: Path) -> Suite | None:
        """The suite whose tests folder holds a file; None for tests that need no stack, such as tests/toolkit."""
        from itest import suite

        if not self.suites and (self.root / suite.SUITES).is_dir():
            self.suites = {name: suite.load(self.root, name) for name in suite.names(self.root)}
        found = [one for one in self.suites.values() if path.is_relative_to(self.root / one.tests)]
        return max(found, key=lambda one: len(one.tests.parts), default=None)

    def get(self, suite: Suite) -> tuple[Stack, Cleaner]:
        """The suite's stack and what cleans it, reached at the first call."""
        from itest.isolation.isolation import Cleaner

        if suite.name not in self.open:
            stack = self._reach(suite)
            self.open[suite.name] = (stack, Cleaner(stack))
        return self.open[suite.name]

    def _reach(self, suite: Suite) -> Stack:
        from itest import settings, stack

        given = json.loads(os.environ.get("ITEST_STACK", "[]"))
        if given and given[0] == suite.name:
            return stack.attach(suite, given[1]) if self.worker in ("", "gw0") else self._start(suite, given[1])
        if not self.worker:
            kept = stack.kept(suite)
            if len(kept) > 1:
                problem = f"suite {suite.name}: several kept stacks to attach to: {', '.join(kept)}"
                hint = f"remove all but one: make down SUITE={kept[0]}"
                raise ItestError("usage", problem, hint=hint, cause="attach")
            if kept:
                self.report(f"itest: attached to {kept[0]}, which stays")
                attached = stack.attach(suite, kept[0])
                # A service may have died since it was left, or lost its data; plain compose starts without any.
                stack.settle(attached, factor=settings.read().timeout_factor)
                return attached
        return self._start(suite, f"itest-{suite.name}-{os.getpid()}")

    def _start(self, suite: Suite, name: str) -> Stack:
        from itest import compose, images, runs, stack
        from itest import suite as suites
        from itest.machine import engine
        from itest.stack.sweep import sweep

        compose.scrub_environment()
        engine.ensure(self.report)
        if "ITEST_LEASE" not in os.environ:  # else a run is the owner, and we are one of its pytest-xdist workers
            os.environ["ITEST_LEASE"] = f"run {name}"
            self.closing.enter_context(runs.alive(self.root, name))
            sweep(self.root, self.report)
        suites.check(suite)
        os.environ.update(images.pin(suite.config, suite.texts))
        images.ensure(images.needs_of(suite.config), self.report)
        own = Stack(suite, suite.project(f"{name}-{self.worker}" if self.worker else name))
        self.closing.callback(own.down)
        self.report(f"itest: starting {own.name}")
        stack.start(own)
        self.report(f"itest: {own.name} is ready after {sum(own.timings.values()):.1f} s")
        return own

    def said(self, path: Path, since: float) -> dict[str, str]:
        """What the services of a test's stack printed since then; nothing for a test that has reached no stack."""
        from itest.stack.said import said

        suite = self.suite_of(path)
        if suite is None or suite.name not in self.open:
            return {}
        try:
            return said(self.open[suite.name][0], since)
        except ItestError as error:
            return {"docker": str(error)}

    def close(self) -> None:
        """Close connections and remove what this process started."""
        for _, cleaner in self.open.values():
            cleaner.close()
        self.closing.close()


@dataclass
class _Running:
    """Keeps a file with the tests that run at this moment, one a line: whoever ends pytest can then name them."""

    file: Path
    nodes: list[str] = field(default_factory=list)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.nodes.append(nodeid)
        self._write()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.nodes.remove(nodeid)
        self._write()

    def _write(self) -> None:
        self.file.write_text("\n".join(self.nodes), encoding="utf-8")


_STACKS = pytest.StashKey[_Stacks]()
_BEGAN = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    config.stash[_STACKS] = _Stacks(config.rootpath, worker, _reporter(config))
    running = os.environ.get("ITEST_RUNNING")
    if running and not worker:  # pytest-xdist tells its controller which tests run
        config.pluginmanager.register(_Running(Path(running)), "itest-running")


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Not at unconfigure: pytest-xdist waits for a worker until this is done, and may kill it afterwards.
    session.config.stash[_STACKS].close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add to a failed test what the services said meanwhile, so that its cause is seen where the failure is."""
    if call.when == "setup":
        item.stash[_BEGAN] = call.start
    if call.excinfo is None or call.when == "teardown" or isinstance(call.excinfo.value, pytest.skip.Exception):
        return
    for service, text in item.config.stash[_STACKS].said(item.path, item.stash[_BEGAN]).items():
        # pytest shows it as "Captured stdout of …", and its JUnit takes what begins so for the test's own output.
        item.add_report_section("test", f"stdout of service {service}, log during this", text)


def _reporter(config: pytest.Config) -> Callable[[str], None]:
    def report(text: str) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if terminal and capture:
            with capture.global_and_fixture_disabled():
                terminal.ensure_newline()
                terminal.write_line(text)

    return report


def _reach(request: pytest.FixtureRequest) -> tuple[Stack, Cleaner]:
    """Stack and cleaner of the test's suite. No stack means no tests: the session ends with the error's exit code."""
    stacks = request.config.stash[_STACKS]
    try:
        suite = stacks.suite_of(request.path)
        if suite is None:
            pytest.fail(f"{request.path} belongs to no suite, so there is no stack to test against", pytrace=False)
        return stacks.get(suite)
    except ItestError as error:
        pytest.exit(str(error), returncode=exit_code(error.category))


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Stack:
    """The running stack of the suite: endpoints, logs, and kill, pause, stop, start."""
    return _reach(request)[0]


@pytest.fixture(autouse=True)
def _clean_state(request: pytest.FixtureRequest) -> None:
    """Every test of a suite begins at the seeded state, whatever the one before it did."""
    if request.config.stash[_STACKS].suite_of(request.path) is None:
        return
    _, cleaner = _reach(request)
    try:
        cleaner.reset()
    except ItestError as error:
        request.node.user_properties += [("itest.category", error.category), ("itest.cause", error.cause)]
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def db(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the suite's PostgreSQL, in autocommit: what it writes, the services see at once."""
    with _reach(request)[1].connection() as connection:
        yield connection


@pytest.fixture
def redis_client(request: pytest.FixtureRequest) -> redis.Redis:
    """A client of the suite's Redis; replies are str."""
    return _reach(request)[1].redis_client()


@pytest.fixture
def http(stack: Stack) -> Iterator[requests.Session]:
    """A requests session whose URLs may begin with `/`: the suite's one HTTP service."""
    from itest.stack.http import BaseUrlSession

    service = stack.only("http")
    with BaseUrlSession(stack.url(service), lambda: f"service {service}: {stack.state(service)}") as session:
        yield session


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """`eventually(check, timeout=5.0)`: call check until it returns something true, or fail with its last words."""
    from itest.stack.eventually import eventually

    return eventually
