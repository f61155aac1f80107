"""Migrating a database: each migration once, in numeric order, in a transaction with its record, one runner at a time.

A migration is known by its version and the checksum of its content; its file may move or get a better name.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import Connection
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from itest.data import records, sql, unfinished
from itest.data.datafile import DataFile
from itest.data.migrations import Migration, renumbered
from itest.data.records import Record
from itest.errors import ItestError

LOCK_TIMEOUT = 60.0  # seconds
LOCK = (0x17E57, 1)  # two numbers of our own: advisory locks share one space in a database
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


def pending(migrations: Sequence[Migration], history: Sequence[Record]) -> list[Migration]:
    """The migrations that aren't recorded as applied yet. Needs no database.

    Raises ItestError (data) where files and records contradict each other: a file was edited after it was applied, is
    missing, or comes before one that was applied.
    """
    files = {migration.version: migration for migration in migrations}
    applied = {record.version for record in history if record.done}
    newest = max(applied, default=-1)
    free = max([newest, *files]) + 1
    for record in history:
        if record.version not in files:
            problem = f"{record.when}, but its file is missing"
            raise _error(record.path, problem, f"{AFRESH}; in a shared database, bring the file back")
        migration = files[record.version]
        if migration.checksum != record.checksum:
            mend = f"write it as {renumbered(migration, free)}" if record.done else "finish it first"
            hint = f"{AFRESH}; in a shared database, take the edit back and {mend}"
            raise migration.file.error(f"edited after it was {record.when}", hint=hint)
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
        history = records.read(conn)
    pending(migrations, history)
    applied = {record.version: record for record in history if record.done}
    return [
        MigrationState(migration, record.applied_at, record.ms) if record else MigrationState(migration, None, None)
        for migration in migrations
        for record in [applied.get(migration.version)]
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
        guard.execute(records.TABLE)
        history = records.read(guard)
        left = pending(migrations, history)
        if not left:
            return done
        unfinished.wait_for_the_dead(guard, deadline)
        begun = {record.version: record for record in history if not record.done}
        with sql.connect(dsn, unfinished.RUNNER, lock_timeout=deadline) as conn:
            for migration in left:
                if migration.transactional:
                    ms = _apply(conn, migration)
                else:
                    ms = _apply_each(conn, guard, migration, begun.get(migration.version))
                done.append(Applied(migration, ms))
                report(done[-1])
    return done


def down(dsn: str, migrations: Sequence[Migration], *, deadline: float = LOCK_TIMEOUT) -> Migration:
    """Take back the newest applied migration by its `.down.sql`, together with its record.

    Raises ItestError (data) where none is applied or the newest has no such file.
    """
    with _alone(dsn, deadline) as guard:
        history = records.read(guard)
        pending(migrations, history)
        begun = [record for record in history if not record.done]
        if begun:
            raise _error(begun[-1].path, f"{begun[-1].when}, but never finished", "make migrate says how to go on")
        if not history:
            raise ItestError("data", "migrations: none is applied", hint="make migrate", cause="migration")
        newest = next(migration for migration in migrations if migration.version == history[-1].version)
        if newest.down is None:
            raise newest.file.error("no .down.sql takes it back", hint="write one, or begin again with make down")
        conn = sql.connect(dsn, unfinished.RUNNER, lock_timeout=deadline)
        with conn, _blaming(newest.down), conn.transaction():
            sql.run(conn, newest.down)
            records.forget(conn, newest)
    return newest


def _apply(conn: Connection, migration: Migration) -> float:
    """Run one migration together with its record, or neither. Returns milliseconds."""
    started = time.perf_counter()
    with _blaming(migration.file), conn.transaction():
        sql.run(conn, migration.file)
        ms = (time.perf_counter() - started) * 1000
        records.record(conn, migration, ms)
    return ms


def _apply_each(conn: Connection, guard: Connection, migration: Migration, begun: Record | None) -> float:
    """Run one statement by statement, recording how far it got: if this process dies, the next has to know.

    The guard records it: a file may change the role of its own session. Returns milliseconds.
    """
    if begun:
        unfinished.refuse(guard, migration, begun)
    records.begin(guard, migration)
    started = time.perf_counter()
    try:
        sql.run_each(
            conn,
            migration.file,
            start=(begun and begun.statements) or 0,
            report=lambda statements: records.progress(guard, migration, statements),
        )
    except ItestError as error:
        with suppress(psycopg.OperationalError):  # the server is gone: what it knows it tells the next one
            records.forget(guard, migration)
            error.message += unfinished.invalid_indexes(guard)
        raise
    ms = (time.perf_counter() - started) * 1000
    records.finish(guard, migration, ms)
    return ms


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


def _error(path: str, problem: str, hint: str) -> ItestError:
    return ItestError("data", f"migration {path}: {problem}", hint=hint, cause="migration")
