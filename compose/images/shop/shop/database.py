"""The connection pool: every `with pool.connection()` is one transaction, committed at the end of the block."""

from __future__ import annotations

from select import select
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from psycopg import Connection, Cursor, OperationalError
from psycopg.pq import ConnStatus
from psycopg_pool import ConnectionPool

# The server ends what takes longer than any request should.
OPTIONS = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=10s"
CHECK_TIMEOUT = 1.0  # seconds

T = TypeVar("T")


def open_pool(url: str) -> ConnectionPool[Connection]:
    """Open a pool that outlives its database: it starts without one and comes back by itself after an outage."""
    return ConnectionPool(
        url,
        kwargs={"options": OPTIONS, "application_name": "shop", "connect_timeout": 2},
        min_size=1,
        max_size=10,
        open=True,
        check=_check,
        timeout=2.0,  # seconds a request waits for a connection
        reconnect_timeout=0.5,  # then the next request tries afresh, instead of waiting out a growing back-off
    )


def _check(connection: Connection) -> None:
    """One round trip before each use, so that no request meets a connection that died meanwhile.

    psycopg's own check waits for ever on a server that is frozen rather than gone; this one raises OperationalError.
    """
    connection.pgconn.send_query(b"")
    connection.pgconn.flush()
    answered, _, _ = select([connection.pgconn.socket], [], [], CHECK_TIMEOUT)
    if not answered:
        raise OperationalError(f"no answer within {CHECK_TIMEOUT} s")
    while connection.pgconn.get_result():
        pass
    if connection.pgconn.status != ConnStatus.OK:
        raise OperationalError("the connection is lost")


def one(cursor: Cursor[T]) -> T:
    """The row of a statement that always has one, as count(*) or INSERT … RETURNING."""
    row = cursor.fetchone()
    assert row is not None
    return row


def _pool(request: Request) -> ConnectionPool[Connection]:
    pool: ConnectionPool[Connection] = request.app.state.pool
    return pool


Pool = Annotated[ConnectionPool[Connection], Depends(_pool)]
