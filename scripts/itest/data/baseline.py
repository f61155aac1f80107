"""Back to the seeded state between tests by plain DELETE: every table, every sequence, one round trip.

A baseline lives in the database, in a schema of its own: copies of the tables that held rows, the sequences' values,
and the function that restores them. So a kept stack can be reset by whoever attaches to it. There are two: what the
migrations left, and what the fixtures added to that. A table made after `prepare` is
not covered, nor are large objects and materialised views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Composed, Identifier, Literal

from itest.data import fixtures_redis, sql
from itest.data.fixtures_redis import Command
from itest.errors import ItestError

if TYPE_CHECKING:
    from redis import Redis

MIGRATED, SEEDED = BASELINES = ("itest_migrated", "itest_seeded")  # schemas, both ours alone

LOCK_TIMEOUT = 2.0  # seconds: a session that a test forgot holds its locks for ever

# Partitions are taken one by one and their parents left out, so rows return to where they were. What an extension
# keeps for itself is not the tests' to change. A size of 0 is proof of no rows, a larger one only a hint.
TABLES = """
    SELECT c.oid, n.nspname, c.relname, pg_relation_size(c.oid) > 0,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                 ORDER BY a.attnum)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'itest_migrated', 'itest_seeded')
      AND (n.nspname, c.relname) <> ('public', 'itest_migrations')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.oid
"""
SEQUENCES = """
    SELECT c.oid, n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('itest_migrated', 'itest_seeded')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.oid
"""

# The role `replica` switches foreign keys and ordinary triggers off, so that tables can be emptied and filled in any
# order; as a setting of the function it ends with it, however it ends. EXCLUSIVE also waits for row locks (FOR UPDATE),
# which would block the DELETE half-way.
FUNCTION = SQL("""
    CREATE FUNCTION {}() RETURNS void LANGUAGE plpgsql
    SET session_replication_role = replica SET lock_timeout = {} AS {}
""")


class Table(NamedTuple):
    """A table to reset. columns: all that aren't generated; seeded: may hold rows of the baseline."""

    oid: int
    schema: str
    name: str
    seeded: bool
    columns: list[str]

    @property
    def sql(self) -> Identifier:
        return Identifier(self.schema, self.name)

    def copy(self, baseline: str) -> Identifier:
        return Identifier(baseline, f"table_{self.oid}")


def prepare(
    conn: Connection, baseline: str = SEEDED, *, fingerprint: str = "", lock_timeout: float = LOCK_TIMEOUT
) -> None:
    """Take the database as it is now for a baseline, replacing an older one. conn: superuser, in autocommit.

    fingerprint: what the baseline was made from. lock_timeout: seconds that a reset may wait for other sessions.
    """
    tables = [Table(*row) for row in conn.execute(TABLES).fetchall()]
    sequences = conn.execute(SEQUENCES).fetchall()
    values = [
        SQL("SELECT {}::oid, last_value, is_called FROM {}").format(oid, Identifier(schema, name))
        for oid, schema, name in sequences
    ]
    none = SQL("SELECT NULL::oid, NULL::bigint, NULL::boolean WHERE false")
    schema, kept = Identifier(baseline), Identifier(baseline, "sequences")
    body = Literal(_body(tables, baseline).as_string(conn))
    statements = [
        SQL("DROP SCHEMA IF EXISTS {} CASCADE; CREATE SCHEMA {}").format(schema, schema),
        SQL("COMMENT ON SCHEMA {} IS {}").format(schema, fingerprint),
        *(_copy(table, baseline) for table in tables if table.seeded),
        SQL("CREATE TABLE {} (oid, last_value, is_called) AS ").format(kept) + SQL(" UNION ALL ").join([none, *values]),
        FUNCTION.format(Identifier(baseline, "reset"), f"{lock_timeout * 1000:.0f}ms", body),
    ]
    with conn.transaction():
        conn.execute(SQL("; ").join(statements))


def fingerprint(conn: Connection, baseline: str = SEEDED) -> str | None:
    """What a baseline was made from; None where this database has no such baseline."""
    asked = "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s"
    row = conn.execute(asked, [baseline]).fetchone()
    return str(row[0]) if row else None


def reset(conn: Connection, baseline: str = SEEDED) -> None:
    """Return to a baseline, this session's role and settings included; a transaction left open in it is rolled back.

    Raises ItestError (data): another session holds locks (it is named), or the schema is no longer the baseline's.
    """
    if conn.info.transaction_status != TransactionStatus.IDLE:
        conn.rollback()
    try:
        conn.execute(f"{sql.RESTORE}; SELECT {baseline}.reset()")
    except (LockNotAvailable, DeadlockDetected) as error:
        conn.rollback()
        problem = "another session kept its locks; a test, or a service, left a transaction open"
        hint = "end the transaction in the test (commit, rollback or close)"
        raise _error(conn, f"{problem}\n{sql.holders(conn, readers=False)}", hint) from error
    except psycopg.Error as error:
        conn.rollback()
        hint = "if a test changed the schema, it has to change it back"
        raise _error(conn, "\n".join([str(error.diag.message_primary), *sql.details(error.diag)]), hint) from error
    if not conn.autocommit:
        conn.commit()


def reset_redis(client: Redis, seed: Iterable[Command]) -> None:
    """Empty the client's own database, never its neighbours', and seed it again: one transaction, one round trip."""
    fixtures_redis.run(client, seed, ("FLUSHDB",))


def _copy(table: Table, baseline: str) -> Composed:
    # Logged, unlike a scratch table: a crash of PostgreSQL must not empty the baseline.
    columns = SQL(", ").join(map(Identifier, table.columns))
    return SQL("CREATE TABLE {} AS SELECT {} FROM ONLY {}").format(table.copy(baseline), columns, table.sql)


def _body(tables: Iterable[Table], baseline: str) -> Composed:
    tables = list(tables)
    lines: list[SQL | Composed] = [SQL("BEGIN")]
    if tables:
        every = SQL(", ").join(SQL("ONLY {}").format(table.sql) for table in tables)
        lines.append(SQL("LOCK TABLE {} IN EXCLUSIVE MODE;").format(every))
    lines.extend(SQL("DELETE FROM ONLY {};").format(table.sql) for table in tables)
    for table in tables:
        if table.seeded:
            columns = SQL(", ").join(map(Identifier, table.columns))
            refill = SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {};")
            lines.append(refill.format(table.sql, columns, columns, table.copy(baseline)))
    sequences = Identifier(baseline, "sequences")
    lines.append(SQL("PERFORM setval(oid, last_value, is_called) FROM {};").format(sequences))
    return SQL("\n").join([*lines, SQL("END")])


def _error(conn: Connection, problem: str, hint: str) -> ItestError:
    return ItestError("data", f"reset {conn.info.dbname}: {problem}", hint=hint, cause="reset")


# INTERIM until the redesign lands: what isolation/ needs.
class SchemaChanged(ItestError):
    changes: tuple[str, ...] = ()


class Contaminated(ItestError):
    def __init__(self, message: str, *, hint: str = "", evidence: str = "") -> None:
        super().__init__("data", message, hint=hint, evidence=evidence, cause="contamination")


class Outcome(NamedTuple):
    changed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


class Baseline:
    def __init__(self, conn: Connection, schema: str = SEEDED) -> None:
        self.conn, self.schema = conn, schema

    def reset(self) -> Outcome:
        reset(self.conn, self.schema)
        return Outcome()

    def dirt(self) -> list[str]:
        return []
