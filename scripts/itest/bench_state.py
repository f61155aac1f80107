"""What a clean state costs: resets against TRUNCATE, clones against bare statements, tests against a plugin's."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from itest import data
from itest import stack as stacks
from itest.data import baseline, template
from itest.data.baseline import Baseline
from itest.data.clones import Pool
from itest.stack.stack import Stack
from itest.suite.suite import Suite

RIVAL = "pytest-postgresql==10.0.0"  # not among our requirements: it would be loaded into every pytest here
RESETS = 100  # pairs: a reset takes a millisecond
CLONES = 20  # a sustained rate is measured over so many
TESTS = 100  # a whole test's cost is what so many add to a run


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
        """What a test that dirtied five tables pays: the reset after it, verified, and the check before the next."""
        self._dirty()
        return self._around()

    def read(self) -> float:
        """What a test pays that wrote nothing."""
        self.conn.execute("SELECT count(*) FROM t0")
        return self._around()

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

    def _around(self) -> float:
        started = time.perf_counter()
        self.baseline.reset()
        self.baseline.reset()
        return time.perf_counter() - started

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


class WholeTests:
    """What a test costs from set-up to teardown: two runs of pytest, one with a single test and one with many."""

    def __init__(self, root: Path, folder: Path, suite: Suite) -> None:
        self.root, self.folder = root, folder
        self.python = _rival(root)
        self.stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
        stacks.start(self.stack)
        self.dsn = self.stack.dsn("postgres")

    def ours(self) -> float:
        """The plugin's `db`."""
        tests = self.root / "tests" / "database" / f"test_bench_{os.getpid()}.py"
        return _per_test(tests, _body("db", "items"), [sys.executable, "-m", "pytest"], self.root, self._known())

    def theirs(self) -> float:
        """pytest-postgresql's `postgresql` on the same server, its template filled from the same migrations."""
        said = psycopg.conninfo.conninfo_to_dict(self.dsn)
        migrations = data.plan(self.stack.suite).migrations  # it runs each in a transaction: without CONCURRENTLY then
        files = [self.root / migration.file.path for migration in migrations if migration.transactional]
        head = f"""
from pathlib import Path
from pytest_postgresql import factories

server = factories.postgresql_noproc(
    host={said["host"]!r}, port={int(str(said["port"]))}, user={said["user"]!r}, password={said["password"]!r},
    dbname="bench_itest_rival", load=[Path(path) for path in {[str(file) for file in files]!r}],
)
postgresql = factories.postgresql("server")
"""
        body = head + _body("postgresql", "items")
        return _per_test(self.folder / "test_rival.py", body, [str(self.python), "-m", "pytest"], self.folder, {})

    def _known(self) -> dict[str, str]:
        """What a run tells its pytest: the stack is there."""
        return {"ITEST_STACK": json.dumps([self.stack.suite.name, self.stack.name])}


def _body(fixture: str, table: str) -> str:
    return f"""
import pytest

@pytest.mark.parametrize("number", range(int(__import__("os").environ["BENCH_TESTS"])))
def test_it({fixture}, number):
    {fixture}.execute("INSERT INTO {table} (sku, name, price) VALUES ('NEW-ONE', 'New', 1)")
    {fixture}.commit()
"""


def _per_test(file: Path, body: str, command: list[str], cwd: Path, told: Mapping[str, str]) -> float:
    file.write_text(body, encoding="utf-8")
    quiet = [*command, "-q", "-p", "no:cacheprovider", str(file)]
    try:
        seconds = [_seconds(quiet, cwd, {**told, "BENCH_TESTS": str(n)}) for n in (1, 1 + TESTS)]
        return (seconds[1] - seconds[0]) / TESTS
    finally:
        file.unlink()


def _seconds(command: list[str], cwd: Path, told: Mapping[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=os.environ | told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def _rival(root: Path) -> Path:
    """The interpreter of a virtual environment that holds pytest-postgresql."""
    folder = root / "build" / "bench"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", RIVAL, "psycopg[binary]"], check=True)
    return python


def run(suite: Suite, pairs: int, measure: Callable[..., None]) -> None:
    """Measure all of it on one stack. measure: (name, ours, theirs, pairs)."""
    stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
    try:
        stacks.start(stack)
        dsn = stack.dsn("postgres")
        for number, times in ((40, RESETS), (500, RESETS // 4)):
            # A database each: TRUNCATE makes every session plan anew, also the one that resets.
            with (
                closing(Tables(dsn, f"bench_itest_{number}", number)) as ours,
                closing(Tables(dsn, f"bench_itest_{number}_truncate", number)) as theirs,
            ):
                measure(f"reset {number} tables / TRUNCATE", ours.reset, theirs.truncate, times)
                measure(f"nothing written, {number} / TRUNCATE", ours.read, theirs.truncate, times // 2)
        with closing(Clones(dsn)) as clones:
            measure("clone / CREATE DATABASE, connect", clones.take, clones.bare, RESETS // 4)
            measure(f"{CLONES} clones / the statements", clones.rate, clones.bare_rate, pairs)
    finally:
        stack.down()
    _whole_tests(suite, pairs, measure)


def _whole_tests(suite: Suite, pairs: int, measure: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tests = WholeTests(suite.root, Path(folder), suite)
        try:
            measure("a whole test / pytest-postgresql", tests.ours, tests.theirs, pairs)
        finally:
            tests.stack.down()
