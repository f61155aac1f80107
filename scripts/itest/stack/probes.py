"""One try of one probe, from outside over the published port as a test would. Says what it saw when it isn't ready.

A probe returns None when the service answers as it should, raises NotReady to be tried again, and Refused when trying
again can't help (wrong credentials).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from itest.compose import Project
from itest.containers import Container, inspect, logs
from itest.suite.kinds import KINDS, Endpoint
from itest.suite.schema import Check
from itest.suite.suite import Service

TRY_TIMEOUT = 2.0  # seconds that one try may take


class NotReady(Exception):
    """Not yet; the text says what was seen. hint: what to do if that is all that is ever seen."""

    def __init__(self, seen: str, hint: str = "") -> None:
        super().__init__(seen)
        self.hint = hint


class Refused(Exception):
    """Never: the service is there and turned us away."""


class Unpublished(Refused):
    """Never: there is no port to knock at."""


@dataclass(frozen=True)
class Target:
    """A started service as the probes see it."""

    service: Service
    container: Container
    project: Project

    def endpoint(self, port: int | None = None) -> Endpoint:
        """Where a container port is published. Raises Unpublished when it isn't."""
        wanted = port or self.service.port
        if wanted is None or wanted not in self.container.ports:
            if not self.container.running:  # it publishes nothing then, whatever its layer says
                raise Unpublished("none: the container was not running")
            published = ", ".join(map(str, self.container.ports)) or "none"
            raise Unpublished(
                f"port {wanted} is not published (published: {published}); add 127.0.0.1::{wanted} to its ports"
            )
        return Endpoint(*self.container.ports[wanted])

    @property
    def admin(self) -> str:
        """The URL of its admin port. Raises Unpublished."""
        return "http://{}:{}".format(*self.endpoint(KINDS[self.service.kind].admin))

    @property
    def address(self) -> str:
        return KINDS[self.service.kind].address(self.endpoint(), self.container.environment, "")


def checks_of(service: Service, container: Container) -> tuple[Check, ...]:
    """The probes of a service: its kind's, replaced by its own of the same sort, and its own.

    A service without any is ready when its healthcheck says so, or, without one, when it runs; a one-shot when it has
    ended well.
    """
    if service.ends:
        return (Check("ended", 0),)
    own = service.checks
    by_kind = {
        "postgres": (Check("sql", "SELECT 1"),),
        "redis": (Check("redis", "ping"),),
        "rabbitmq": (Check("amqp", "open"),),
        "mock": (Check("http", "/health"),),
        "http": () if any(check.what == "http" for check in own) else (Check("tcp", service.port),),
        "tcp": (Check("tcp", service.port),),
    }.get(service.kind, ())
    usual = tuple(check for check in by_kind if check.what not in {mine.what for mine in own})
    if not usual and not own and container.health:
        return (Check("health", "healthy"),)
    return (*usual, *own)


def probe(target: Target, check: Check) -> None:
    """Try once. Raises NotReady or Refused."""
    PROBES[check.what](target, check)


def _sql(target: Target, check: Check) -> None:
    import psycopg

    try:
        with psycopg.connect(target.address, connect_timeout=2, application_name="itest probe") as connection:
            row = connection.execute(check.value).fetchone()
    except psycopg.OperationalError as error:
        words = _one_line(error)
        # 28P01 and 28000 carry no sqlstate when the connection itself fails, so the server's words decide.
        if "authentication failed" in words or "no pg_hba.conf entry" in words:
            raise Refused(words) from error
        raise NotReady(words) from error
    except psycopg.Error as error:
        raise NotReady(_one_line(error)) from error
    if row is None or not row[0]:
        raise NotReady(f"{check.value} returned {'no row' if row is None else row[0]}")


def _redis(target: Target, _check: Check) -> None:
    import redis

    client = redis.Redis.from_url(target.address, socket_timeout=TRY_TIMEOUT, socket_connect_timeout=TRY_TIMEOUT)
    try:
        client.ping()  # while the data set loads, Redis answers LOADING, which is a BusyLoadingError
    except redis.AuthenticationError as error:
        raise Refused(_one_line(error)) from error
    except redis.RedisError as error:
        raise NotReady(_one_line(error)) from error
    finally:
        client.close()


