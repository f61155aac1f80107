"""Migrating a database: each migration once, in numeric order, in a transaction with its record, one runner at a time.

The record is `public.itest_migrations`. A migration is known by its version and the checksum of its content; its file
may move or get a better name.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg import Connection
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from itest.data import sql
from itest.data.datafile import DataFile
from itest.data.migrations import Migration, renumbered
from itest.errors import ItestError

LOCK_TIMEOUT = 60.0  # seconds
LOCK = (0x17E57, 1)  # two numbers of our own: advisory locks share one space in a database
TABLE = """
    CREATE TABLE IF NOT EXISTS public.itest_migrations (
        version bigint PRIMARY KEY, path text NOT NULL, checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), ms double precision NOT NULL)
"""
RECORD = "INSERT INTO public.itest_migrations (version, path, checksum, ms) VALUES (%s, %s, %s, %s)"
FORGET = "DELETE FROM public.itest_migrations WHERE version = %s"
HISTORY = "SELECT version, path, checksum, applied_at, ms FROM public.itest_migrations ORDER BY version"
AFRESH = "`make down SUITE=… && make up SUITE=…` starts from the files as they are now"
LOCK_HOLDER = """
    SELECT a.pid, a.application_name, a.backend_start, a.query_start
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Applied:
    """A migration that has just run, and how long it took (milliseconds)."""

    migration: Migration
    ms: float


@dataclass(frozen=True)
class MigrationState:
    """Where a migration stands. applied_at and ms are None while it is pending."""

    migration: Migration
    applied_at: datetime | None
    ms: float | None


class Record(NamedTuple):
    """One row of public.itest_migrations."""

    version: int
    path: str
    checksum: str
    applied_at: datetime
    ms: float


def pending(migrations: Sequence[Migration], history: Sequence[Record]) -> list[Migration]:
    """The migrations that have no record yet. Needs no database.

    Raises ItestError (data) where files and records contradict each other: a file was edited after it was applied, is
    missing, or comes before one that was applied.
    """
    files = {migration.version: migration for migration in migrations}
    newest = max((record.version for record in history), default=-1)
    free = max([newest, *files]) + 1
    for record in history:
        if record.version not in files:
            problem = f"applied {_when(record)}, but its file is missing"
            raise _error(record.path, problem, f"{AFRESH}; in a shared database, bring the file back")
        migration = files[record.version]
        if migration.checksum != record.checksum:
            mend = f"{AFRESH}; in a shared database, take the edit back and write it as {renumbered(migration, free)}"
            raise migration.file.error(f"edited after it was applied {_when(record)}", hint=mend)
    applied = {record.version for record in history}
    left = [files[version] for version in sorted(files) if version not in applied]
    if left and left[0].version < newest:
        problem = f"out of order: version {newest} is already applied"
        raise left[0].file.error(problem, hint=f"rename it to {renumbered(left[0], free)}")
    return left


def status(dsn: str, migrations: Sequence[Migration]) -> list[MigrationState]:
    """What is applied and what is pending, by version; changes nothing.

    Raises ItestError (data) as `pending` does, (service) where the database doesn't answer.
    """
    with sql.connect(dsn, "itest migrate status", lock_timeout=LOCK_TIMEOUT) as conn:
        history = _history(conn)
    pending(migrations, history)
    records = {record.version: record for record in history}
    return [
        MigrationState(migration, record.applied_at, record.ms) if record else MigrationState(migration, None, None)
        for migration in migrations
        for record in [records.get(migration.version)]
    ]


def apply(
    dsn: str,
    migrations: Sequence[Migration],
    *,
    deadline: float = LOCK_TIMEOUT,
    report: Callable[[Applied], None] = lambda _: None,
) -> list[Applied]:
    """Apply what is pending; `report` hears of each as it is done. Nothing pending, nothing done.

    deadline: seconds to wait for another runner, and for any lock inside a migration.
    Raises ItestError (data), and what was applied before stays applied.
    """
    done: list[Applied] = []
    with _alone(dsn, deadline) as guard:
        guard.execute(TABLE)
        left = pending(migrations, _history(guard))
        if not left:
            return done
        with sql.connect(dsn, "itest migrate", lock_timeout=deadline) as conn:
            for migration in left:
                done.append(Applied(migration, _apply(conn, migration)))
                report(done[-1])
    return done


