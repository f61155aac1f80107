"""The connection that a test gets: handed on from test to test, to each in the state of a new one."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from itest.data import baseline
from itest.errors import ItestError

SNAPSHOT = "itest_snapshot_"  # schema, or savepoint, of a snapshot


class Database(psycopg.Connection[Any]):
    """A psycopg connection in autocommit that can also keep a state of the database and return to it."""

    def __init__(self, pgconn: pq.abc.PGconn, *arguments: Any, **options: Any) -> None:
        super().__init__(pgconn, *arguments, **options)
        self.held = False  # inside the transaction that isolation `rollback` takes back
        self.in_schema = False  # of the test's own, which no baseline covers
        self.schemas: set[str] = set()  # of its snapshots, for whoever ends the loan to drop
        self._snapshots: list[str] = []

    def snapshot(self) -> str:
        """Keep the state of the database as it is now. Returns the snapshot's name, for `restore`.

        It costs about as much as copying all rows. Under isolation `rollback` it is a savepoint.
        """
        if self.in_schema:
            problem = "db.snapshot: a schema of the test's own can't be kept"
            raise ItestError("usage", problem, hint='@pytest.mark.isolation("clone")', cause="snapshot")
        name = f"{SNAPSHOT}{len(self._snapshots) + 1}"
        if self.held:
            self.execute(SQL("SAVEPOINT {}").format(Identifier(name)))
        else:
            self.schemas.add(name)
            baseline.prepare(self, name)
        self._snapshots.append(name)
        return name

    def restore(self, snapshot: str = "") -> None:
        """Return to a snapshot, the newest one unless another is named: rows and sequences, whoever changed them.

        Raises ItestError: usage when there is no such snapshot, data as the reset between tests does.
        """
        name = snapshot or (self._snapshots[-1] if self._snapshots else "")
        if name not in self._snapshots:
            known = f"there are: {', '.join(self._snapshots)}" if self._snapshots else "name = db.snapshot() takes one"
            hint = f"{known}; db.restore() returns to the newest" if name else known
            raise ItestError("usage", f"db.restore: no snapshot {name or 'to return to'}", hint=hint, cause="snapshot")
        if self.held:
            self.execute(SQL("ROLLBACK TO SAVEPOINT {}").format(Identifier(name)))
            del self._snapshots[self._snapshots.index(name) + 1 :]  # PostgreSQL forgets the later savepoints
        else:
            baseline.reset(self, name)

    def commit(self) -> None:
        """As in psycopg; refused under isolation `rollback`."""
        self._refuse("commit")
        super().commit()

    def rollback(self) -> None:
        """As in psycopg; refused under isolation `rollback`."""
        self._refuse("rollback")
        super().rollback()

    def _refuse(self, verb: str) -> None:
        if self.held:
            raise psycopg.ProgrammingError(
                f"db.{verb}() under isolation `rollback` would end the transaction that the test is undone by; "
                f"use `with db.transaction():`, a savepoint, or @pytest.mark.isolation('delete')"
            )


class Lender:
    """One session that goes from test to test: a new one costs 4 ms, most of it the password's hash."""

    def __init__(self, application: str) -> None:
        self._application = application
        self._lent: Database | None = None
        self._session: pq.abc.PGconn | None = None
        self._dsn = ""
        self._schemas: set[str] = set()  # of snapshots that are still there

    def lend(self, dsn: str) -> Database:
        """A connection that looks new. The one that was lent before is closed for whoever still holds it."""
        self.take_back()
        if self._session is None or self._dsn != dsn:
            self.close()
            opened = connect(dsn, self._application)
            self._session, self._dsn = opened.pgconn, dsn
            opened.pgconn = _closed()  # psycopg warns of one that is forgotten while open
            self._drop_snapshots()
        self._lent = Database(self._session)
        self._lent.autocommit = True
        return self._lent

    def take_back(self) -> None:
        """End the loan: a transaction that is still open is rolled back, all that belongs to a session is discarded."""
        lent, self._lent = self._lent, None
        if lent is None or self._session is None:
            return
        lent.pgconn = _closed()
        self._schemas |= lent.schemas
        if _renew(self._session):
            self._drop_snapshots()
        else:
            self._session = None

    def _drop_snapshots(self) -> None:
        while self._session and self._schemas:
            self._session.exec_(f"DROP SCHEMA IF EXISTS {self._schemas.pop()} CASCADE".encode())

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.finish()
        self._session = self._lent = None


def connect(dsn: str, application: str) -> Database:
    """A new session for a test, in autocommit."""
    return Database.connect(dsn, autocommit=True, application_name=application)


def _renew(session: pq.abc.PGconn) -> bool:
    """Whether a session is like new again. https://www.postgresql.org/docs/current/sql-discard.html"""
    if session.status != pq.ConnStatus.OK or session.pipeline_status != pq.PipelineStatus.OFF:
        session.finish()
        return False
    statements = [b"DISCARD ALL"]
    if session.transaction_status != TransactionStatus.IDLE:
        statements.insert(0, b"ROLLBACK")  # DISCARD ALL can't run inside a transaction, nor beside another statement
    for statement in statements:
        if session.transaction_status == TransactionStatus.ACTIVE:
            break  # a COPY or a query that the test left half-way
        session.exec_(statement)
    if session.transaction_status == TransactionStatus.IDLE:
        return True
    session.finish()
    return False


def _closed() -> pq.abc.PGconn:
    """A connection that is closed already, as psycopg understands it."""
    closed = pq.PGconn.connect_start(b"host=/nowhere")
    closed.finish()
    return closed
