"""The connection pool: every `with pool.connection()` is one transaction, committed at the end of the block.

A database may be slow, cut off or frozen, and a connection to it look as open as ever. So the shop waits for nothing
without a limit: not for a connection, nor for an answer. What it says then, see problems.py, is 503 and `Retry-After`.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import psycopg
from fastapi import Depends, Request
from psycopg import Connection, Cursor, OperationalError
from psycopg_pool import ConnectionPool

from shop.settings import Limits

CONNECT_SECONDS = 2  # libpq's least. Nobody waits for it: connections are made in the background

T = TypeVar("T")


class Bounded(Connection[Any]):
    """A connection that is closed when an answer takes too long: what it would bring then is no longer known.

    TCP's own time-outs see a dead network, not a frozen server, and statement_timeout needs a server that is heard.
    """

    answer_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Called by psycopg for every exchange with the server. Raises OperationalError."""
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise OperationalError("no answer in time") from error


def connect(url: str, name: str, limits: Limits) -> Bounded:
    """A connection of one's own. Raises OperationalError, within `CONNECT_SECONDS` and a little."""
    connection = Bounded.connect(url, **_parameters(name, limits))
    _limit(connection, limits)
    return connection


def open_pool(url: str, limits: Limits) -> ConnectionPool[Bounded]:
    """Open a pool that outlives its database: it starts without one and comes back by itself after an outage."""
    wait = limits.database_wait_ms / 1000

    def check(connection: Bounded) -> None:
        """One round trip before each use, so that no request meets a connection that died meanwhile."""
        try:
            connection.answer_seconds = wait / 2
            ConnectionPool.check_connection(connection)
            _limit(connection, limits)
        except OperationalError:
            pool.drain()  # the others fared no better: each would cost a request as much time
            raise

    pool = ConnectionPool(
        url,
        connection_class=Bounded,
        kwargs=_parameters("shop", limits),
        min_size=1,
        max_size=10,
        open=False,
        check=check,
        timeout=wait,
        reconnect_timeout=0.5,  # then the next request tries afresh, instead of waiting out a growing back-off
    )
    pool.open()
    return pool


def _parameters(name: str, limits: Limits) -> dict[str, Any]:
    """What the server is told: it ends what takes too long, and what nobody goes on with."""
    options = {
        "statement_timeout": limits.database_answer_ms,
        "lock_timeout": limits.database_lock_ms,
        # A shop that is cut off in the middle of a transaction can't end it, and others wait for what it has locked.
        "idle_in_transaction_session_timeout": limits.database_idle_ms,
    }
    told = " ".join(f"-c {option}={milliseconds}" for option, milliseconds in options.items())
    return {"options": told, "application_name": name, "connect_timeout": CONNECT_SECONDS}


def _limit(connection: Bounded, limits: Limits) -> None:
    """A little more than the server has, whose own words say more."""
    connection.answer_seconds = limits.database_answer_ms / 1000 * 1.2


def one(cursor: Cursor[T]) -> T:
    """The row of a statement that always has one, as count(*) or INSERT … RETURNING."""
    row = cursor.fetchone()
    assert row is not None
    return row


def _pool(request: Request) -> ConnectionPool[Bounded]:
    pool: ConnectionPool[Bounded] = request.app.state.pool
    return pool


Pool = Annotated[ConnectionPool[Bounded], Depends(_pool)]
