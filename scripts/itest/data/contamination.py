"""Why a database is not back at its baseline, in words."""

from __future__ import annotations

import re

import psycopg
from psycopg import Connection

from itest.data import sql, template
from itest.data.sessions import Session
from itest.errors import ItestError

SHOWN = 20  # lines of dirt in a message

# A statement of the function that restores, in the context of an error; the name is as PostgreSQL quotes it.
STATEMENT = re.compile(
    r'SQL statement "(?:DELETE FROM ONLY|TRUNCATE ONLY|INSERT INTO|REFRESH MATERIALIZED VIEW)'
    r' ((?:"(?:[^"]|"")+"|[^\s".(])+(?:\.(?:"(?:[^"]|"")+"|[^\s".(])+)?)'
)
ALWAYS = "SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgenabled = 'A'"


class SchemaChanged(ItestError):
    """The schema is no longer the baseline's: only a fresh database mends that. changes: a line each."""

    def __init__(self, database: str, changes: list[str], ended: tuple[Session, ...] = ()) -> None:
        problem = "\n".join([f"the schema of `{database}` was changed:", *(f"  {line}" for line in changes)])
        hint = 'a test that changes the schema gets a database of its own: @pytest.mark.isolation("clone")'
        super().__init__("data", problem, hint=hint, cause="ddl")
        self.changes = changes
        self.ended = ended


class Contaminated(ItestError):
    """A reset that could not bring everything back. dirt: what still differs, a line each."""

    def __init__(self, database: str, lines: list[str], ended: tuple[Session, ...] = (), hint: str = "") -> None:
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        told = [f"  {line}" for line in lines[:SHOWN]] + more
        problem = "\n".join([f"reset {database}: not back at the baseline", *told])
        always = "a trigger or rule ENABLEd ALWAYS writes while its table is restored; isolation: clone leaves it alone"
        super().__init__("data", problem, hint=hint or always, cause="contamination")
        self.dirt = lines
        self.ended = ended


def blocked(conn: Connection) -> ItestError:
    """Another session's locks are in the way; it is named."""
    found = sql.holding(conn, readers=False)
    ends = ", ".join(f"pg_terminate_backend({one.pid})" for one in found)
    hint = f"COMMIT or ROLLBACK there, or `SELECT {ends}`" if found else "run it again"
    who = [f"  {one}" for one in found] or ["  it is gone by now"]
    problem = "\n".join(["another session kept its locks", *who])
    return ItestError("data", f"reset {conn.info.dbname}: {problem}", hint=hint, cause="reset")


def refused(conn: Connection, error: psycopg.Error, ended: tuple[Session, ...] = ()) -> Contaminated:
    """PostgreSQL refused what a reset asked of it; the table comes first, where it says which."""
    table = _table(error)
    said = f"PostgreSQL refused to restore it: {error.diag.message_primary}" if table else error.diag.message_primary
    first = f"{table}: {said}" if table else str(said or error)
    hint = "a lack of privileges, or a setting of the server, can make PostgreSQL refuse a reset: see its words above"
    if table and conn.execute(ALWAYS, [table]).rowcount:
        hint = (
            f"{table} has a trigger ENABLEd ALWAYS that refuses the reset: write to it under"
            ' @pytest.mark.isolation("clone"), or make the trigger plain ENABLE'
        )
    lines = [first, *(line for detail in sql.details(error.diag) for line in detail.splitlines())]
    return Contaminated(conn.info.dbname, lines, ended, hint)


def dropped(conn: Connection, baseline: str, ended: tuple[Session, ...] = ()) -> SchemaChanged:
    """The baseline's own schema is gone, or a part of it."""
    return SchemaChanged(conn.info.dbname, [lost(conn, baseline)], ended)


def missing(conn: Connection, baseline: str) -> ItestError:
    """A database without this baseline: it never had one, or lost it since its template was sealed."""
    if template.is_sealed(conn):
        return dropped(conn, baseline)
    problem = f"reset {conn.info.dbname}: no baseline {baseline}"
    return ItestError("data", problem, hint="make seed makes one", cause="reset")


def lost(conn: Connection, baseline: str) -> str:
    """What became of a baseline's own schema that can't be read any more."""
    there = conn.execute("SELECT FROM pg_namespace WHERE nspname = %s", [baseline]).rowcount
    return f"the baseline's own schema {baseline} was {'changed' if there else 'dropped'}"


def _table(error: psycopg.Error) -> str:
    """The table that the reset was restoring when it failed, from the outermost statement of PostgreSQL's context."""
    found = STATEMENT.findall(error.diag.context or "")
    return str(found[-1]) if found else ""
