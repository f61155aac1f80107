"""The connection pool: every `with pool.connection()` is one transaction, committed at the end of the block."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, Request
from psycopg import Connection, Cursor
from psycopg_pool import ConnectionPool

# The server ends what takes longer than any request should.
OPTIONS = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=10s"

T = TypeVar("T")


def open_pool(url: str) -> ConnectionPool[Connection]:
    """Open a pool that outlives its database: it starts without one and comes back by itself after an outage."""
    return ConnectionPool(
        url,
        kwargs={"options": OPTIONS, "application_name": "shop"},
        min_size=1,
        max_size=10,
        open=True,
        check=ConnectionPool.check_connection,  # one round trip, so that no request meets a connection that died
        timeout=2.0,  # seconds a request waits for a connection
        reconnect_timeout=0.5,  # then the next request tries afresh, instead of waiting out a growing back-off
    )


def one(cursor: Cursor[T]) -> T:
    """The row of a statement that always has one, as count(*) or INSERT … RETURNING."""
    row = cursor.fetchone()
    assert row is not None
    return row


def _pool(request: Request) -> ConnectionPool[Connection]:
    pool: ConnectionPool[Connection] = request.app.state.pool
    return pool


Pool = Annotated[ConnectionPool[Connection], Depends(_pool)]
