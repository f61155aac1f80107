"""Further connections and a second database, for tests of what several clients do at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo


@pytest.fixture
def connect(stack: Any) -> Iterator[Callable[..., psycopg.Connection]]:
    """Open another connection, not in autocommit: `connect()`, or `connect(IsolationLevel.SERIALIZABLE)`.

    Each is closed, and what it hasn't committed rolled back, when the test ends.
    """
    with ExitStack() as opened:

        def open_one(isolation: psycopg.IsolationLevel | None = None) -> psycopg.Connection:
            connection = psycopg.connect(stack.dsn("postgres"))
            opened.callback(connection.close)
            connection.isolation_level = isolation
            return connection

        yield open_one


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Run a call in a thread of its own: `background(connection.execute, sql).result()`."""
    with ThreadPoolExecutor(max_workers=16) as threads:
        yield threads.submit


@pytest.fixture
def until_blocked(db: psycopg.Connection, eventually: Callable[..., Any]) -> Callable[[psycopg.Connection], None]:
    """Wait until a connection waits for a lock that another one holds."""

    def wait(connection: psycopg.Connection) -> None:
        pid = connection.info.backend_pid
        eventually(lambda: db.execute("SELECT pg_blocking_pids(%s) <> '{}'", [pid]).fetchone()[0])

    return wait


@pytest.fixture
def empty_database(db: psycopg.Connection, stack: Any) -> Iterator[str]:
    """The DSN of a database with nothing in it, on the same server."""
    name = f"migrations_{os.getpid()}"  # pytest-xdist's workers share the server
    db.execute(f"DROP DATABASE IF EXISTS {name}")
    db.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
    yield make_conninfo(stack.dsn("postgres"), dbname=name)
    db.execute(f"DROP DATABASE {name} WITH (FORCE)")
