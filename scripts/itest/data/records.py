"""The record of migrations, `public.itest_migrations`: what was applied, and what was begun outside a transaction.

A migration that runs outside a transaction is recorded before its first statement and after each: `ms` is NULL until
it is done, `runner` says who is at it, `statements` how many are known to have taken effect.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime
from typing import NamedTuple

from psycopg import Connection

from itest.data.migrations import Migration

# The second statement is for a table that an older version made.
TABLE = """
    CREATE TABLE IF NOT EXISTS public.itest_migrations (
        version bigint PRIMARY KEY, path text NOT NULL, checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), ms double precision,
        runner text, statements int);
    ALTER TABLE public.itest_migrations ALTER ms DROP NOT NULL,
        ADD COLUMN IF NOT EXISTS runner text, ADD COLUMN IF NOT EXISTS statements int
"""
# By way of JSON, as only a runner may change the table and this is asked without one, too.
HISTORY = """
    SELECT version, path, checksum, applied_at, ms, to_jsonb(m) ->> 'runner', (to_jsonb(m) ->> 'statements')::int
    FROM public.itest_migrations m ORDER BY version
"""
RECORD = "INSERT INTO public.itest_migrations (version, path, checksum, ms) VALUES (%s, %s, %s, %s)"
BEGIN = """
    INSERT INTO public.itest_migrations AS m (version, path, checksum, runner, statements) VALUES (%s, %s, %s, %s, 0)
    ON CONFLICT (version) DO UPDATE SET runner = excluded.runner, applied_at = excluded.applied_at
"""
PROGRESS = "UPDATE public.itest_migrations SET statements = %s WHERE version = %s"
FINISH = """
    UPDATE public.itest_migrations SET ms = %s, applied_at = clock_timestamp(), runner = NULL, statements = NULL
    WHERE version = %s
"""
FORGET = "DELETE FROM public.itest_migrations WHERE version = %s"


class Record(NamedTuple):
    """One row. ms: None while it isn't done, and applied_at is when it was begun; runner, statements: only then."""

    version: int
    path: str
    checksum: str
    applied_at: datetime
    ms: float | None
    runner: str | None = None
    statements: int | None = None

    @property
    def done(self) -> bool:
        return self.ms is not None

    @property
    def when(self) -> str:
        return f"{'applied' if self.done else 'begun'} on {self.applied_at:%Y-%m-%d %H:%M}"


def read(conn: Connection) -> list[Record]:
    """The records, oldest version first; none where nothing was ever applied."""
    exists = conn.execute("SELECT to_regclass('public.itest_migrations')").fetchone()
    if exists == (None,):
        return []
    return [Record(*row) for row in conn.execute(HISTORY).fetchall()]


def record(conn: Connection, migration: Migration, ms: float) -> None:
    """Applied, in the transaction that is open."""
    conn.execute(RECORD, [migration.version, migration.file.path.as_posix(), migration.checksum, ms])


def begin(conn: Connection, migration: Migration) -> None:
    """This process begins it, or goes on with it."""
    runner = f"pid {os.getpid()} on {socket.gethostname()}"
    conn.execute(BEGIN, [migration.version, migration.file.path.as_posix(), migration.checksum, runner])


def progress(conn: Connection, migration: Migration, statements: int) -> None:
    """So many of its statements have taken effect."""
    conn.execute(PROGRESS, [statements, migration.version])


def finish(conn: Connection, migration: Migration, ms: float) -> None:
    """All of them have."""
    conn.execute(FINISH, [ms, migration.version])


def forget(conn: Connection, migration: Migration) -> None:
    """It was taken back, or has to begin again."""
    conn.execute(FORGET, [migration.version])
