"""Other sessions of the same database: transactions that they hold open, connections that nobody closed.

What a session shows of itself is read from the server's shared memory, not from the view pg_stat_activity, which joins
three more tables. A role that is not superuser sees the transactions of its own sessions only.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import Connection
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row
from psycopg.sql import SQL, Literal
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from itest.data import sql
from itest.errors import ItestError

GRACE = 0.25  # seconds that another session gets to end what it holds, a transaction or a lock

GONE = 2000  # milliseconds that a terminated session may take to go

# A transaction is told from the next one of the same session by its start.
OPEN = """
    FROM pg_catalog.pg_stat_get_activity(NULL) a
    WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND a.xact_start IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend'
"""
SEEN = f"SELECT array_agg(a.pid), array_agg(a.xact_start) {OPEN}"
STILL = f"{OPEN} AND (a.pid, a.xact_start) IN (SELECT * FROM unnest(%s::int[], %s::timestamptz[]))"
SESSION = """SELECT a.pid, coalesce(a.application_name, '') AS application_name, coalesce(a.state, 'unknown') AS state,
    coalesce(a.query, '') AS query, extract(epoch FROM clock_timestamp() - {})::float AS seconds"""
PREPARED = """
    SELECT 0 AS pid, p.gid AS application_name, 'prepared transaction' AS state, '' AS query,
           extract(epoch FROM clock_timestamp() - p.prepared)::float AS seconds
    FROM pg_prepared_xacts p WHERE p.database = current_database()
"""
NAMED = """
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND starts_with(a.application_name, %s)
    ORDER BY a.backend_start
"""


@dataclass(frozen=True)
class Session:
    """A session as it was seen. query: its last; seconds: since its transaction began, or since it last did anything.

    A prepared transaction has no session: pid 0, and its identifier for an application name.
    """

    pid: int
    application_name: str
    state: str
    query: str
    seconds: float

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.pid else "no session"
        name = self.application_name or "unnamed"
        return f"{who} ({name}), {self.state} for {self.seconds:.1f} s: {sql.clip(self.query)}".rstrip(" :")


def settle(conn: Connection, grace: float = GRACE) -> tuple[Session, ...]:
    """Wait until the transactions that others have open now are over, and end those that aren't after `grace` seconds.

    One that begins meanwhile is not waited for. A session idle in a transaction can't be cancelled, so it is
    terminated; a prepared transaction is rolled back. Returns what was ended.

    Raises ItestError (data) where the role may not end a session.
    """
    seen = conn.execute(SEEN).fetchone() or (None, None)
    ended: list[Session] = []
    if seen[0] and _still_open(conn, seen, grace):
        ended += _terminate(conn, seen)
    with conn.cursor(row_factory=class_row(Session)) as cursor:
        prepared = cursor.execute(PREPARED).fetchall()
    for one in prepared:
        conn.execute(SQL("ROLLBACK PREPARED {}").format(Literal(one.application_name)))
    return (*ended, *prepared)


def leaked(conn: Connection, prefix: str) -> list[Session]:
    """Sessions of this database whose application_name begins with `prefix`, oldest first, with their last query."""
    with conn.cursor(row_factory=class_row(Session)) as cursor:
        return cursor.execute((SESSION.format("a.state_change") + NAMED).encode(), [prefix]).fetchall()


def _still_open(conn: Connection, seen: tuple[object, ...], grace: float) -> bool:
    """Whether any of the transactions is left after the grace."""
    asked = f"SELECT EXISTS (SELECT {STILL})".encode()
    waiting = Retrying(
        retry=retry_if_result(bool),
        wait=wait_exponential(multiplier=0.001, max=0.02),
        stop=stop_after_delay(grace),
        retry_error_callback=lambda state: True,
    )
    return bool(waiting(lambda: (conn.execute(asked, seen).fetchone() or (False,))[0]))


def _terminate(conn: Connection, seen: tuple[object, ...]) -> list[Session]:
    with conn.cursor(row_factory=class_row(Session)) as cursor:
        found = cursor.execute((SESSION.format("a.xact_start") + STILL).encode(), seen).fetchall()
    for one in found:
        try:
            conn.execute("SELECT pg_terminate_backend(%s, %s)", [one.pid, GONE])
        except InsufficientPrivilege as error:
            problem = f"reset {conn.info.dbname}: another session left a transaction open: {one}"
            hint = f"end it (commit, rollback or close), or GRANT pg_signal_backend TO {conn.info.user}"
            raise ItestError("data", problem, hint=hint, cause="reset") from error
    return found
