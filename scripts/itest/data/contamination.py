"""Why a database is not back at its baseline, in words."""

from __future__ import annotations

import psycopg
from psycopg import Connection

from itest.data import sql
from itest.data.sessions import Session
from itest.errors import ItestError

SHOWN = 20  # lines of dirt in a message


class SchemaChanged(ItestError):
    """The schema is no longer the baseline's: only a fresh database mends that. changes: a line each."""

    def __init__(self, database: str, changes: list[str], ended: tuple[Session, ...] = ()) -> None:
        problem = "\n".join([f"reset {database}: the schema was changed", *(f"  {line}" for line in changes)])
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
    problem = "another session kept its locks; a test, or a service, left a transaction open"
    hint = "end the transaction in the test (commit, rollback or close)"
    return _error(conn, f"{problem}\n{sql.holders(conn, readers=False)}", hint)


def refused(conn: Connection, error: psycopg.Error) -> ItestError:
    """PostgreSQL refused what a reset asked of it."""
    hint = "a trigger or rule that is ENABLEd ALWAYS, or a lack of privileges, can make PostgreSQL refuse a reset"
    return _error(conn, "\n".join([str(error.diag.message_primary), *sql.details(error.diag)]), hint)


def _error(conn: Connection, problem: str, hint: str) -> ItestError:
    return ItestError("data", f"reset {conn.info.dbname}: {problem}", hint=hint, cause="reset")
