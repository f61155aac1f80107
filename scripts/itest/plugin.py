"""The pytest plugin: the fixtures that a suite's tests use, and a clean state around each of them.

Under `make itest` the tests reach the run's own stack. Called directly (`pytest tests/api -k refund`, an IDE) they
attach to the suite's kept stack, or start one and remove it afterwards. pytest-xdist's workers share one.
Every public fixture may be overridden in a conftest.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from itest import controller
from itest.controller import Controller
from itest.errors import ItestError
from itest.reach import Stacks
from itest.stack.stack import Stack
from itest.suite.schema import ISOLATIONS, nearest

if TYPE_CHECKING:
    import redis
    import requests
    from pika.adapters.blocking_connection import BlockingChannel

    from itest.factory import Factory, Kept
    from itest.isolation import Database, Isolation, Resettable
    from itest.suite.suite import Suite


class StateWarning(pytest.PytestWarning):
    """A test left a transaction open, or changed the schema. Set right; `-W error` turns it into a failure."""


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


_STACKS = pytest.StashKey[Stacks]()
_BEGAN = pytest.StashKey[float]()
_LAST = pytest.StashKey[bool]()  # of this worker
_KEPT: pytest.StashKey[Kept] = pytest.StashKey()  # from one test's factory to the next one's


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "leave a copy of the database of each failed test, and the stack; KEEP=1 with make does"
    parser.getgroup("itest").addoption("--keep-db", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    strategies = ", ".join(ISOLATIONS)
    config.addinivalue_line("markers", f"isolation(strategy): another strategy than the suite's: {strategies}")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    config.stash[_STACKS] = stacks = controller.stacks(config, _reporter(config))
    if not worker:
        config.pluginmanager.register(Controller(stacks), "itest-controller")
    running = os.environ.get("ITEST_RUNNING")
    if running and not worker:  # pytest-xdist tells its controller which tests run
        config.pluginmanager.register(_Running(Path(running)), "itest-running")


@pytest.hookimpl(trylast=True)  # of a controller, when its workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    # Not at unconfigure: pytest-xdist waits for a worker until this is done, and may kill it afterwards.
    session.config.stash[_STACKS].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a strategy that there isn't before the first test runs."""
    for item in items:
        for marker in item.iter_markers("isolation"):
            if len(marker.args) != 1 or marker.args[0] not in ISOLATIONS:
                given = ", ".join(map(str, marker.args)) or "nothing"
                problem = f"{item.nodeid}: isolation({given}): no such strategy; {nearest(given, ISOLATIONS)}"
                raise pytest.UsageError(problem)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    item.stash[_LAST] = nextitem is None


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
    if call.when == "call" and (item.config.getoption("keep_db") or os.environ.get("ITEST_KEEP")):
        for told in item.config.stash[_STACKS].keep(item.path, item.name):
            item.add_report_section("test", "stdout of the database, kept as this test left it", f"{told}\n")


def _reporter(config: pytest.Config) -> Callable[[str], None]:
    def report(text: str) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if terminal and capture:
            with capture.global_and_fixture_disabled():
                terminal.ensure_newline()
                terminal.write_line(text)

    return report


def _reach(request: pytest.FixtureRequest) -> tuple[Stack, Isolation]:
    """Stack and isolation of the test's suite. No stack means no tests: the session ends with the error's exit code."""
    suite = _suite(request)
    if suite is None:
        pytest.fail(f"{request.path} belongs to no suite, so there is no stack to test against", pytrace=False)
    try:
        return request.config.stash[_STACKS].get(suite)
    except ItestError as error:
        controller.leave(request.config, error)


def _suite(request: pytest.FixtureRequest) -> Suite | None:
    """The suite that the test belongs to. A suite whose files are wrong ends the session: which tests are whose?"""
    try:
        return request.config.stash[_STACKS].suite_of(request.path)
    except ItestError as error:
        controller.leave(request.config, error)


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Stack:
    """The running stack of the suite: endpoints, logs, and kill, pause, stop, start."""
    return _reach(request)[0]


@pytest.fixture(scope="module")
def stores() -> Sequence[Resettable]:
    """Stores of the suite's own making that are clean for every test, beside PostgreSQL, Redis and RabbitMQ."""
    return ()


@pytest.fixture(autouse=True)
def _clean_state(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of a suite begins at the seeded state, and is blamed for what it leaves and can't be undone."""
    item = request.node
    suite = _suite(request)
    if suite is None:
        yield
        return
    _, isolation = _reach(request)
    isolation.own = request.getfixturevalue("stores")
    marker = item.get_closest_marker("isolation")
    os.environ["PGAPPNAME"] = f"test {item.name}"[:63]  # of connections that the test opens: pg_stat_activity shows it
    with _blaming(item):
        _say(item, isolation.begin(marker.args[0] if marker else suite.isolation))
    yield
    with _blaming(item):
        _say(item, isolation.end(last=item.stash[_LAST]))


@contextmanager
def _blaming(item: pytest.Item) -> Iterator[None]:
    """Fail the test for a state that it left, in a category of its own."""
    try:
        yield
    except ItestError as error:
        item.user_properties += [("itest.category", error.category), ("itest.cause", error.cause)]
        pytest.fail(str(error), pytrace=False)


def _say(item: pytest.Item, notes: Iterable[str]) -> None:
    for note in notes:
        item.warn(StateWarning(note))


@pytest.fixture
def db(request: pytest.FixtureRequest, _clean_state: None) -> Database:
    """A psycopg connection to the suite's PostgreSQL, in autocommit: what it writes, the services see at once.

    `db.snapshot()` keeps a state of the database, `db.restore()` returns to it.
    """
    return _reach(request)[1].database()


@pytest.fixture
def left_behind(request: pytest.FixtureRequest) -> Callable[[], dict[str, list[str]]]:
    """`left_behind()`: what differs from the seeded state at this moment, by service: `{"redis": ["key cart:1 …"]}`."""
    return _reach(request)[1].dirt


@pytest.fixture
def redis_client(request: pytest.FixtureRequest) -> redis.Redis:
    """A client of the suite's Redis; replies are str."""
    return _reach(request)[1].redis_client()


@pytest.fixture
def amqp(stack: Stack, _clean_state: None) -> Iterator[BlockingChannel]:
    """A channel to the suite's RabbitMQ, with publisher confirms: a publish returns when the broker has the message.

    Its connection is closed afterwards, so that what the test took and did not acknowledge is back for the reset.
    """
    from itest.stack.amqp import confirming

    with confirming(stack.dsn(stack.only("rabbitmq")), "test") as channel:
        yield channel


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


@pytest.fixture
def factory(request: pytest.FixtureRequest, db: Database) -> Factory:
    """Rows made up on the fly, the same for the same test everywhere: `factory.create("orders", status="paid").id`."""
    from itest.factory import Factory, Kept

    return Factory(db, request.node.nodeid, request.config.stash.setdefault(_KEPT, Kept()))
