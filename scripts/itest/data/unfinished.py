"""A migration whose runner died: what it left behind, and how to go on.

In a transaction nothing is left; outside one, some statements have taken effect, and of one nobody knows.
"""

from __future__ import annotations

import operator

from psycopg import Connection
from psycopg.rows import TupleRow
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from itest.data import sql, sqlsplit
from itest.data.migrations import Migration
from itest.data.records import Record
from itest.errors import ItestError

RUNNER = "itest migrate"  # application name of the session that runs migrations
STILL_THERE = """
    SELECT pid, backend_start, query FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = %s
"""
# A failed or interrupted CREATE INDEX CONCURRENTLY leaves one behind, which is kept up to date and never used.
INVALID = """
    SELECT format('%I.%I', n.nspname, c.relname), i.indrelid::regclass::text
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY 1
"""


def wait_for_the_dead(guard: Connection, deadline: float) -> None:
    """Wait until no session of another runner is left: PostgreSQL finishes a statement whose client was killed.

    guard: holds the migration lock, so whoever had it before is gone. deadline: seconds.
    Raises ItestError (data) with the statement that still runs.
    """
    poll = Retrying(
        retry=retry_if_result(operator.truth),
        wait=wait_exponential(multiplier=0.002, max=0.25),
        stop=stop_after_delay(deadline),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    left: list[TupleRow] = poll(lambda: guard.execute(STILL_THERE, [RUNNER]).fetchall())
    if left:
        pid, since, query = left[0]
        problem = f"migrations: the runner is gone, its session still works after {deadline:g} s more"
        problem += f"\n  pid {pid}, connected since {since:%H:%M:%S}: {sql.clip(query)}"
        hint = f"wait for it, or end it: SELECT pg_terminate_backend({pid})"
        raise ItestError("data", problem, hint=hint, cause="migration")


def refuse(guard: Connection, migration: Migration, record: Record) -> None:
    """Raises ItestError (data) with what a dead runner left of a migration, and the statements by which to go on.

    Where all of its statements are known to have taken effect, or somebody has released it, it can go on.
    """
    pieces = sqlsplit.statements(migration.file.text)
    done = record.statements or 0
    if record.runner is None or done == len(pieces):
        return
    lines = [migration.file.line_at(piece.start) for piece in pieces]
    indexes = guard.execute(INVALID).fetchall()
    release = f"UPDATE public.itest_migrations SET runner = NULL{{}} WHERE version = {migration.version};"
    told = [
        f"{record.runner} began it at {record.applied_at:%Y-%m-%d %H:%M:%S} and never finished",
        f"  took effect: {_lines(lines[:done])}",
        f"  not known: {_lines(lines[done : done + 1])}: {sql.clip(migration.file.text[pieces[done]])}",
        *(f"  left invalid: index {name} on {table}" for name, table in indexes),
        f"  to go on at line {lines[done]}:",
        *(f"    DROP INDEX CONCURRENTLY {name};" for name, _ in indexes),
        "    " + release.format(""),
        "  or, where it did take effect, after it:",
        "    " + release.format(f", statements = {done + 1}"),
    ]
    hint = (
        "run those in psql (make shell SERVICE=postgres), then again; a stack of tests is sooner made anew: make down"
    )
    raise migration.file.error("\n".join(told), hint=hint)


def invalid_indexes(conn: Connection) -> str:
    """A line for each index that a failed CREATE INDEX CONCURRENTLY left."""
    found = conn.execute(INVALID).fetchall()
    return "".join(
        f"\n  left invalid: index {name} on {table}: DROP INDEX CONCURRENTLY {name}" for name, table in found
    )


def _lines(numbers: list[int]) -> str:
    if not numbers:
        return "nothing"
    some = "s" if len(numbers) > 1 else ""
    return f"the statement{some} at line{some} {', '.join(map(str, numbers))}"