def down(dsn: str, migrations: Sequence[Migration], *, deadline: float = LOCK_TIMEOUT) -> Migration:
    """Take back the newest applied migration by its `.down.sql`, together with its record.

    Raises ItestError (data) where none is applied or the newest has no such file.
    """
    with _alone(dsn, deadline) as guard:
        history = _history(guard)
        pending(migrations, history)
        if not history:
            raise ItestError("data", "migrations: none is applied", hint="make migrate", cause="migration")
        newest = next(migration for migration in migrations if migration.version == history[-1].version)
        if newest.down is None:
            raise newest.file.error("no .down.sql takes it back", hint="write one, or begin again with make down")
        conn = sql.connect(dsn, "itest migrate", lock_timeout=deadline)
        with conn, _blaming(newest.down), conn.transaction():
            sql.run(conn, newest.down)
            conn.execute(FORGET, [newest.version])
    return newest


def _apply(conn: Connection, migration: Migration) -> float:
    """Run one migration and record it. Returns milliseconds."""
    started = time.perf_counter()

    def record() -> float:
        ms = (time.perf_counter() - started) * 1000
        conn.execute(RECORD, [migration.version, migration.file.path.as_posix(), migration.checksum, ms])
        return ms

    if not migration.transactional:
        sql.run_each(conn, migration.file)
        return record()
    with _blaming(migration.file), conn.transaction():
        sql.run(conn, migration.file)
        return record()


@contextmanager
def _blaming(file: DataFile) -> Iterator[None]:
    """A deferred constraint speaks up only at the commit, after the last statement."""
    try:
        yield
    except psycopg.Error as error:
        raise sql.failure(file, error, "at its commit: ") from error


@contextmanager
def _alone(dsn: str, deadline: float) -> Iterator[Connection]:
    """A session that holds the migration lock, and does nothing else that could wait.

    The lock is polled for: a session that waits in pg_advisory_lock has a snapshot, and CREATE INDEX CONCURRENTLY waits
    for every snapshot, so the two would wait for each other. It has a session of its own because a migration may end
    with DISCARD ALL, which drops advisory locks.
    """
    with sql.connect(dsn, "itest migrate lock", lock_timeout=deadline) as conn:
        poll = Retrying(
            retry=retry_if_result(operator.not_),
            wait=wait_exponential(multiplier=0.01, max=0.25),
            stop=stop_after_delay(deadline),
            retry_error_callback=lambda _: False,
        )
        if not poll(_try_lock, conn):
            raise _locked_out(conn, deadline)
        yield conn


def _try_lock(conn: Connection) -> bool:
    row = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", LOCK).fetchone()
    return bool(row and row[0])


def _locked_out(conn: Connection, deadline: float) -> ItestError:
    row = conn.execute(LOCK_HOLDER, LOCK).fetchone()
    who = "pid {} ({}), connected since {:%H:%M:%S}, last query at {:%H:%M:%S}".format(*row) if row else "gone by now"
    hint = f"wait for it, or end it: SELECT pg_terminate_backend({row[0]})" if row else "run again"
    problem = f"migrations: another runner held the lock for all of {deadline:g} s: {who}"
    return ItestError("data", problem, hint=hint, cause="migration")


def _history(conn: Connection) -> list[Record]:
    """The records, oldest version first; none where nothing was ever applied."""
    exists = conn.execute("SELECT to_regclass('public.itest_migrations')").fetchone()
    if exists == (None,):
        return []
    return [Record(*row) for row in conn.execute(HISTORY).fetchall()]


def _when(record: Record) -> str:
    return f"on {record.applied_at:%Y-%m-%d %H:%M}"


def _error(path: str, problem: str, hint: str) -> ItestError:
    return ItestError("data", f"migration {path}: {problem}", hint=hint, cause="migration")