def _amqp(target: Target, _check: Check) -> None:
    from pika import exceptions
    from pika.adapters.utils.connection_workflow import AMQPConnectorException

    from itest.stack import amqp

    try:
        amqp.connect(target.address, "itest probe", TRY_TIMEOUT).close()
    except (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError) as error:
        raise Refused(amqp.words(error)) from error  # wrong credentials, or no such virtual host
    except (exceptions.AMQPError, AMQPConnectorException) as error:
        raise NotReady(amqp.words(error)) from error


def _http(target: Target, check: Check) -> None:
    import requests

    base = target.admin if target.service.kind == "mock" else "http://{}:{}".format(*target.endpoint())
    url = f"{base}{check.value}"
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment must not come between us and loopback
            answer = session.get(url, timeout=TRY_TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        raise NotReady(f"GET {check.value}: {innermost(error)}") from error
    if answer.status_code != check.status:
        hint = (
            f"no such path: check `ready` in the x-itest of {target.service.name}" if answer.status_code == 404 else ""
        )
        raise NotReady(f"GET {check.value}: {answer.status_code}, not {check.status}: {_start(answer.text)}", hint)
    if check.expected:
        _compare(check, answer.text)


def _compare(check: Check, body: str) -> None:
    import json

    try:
        given = json.loads(body)
    except ValueError as error:
        raise NotReady(f"GET {check.value}: not JSON: {_start(body)}") from error
    if not isinstance(given, Mapping):
        raise NotReady(f"GET {check.value}: not a JSON object: {_start(body)}")
    different = {name: given.get(name) for name, value in check.expected.items() if given.get(name) != value}
    if different:
        raise NotReady(f"GET {check.value}: {different}, not {dict(check.expected)}")


def _tcp(target: Target, check: Check) -> None:
    # Docker's port proxy accepts before the service listens and hangs up at once, so an open connection is looked at.
    try:
        with socket.create_connection(target.endpoint(check.value), timeout=TRY_TIMEOUT) as connection:
            connection.settimeout(0.05)
            if connection.recv(1) == b"":
                raise NotReady(f"port {check.value}: accepted and closed at once")
    except TimeoutError:
        return  # open and silent: a protocol in which the client speaks first
    except OSError as error:
        raise NotReady(f"port {check.value}: {error.strerror or error}") from error


def _exec(target: Target, check: Check) -> None:
    from python_on_whales.exceptions import DockerException

    try:
        target.project.execute(target.service.name, check.value)
    except DockerException as error:
        said = (error.stderr or error.stdout or "").strip()
        raise NotReady(f"{check}: exit {error.return_code}: {said[-300:]}") from error


def _log(target: Target, check: Check) -> None:
    if not re.search(check.value, logs(target.container), re.MULTILINE):
        raise NotReady(f"no line of the log matches /{check.value}/ yet")


def _health(target: Target, _check: Check) -> None:
    container = next(iter(inspect([target.container.id])), target.container)
    if container.health != "healthy":
        last = container.health_log[-1] if container.health_log else "no health check has run yet"
        raise NotReady(f"{container.health or 'it has no healthcheck'}: {last}")


def _ended(target: Target, _check: Check) -> None:
    container = next(iter(inspect([target.container.id])), target.container)
    if not container.succeeded:
        raise NotReady(f"it is {container.summary}")


PROBES: Mapping[str, Callable[[Target, Check], None]] = {
    "sql": _sql,
    "redis": _redis,
    "amqp": _amqp,
    "http": _http,
    "tcp": _tcp,
    "exec": _exec,
    "log": _log,
    "health": _health,
    "ended": _ended,
}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).partition(" Is the server running on that host")[0]  # libpq's advice


def _start(body: str) -> str:
    """The beginning of an answer, on one line."""
    return " ".join(body[:1000].split())[:300]


def innermost(error: Any) -> str:
    """The innermost reason of a requests error, which wraps urllib3's, which wraps the socket's."""
    reason: Any = error
    while (
        inner := reason.args[0] if reason.args and isinstance(reason.args[0], Exception) else reason.__cause__
    ) is not None:
        reason = getattr(inner, "reason", inner)
    return _one_line(reason)
