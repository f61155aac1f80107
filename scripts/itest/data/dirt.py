"""What differs from a baseline, in words: every row by its content, every sequence, every large object.

Slow and thorough, for the end of a worker and for messages; the reset itself goes by who wrote a row last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import Connection
from psycopg.errors import ObjectNotInPrerequisiteState, UndefinedColumn, UndefinedTable
from psycopg.rows import class_row

from itest.data import sql
from itest.data.restoring import LARGE_OBJECTS

ROWS = 3  # shown of each kind and table

KEPT = "SELECT oid::bigint, kind::text, name, listed, copy, last_value, is_called FROM {}.objects ORDER BY oid"
DIFFERENCE = """
    WITH now AS (SELECT ROW({listed})::text AS row FROM ONLY {name}), kept AS ({kept}),
         more AS (TABLE now EXCEPT ALL TABLE kept), less AS (TABLE kept EXCEPT ALL TABLE now)
    SELECT 'not of the baseline', (SELECT count(*) FROM more), ARRAY(TABLE more LIMIT {rows})
    UNION ALL SELECT 'missing', (SELECT count(*) FROM less), ARRAY(TABLE less LIMIT {rows})
"""


class Kept(NamedTuple):
    """An object of the baseline. listed: columns; copy: the table of its rows, or empty."""

    oid: int
    kind: str
    name: str
    listed: str
    copy: str
    last_value: int
    is_called: bool


def rows(conn: Connection, baseline: str) -> list[str]:
    """A line for a row too many or missing (a few of each table) and for a sequence elsewhere, in one snapshot.

    A table that is gone, or has other columns, is left to whoever compares the catalogue.
    """
    lines: list[str] = []
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with conn.cursor(row_factory=class_row(Kept)) as cursor:
            objects = cursor.execute(KEPT.format(baseline).encode()).fetchall()
        for one in objects:
            try:
                with conn.transaction():
                    lines += _sequence(conn, one) if one.kind == "S" else _rows(conn, one)
            except (UndefinedTable, UndefinedColumn, ObjectNotInPrerequisiteState):
                continue
        lines += _large_objects(conn, baseline)
    return lines


def _rows(conn: Connection, one: Kept) -> Iterator[str]:
    kept = f"SELECT ROW({one.listed})::text FROM {one.copy}" if one.copy else "SELECT NULL::text WHERE false"
    asked = DIFFERENCE.format(listed=one.listed, name=one.name, kept=kept, rows=ROWS)
    for what, count, shown in conn.execute(asked.encode()).fetchall():
        yield from (f"{one.name}: row {what}: {sql.clip(row)}" for row in shown)
        if count > len(shown):
            yield f"{one.name}: {count - len(shown)} more rows {what}"


def _sequence(conn: Connection, one: Kept) -> Iterator[str]:
    value, called = conn.execute(f"SELECT last_value, is_called FROM {one.name}".encode()).fetchone() or (0, False)
    if (value, called) != (one.last_value, one.is_called):
        now, then = (f"{at}{'' if used else ', not yet used'}" for at, used in ((value, called), one[-2:]))
        yield f"sequence {one.name}: at {now}; in the baseline at {then}"


def _large_objects(conn: Connection, baseline: str) -> Iterator[str]:
    kept: dict[int, str] = dict(conn.execute(f"SELECT oid, digest FROM {baseline}.large_objects".encode()).fetchall())
    now: dict[int, str] = dict(conn.execute(LARGE_OBJECTS.encode()).fetchall())
    yield from (f"large object {oid}: not of the baseline" for oid in now.keys() - kept.keys())
    yield from (f"large object {oid}: missing" for oid in kept.keys() - now.keys())
    yield from (f"large object {oid}: other content" for oid in now.keys() & kept.keys() if now[oid] != kept[oid])
