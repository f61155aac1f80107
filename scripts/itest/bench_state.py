"""What a clean state costs: resets against TRUNCATE, clones against the bare statements."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import closing

import psycopg
from psycopg.sql import SQL, Identifier

from itest import stack as stacks
from itest.data import baseline, template
from itest.data.baseline import Baseline
from itest.data.clones import Pool
from itest.stack.stack import Stack
from itest.suite.suite import Suite

RESETS = 100  # pairs: a reset takes a millisecond
IN_A_ROW = 10  # resets: a single one after something else meets cold caches, and takes twice as long
CLONES = 20  # a sustained rate is measured over so many


class Tables:
    """A database of many tables joined by foreign keys, four of them seeded, with its baseline taken."""

    def __init__(self, dsn: str, name: str, number: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        self.dsn = template.dsn_of(dsn, name)
        self.number = number
        self.conn = psycopg.connect(self.dsn, autocommit=True)
        for table in range(number):
            parent = f"REFERENCES t{table - 1}" if table else ""
            self._run(f"CREATE TABLE t{table} (id serial PRIMARY KEY, up int {parent}, name text)")
        for table in range(4):
            rows = f"SELECT nullif({table}, 0), 'x' FROM generate_series(1, 20)"
            self._run(f"INSERT INTO t{table} (up, name) {rows}")
        baseline.prepare(self.conn)
        self.baseline = Baseline(psycopg.connect(self.dsn, autocommit=True))
        self.baseline.reset()

    def reset(self) -> float:
        """What a test that dirtied five tables pays: the reset after it, verified; the average of a few."""
        return self._average(self._dirty)

    def read(self) -> float:
        """What a test pays that wrote nothing."""
        return self._average(lambda: self.conn.execute("SELECT count(*) FROM t0"))

    def truncate(self) -> float:
        """The usual way, which brings back neither seeded rows nor their sequences."""
        self._dirty()
        every = ", ".join(f"t{table}" for table in range(self.number))
        started = time.perf_counter()
        self._run(f"TRUNCATE {every} RESTART IDENTITY CASCADE")
        elapsed = time.perf_counter() - started
        self.baseline.reset()
        return elapsed

    def close(self) -> None:
        self.conn.close()
        self.baseline.conn.close()

    def _average(self, test: Callable[[], object]) -> float:
        seconds = 0.0
        for _ in range(IN_A_ROW):
            test()
            started = time.perf_counter()
            self.baseline.reset()
            seconds += time.perf_counter() - started
        return seconds / IN_A_ROW

    def _dirty(self) -> None:
        every = range(0, self.number, self.number // 5)
        self._run("; ".join(f"INSERT INTO t{table} (name) VALUES ('dirt')" for table in every))

    def _run(self, statements: str) -> None:
        self.conn.execute(statements.encode())


class Clones:
    """Clones of a sealed database, against the statements that make them."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.pool = Pool(dsn, connect=lambda clone: psycopg.connect(clone, autocommit=True))
        self.admin = template.maintenance(dsn)

    def take(self) -> float:
        """Until a test has a database of its own and a connection to it; a moment passes between two tests."""
        started = time.perf_counter()
        clone = self.pool.take()
        elapsed = time.perf_counter() - started
        clone.conn.execute("SELECT pg_sleep(0.05)")
        self.pool.give_back(clone)
        return elapsed

    def bare(self) -> float:
        """CREATE DATABASE, connect; the drop afterwards doesn't count."""
        started = time.perf_counter()
        self._create()
        psycopg.connect(template.dsn_of(self.dsn, "bench_itest_bare"), autocommit=True).close()
        elapsed = time.perf_counter() - started
        self._drop()
        return elapsed

    def rate(self) -> float:
        """Many, one after the other, as quick as they come."""
        started = time.perf_counter()
        for _ in range(CLONES):
            self.pool.give_back(self.pool.take())
        return time.perf_counter() - started

    def bare_rate(self) -> float:
        """The same number of statements in a loop."""
        started = time.perf_counter()
        for _ in range(CLONES):
            self._create()
            self._drop()
        return time.perf_counter() - started

    def close(self) -> None:
        self.pool.close()
        self.admin.close()

    def _create(self) -> None:
        source = template.named(template.database_of(self.dsn), "template")
        self.admin.execute(
            SQL("CREATE DATABASE bench_itest_bare TEMPLATE {} STRATEGY file_copy").format(Identifier(source))
        )

    def _drop(self) -> None:
        self.admin.execute("DROP DATABASE bench_itest_bare")


def run(suite: Suite, pairs: int, measure: Callable[..., None]) -> None:
    """Measure all of it on one stack. measure: (name, ours, theirs, pairs)."""
    stack, other = (Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}")) for _ in range(2))
    try:
        stacks.start(stack)
        stacks.start(other)
        dsn = stack.dsn("postgres")
        for number, times in ((40, RESETS), (500, RESETS // 4)):
            # A server each: TRUNCATE makes every session plan anew, and takes transaction ids.
            with (
                closing(Tables(dsn, f"bench_itest_{number}", number)) as ours,
                closing(Tables(other.dsn("postgres"), f"bench_itest_{number}", number)) as theirs,
            ):
                measure(f"reset {number} tables / TRUNCATE", ours.reset, theirs.truncate, times)
                measure(f"nothing written, {number} / TRUNCATE", ours.read, theirs.truncate, times // 2)
        with closing(Clones(dsn)) as clones:
            measure("clone / CREATE DATABASE, connect", clones.take, clones.bare, RESETS // 4)
            measure(f"{CLONES} clones / the statements", clones.rate, clones.bare_rate, pairs)
    finally:
        stack.down()
        other.down()
