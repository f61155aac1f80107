"""Further connections for tests of what several clients do at once, and databases at any version of the schema."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from itest.data import migrate, template
from itest.data.migrations import Migration, discover
from itest.factory import Factory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make_user(factory: Factory) -> Callable[..., Any]:
    """Make up an account: `make_user(role="admin").email`."""
    return partial(factory.create, "users")


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


@dataclass
class OtherDatabase:
    """A database beside the suite's own: its address, a session in autocommit, and a factory of rows for it."""

    dsn: str
    conn: psycopg.Connection
    factory: Factory

    def migrate(self, migrations: Sequence[Migration]) -> list[Migration]:
        """Apply what is pending of these; returns it."""
        return [applied.migration for applied in migrate.apply(self.dsn, migrations)]


@pytest.fixture
def migrations() -> list[Migration]:
    """All there are of the shop, in order."""
    return discover([Path("migrations/shop")], root=ROOT)


@pytest.fixture
def database_at(
    db: psycopg.Connection, stack: Any, migrations: list[Migration], request: pytest.FixtureRequest
) -> Iterator[Callable[[int], OtherDatabase]]:
    """Make a database at a version of the shop's schema, without rows: `database_at(5).conn`; at 0 it is empty."""
    with ExitStack() as opened:

        def make(version: int) -> OtherDatabase:
            name = template.named(db.info.dbname, f"at_{uuid.uuid4().hex[:8]}")  # other workers share the server
            # A copy of files takes 15 ms where nothing waits for disks; template0 alone is never changed by anybody.
            db.execute(SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(Identifier(name)))
            opened.callback(template.drop, db, name)
            dsn = template.dsn_of(stack.dsn("postgres"), name)
            conn = opened.enter_context(psycopg.connect(dsn, autocommit=True))
            made = OtherDatabase(dsn, conn, Factory(conn, request.node.nodeid))
            if version:
                made.migrate([migration for migration in migrations if migration.version <= version])
            return made

        yield make
