"""The fixtures that a suite's tests use, and a clean state around each of them.

Every public one may be overridden in a conftest.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from itest import controller
from itest.controller import LAST, NEXT, STACKS
from itest.errors import ItestError
from itest.stack.stack import Stack
from itest.verdict.results import ALSO

if TYPE_CHECKING:
    import redis
    import requests
    from pika.adapters.blocking_connection import BlockingChannel

    from itest.factory import Factory, Kept
    from itest.isolation import Database, Isolation, Resettable
    from itest.isolation.mock import MockStore
    from itest.mocking import Mock
    from itest.suite.suite import Suite

_KEPT: pytest.StashKey[Kept] = pytest.StashKey()  # from one test's factory to the next one's
_MOCKS: pytest.StashKey[list[MockStore]] = pytest.StashKey()  # of a test: those to which its requests come


class StateWarning(pytest.PytestWarning):
    """A test left a transaction open, or changed the schema. Set right; `-W error` turns it into a failure."""


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    _disturb(fixturedef, request)


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    _disturb(fixturedef, request)


def _disturb(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """A fixture of a wider scope than the test may write to a store, and would for the first of its tests only."""
    if fixturedef.scope != "function":
        for _, isolation in request.config.stash[STACKS].open.values():
            isolation.disturbed = True


@pytest.hookimpl(trylast=True)  # when fixtures of the whole session have closed what is theirs
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell of connections that tests have left open, and of what kept them from running side by side."""
    notes: list[str] = []
    for stack, isolation in session.config.stash[STACKS].open.values():
        try:
            notes += isolation.notes()
        except ItestError as error:
            notes.append(f"{stack.name}: whether tests left connections open is not known: {error.message}")
    controller.tell(session.config, notes)


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Stack:
    """The running stack of the suite: endpoints, logs, and kill, pause, stop, start."""
    return _reach(request)[0]


@pytest.fixture(scope="module")
def stores() -> Sequence[Resettable]:
    """Stores of the suite's own making that are clean for every test, beside PostgreSQL, Redis and RabbitMQ."""
    return ()


@pytest.fixture
def db(request: pytest.FixtureRequest, _clean_state: None) -> Database:
    """A psycopg connection to the suite's PostgreSQL, in autocommit: what it writes, the services see at once.

    `db.snapshot()` keeps a state of the database, `db.restore()` returns to it.
    """
    return _reach(request)[1].database()


@pytest.fixture
def left_behind(request: pytest.FixtureRequest) -> Callable[[], dict[str, list[str]]]:
    """`left_behind()`: what differs from the seeded state at this moment, by service: `{"redis": ["key cart:1 …"]}`."""
    return _reach(request)[1].left_behind


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
    """A requests session whose URLs may begin with `/`: the suite's one HTTP service, also when it was started anew."""
    from itest.stack.http import BaseUrlSession

    service = stack.only("http")
    with BaseUrlSession(
        stack.url(service), lambda: f"service {service}: {stack.state(service)}", lambda: stack.url(service)
    ) as session:
        if stack.suite.services[service].baggage:
            session.headers["baggage"] = f"itest.scope={stack.scope}"
        yield session


@pytest.fixture
def mock(request: pytest.FixtureRequest, _mock_state: None) -> Mock:
    """The mock server in the place of third parties: `mock.stub(…)`, `mock.fail(…)`, `mock.received(…).once()`."""
    return _reach(request)[1].mock()


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


@pytest.fixture(autouse=True)
def _clean_state(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of a suite begins at the seeded state, and is blamed for what it leaves and can't be undone."""
    item = request.node
    suite = _suite(request)
    if suite is None:
        yield
        return
    stack, isolation = _reach(request)
    isolation.own = _checked(stack, request.getfixturevalue("stores"))
    marker = item.get_closest_marker("isolation")
    os.environ["PGAPPNAME"] = f"test {item.name}"[:63]  # of connections that the test opens: pg_stat_activity shows it
    with blaming(item):
        _say(item, isolation.begin(marker.args[0] if marker else suite.isolation))
    yield
    with blaming(item):
        _say(item, isolation.end(last=item.stash.get(LAST, True)))  # not told after an interrupt


@pytest.fixture(autouse=True)
def _mock_state(request: pytest.FixtureRequest, _clean_state: None) -> Iterator[None]:
    """What comes to the mock while a test runs is the test's, which fails where no stub answers it."""
    item, mocks = request.node, _reach(request)[1].mocks if _suite(request) else ()
    with ExitStack() as held:
        mine = [one for one in mocks if held.enter_context(one.turn(wanted="mock" in request.fixturenames))]
        item.stash[_MOCKS] = mine
        for one in mine:
            with blaming(item):
                _say(item, one.begin(item.nodeid))
        yield
        for one in mine:
            with blaming(item):
                _say(item, one.end(following=item.stash.get(NEXT, "")))


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of what else watches the test, such as its time
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """What nothing answered fails the test itself; of one that failed by itself it may be the reason."""
    mocks = item.stash.get(_MOCKS, [])
    try:
        yield
    except (Exception, pytest.fail.Exception):
        for one in mocks:
            with suppress(ItestError):  # it is told when the test ends
                seen, unanswered = one.seen()
                item.user_properties += [(ALSO, unanswered)] if unanswered else []
                if seen:
                    item.add_report_section("call", f"stdout of itest, what came to {one.name} in this", seen)
        raise
    for one in mocks:
        with blaming(item):
            one.judge()


@contextmanager
def blaming(item: pytest.Item) -> Iterator[None]:
    """Fail the test for a state that it left, in a category of its own."""
    try:
        yield
    except ItestError as error:
        item.user_properties += [("itest.category", error.category), ("itest.cause", error.cause)]
        raise pytest.fail.Exception(str(error), pytrace=False) from None  # or pytest would show it a second time


def _checked(stack: Stack, stores: Sequence[Resettable]) -> Sequence[Resettable]:
    """The stores of a team's own. Fails the test where one can't be what the fixture says."""
    for store in stores:
        lacks = [name for name in ("name", "reset", "dirt") if not hasattr(store, name)]
        if lacks:
            where = stack.suite.tests / "conftest.py"
            hint = f"tests/README.md shows one; the fixture `stores` is in {where}"
            problem = f"store {type(store).__name__}: it has no {' and no '.join(lacks)}"
            pytest.fail(str(ItestError("usage", problem, hint=hint, cause="stores")), pytrace=False)
    return stores


def _say(item: pytest.Item, notes: Iterable[str]) -> None:
    for note in notes:
        item.warn(StateWarning(note))


def _reach(request: pytest.FixtureRequest) -> tuple[Stack, Isolation]:
    """Stack and isolation of the test's suite. No stack means no tests: the session ends with the error's exit code."""
    suite = _suite(request)
    if suite is None:
        pytest.fail(f"{request.path} belongs to no suite, so there is no stack to test against", pytrace=False)
    try:
        return request.config.stash[STACKS].get(suite)
    except ItestError as error:
        controller.leave(request.config, error)


def _suite(request: pytest.FixtureRequest) -> Suite | None:
    """The suite that the test belongs to. A suite whose files are wrong ends the session: which tests are whose?"""
    try:
        return request.config.stash[STACKS].suite_of(request.path)
    except ItestError as error:
        controller.leave(request.config, error)
