"""How a test's own work on PostgreSQL is set apart: `delete`, `truncate`, `rollback`, `schema`, `clone`.

Whatever the strategy, but for `none`, the database is brought back to its baseline after the test. Those that promise
to leave it alone are held to that: rows that were changed all the same fail the test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from itest.data import fixtures, sql
from itest.data.baseline import Outcome
from itest.errors import ItestError
from itest.isolation import copies
from itest.isolation.database import Database, Lender, connect

if TYPE_CHECKING:
    from itest.data.clones import Clone
    from itest.isolation.postgres import PostgresStore


class Strategy:
    """`delete` and `truncate`: the test works on the database itself, as the services do."""

    cleans = True  # whether the database goes back to its baseline afterwards

    def __init__(self, store: PostgresStore) -> None:
        self.store = store

    def begin(self) -> None:
        """Before the test; the database is at its baseline."""

    def connection(self) -> Database:
        """The test's connection."""
        return self.store.tests.lend(self.store.dsn)

    def keep(self, label: str) -> str:
        """Copy what the failed test sees to a database of its own, and return that one's name."""
        return copies.copy(self.store.stack, self.store.name, label)

    def end(self) -> None:
        """After the test, before the database goes back to its baseline."""

    def judge(self, outcome: Outcome) -> None:
        """Raises ItestError (data) where the strategy doesn't allow what had to be restored."""


class Nothing(Strategy):
    """`none`: what a test leaves stays."""

    cleans = False


class _Apart(Strategy):
    """The test works elsewhere, and the database itself is left alone."""

    name = ""

    def judge(self, outcome: Outcome) -> None:
        rows = [change for change in outcome.changed if not change.startswith("sequence ")]
        if rows:
            problem = f"isolation {self.name}: somebody wrote to the database itself: {', '.join(rows)}"
            hint = 'where a service writes, use @pytest.mark.isolation("delete")'
            raise ItestError("data", problem, hint=hint, cause="contamination")


class Rollback(_Apart):
    """The test's connection is inside a transaction that is taken back."""

    name = "rollback"
    db: Database | None = None
    block: AbstractContextManager[object]

    def connection(self) -> Database:
        if self.db is None:
            self.db = super().connection()
            self.block = self.db.transaction(force_rollback=True)
            self.block.__enter__()
            self.db.held = True
        return self.db

    def keep(self, label: str) -> str:
        return ""  # what was never committed can't be looked at from outside

    def end(self) -> None:
        """Deferred constraints are checked first: a commit would have checked them."""
        if self.db is None:
            return
        status = self.db.info.transaction_status
        try:
            if status == TransactionStatus.INTRANS:
                self.db.execute("SET CONSTRAINTS ALL IMMEDIATE")
        finally:
            with suppress(psycopg.Error):  # there is no transaction left, or no connection
                self.block.__exit__(None, None, None)
        if status == TransactionStatus.IDLE:
            problem = "isolation rollback: the test ended its transaction, so what it wrote was committed"
            hint = 'use `with db.transaction():`, a savepoint, or @pytest.mark.isolation("delete")'
            raise ItestError("data", problem, hint=hint, cause="contamination")


class Schema(_Apart):
    """The test has a schema of its own, migrated and seeded, first in its search_path."""

    name = "schema"

    def __init__(self, store: PostgresStore) -> None:
        super().__init__(store)
        self.schema = f"itest_schema_{os.getpid()}"
        self.dsn = make_conninfo(store.dsn, options=f"-csearch_path={self.schema},public")
        self.lender = Lender("itest db")

    def begin(self) -> None:
        plan, name = self.store.plan, self.store.name
        with connect(self.dsn, "itest schema") as conn:
            conn.execute(SQL("DROP SCHEMA IF EXISTS {0} CASCADE").format(Identifier(self.schema)))
            conn.execute(SQL("CREATE SCHEMA {0}").format(Identifier(self.schema)))
            for migration in plan.migrations:
                if migration.transactional:
                    with conn.transaction():
                        sql.run(conn, migration.file)
                else:
                    sql.run_each(conn, migration.file)
        fixtures.load([one for one in plan.fixtures if one.service == name], {name: self.dsn})

    def connection(self) -> Database:
        db = self.lender.lend(self.dsn)
        db.in_schema = True
        return db

    def keep(self, label: str) -> str:
        name = super().keep(label)
        with connect(self.store.dsn, "itest keep") as conn:
            path = SQL("ALTER DATABASE {} SET search_path TO {}, public")
            conn.execute(path.format(Identifier(name), Identifier(self.schema)))
        return name

    def end(self) -> None:
        self.lender.close()
        with connect(self.store.dsn, "itest schema") as conn:
            conn.execute(SQL("DROP SCHEMA IF EXISTS {0} CASCADE").format(Identifier(self.schema)))


class CloneOf(_Apart):
    """The test has a database of its own, to which `stack.dsn` points meanwhile."""

    name = "clone"
    clone: Clone[Database] | None = None
    kept = ""  # the name under which it outlasts the test

    def begin(self) -> None:
        store = self.store
        self.pool = store.pool()
        self.clone = self.pool.take()
        self.before = store.stack.places
        store.stack.places = {**self.before, store.name: self.clone.name}

    def connection(self) -> Database:
        assert self.clone is not None
        return self.clone.conn

    def keep(self, label: str) -> str:
        assert self.clone is not None
        self.kept = copies.kept_name(self.clone.name, label)
        return self.kept

    def end(self) -> None:
        if self.clone is None:
            return
        self.store.stack.places = self.before
        if self.kept:
            self.pool.keep(self.clone, self.kept)
        else:
            self.pool.give_back(self.clone)


STRATEGIES: Mapping[str, type[Strategy]] = {
    "delete": Strategy,
    "truncate": Strategy,
    "rollback": Rollback,
    "schema": Schema,
    "clone": CloneOf,
    "none": Nothing,
}
