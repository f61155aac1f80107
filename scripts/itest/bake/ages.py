"""Rows that hold the time of their seeding: in a bake they would be as old as it is, and a test that is green in the
morning would be red in the afternoon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import Connection

from itest.bake import clocks
from itest.bake.inputs import Aging
from itest.data import sqlsplit
from itest.data.baseline import MIGRATED, SEEDED
from itest.data.data import Plan
from itest.data.datafile import DataFile

MEND = "write a fixed time in the fixtures, or set BAKE=0"
MOMENTS = ("date", "timestamp", "timestamptz")
RANGES = ("daterange", "tsrange", "tstzrange")
# udt_name is a domain's own type, and of an array `_` with its element's.
COLUMNS = """
    SELECT o.name, c.relname, quote_ident(i.column_name), i.udt_name, coalesce(i.column_default, '')
    FROM {baseline}.objects o
    JOIN pg_class c ON c.oid = o.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN information_schema.columns i ON (i.table_schema, i.table_name) = (n.nspname, c.relname)
    WHERE o.rows > 0 AND o.kind = 'r' AND i.udt_name = ANY (%s)
    UNION ALL
    SELECT o.name, c.relname, quote_ident(a.attname), t.typname, ''
    FROM {baseline}.objects o
    JOIN pg_class c ON c.oid = o.oid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE o.rows > 0 AND o.kind = 'm' AND t.typname = ANY (%s)
"""
# What now(), 'today', 'tomorrow' and current_date give, whatever somebody's time zone.
THESE_DAYS = "v >= current_date - 1 AND v < current_date + 2"
# A time of day has no day: only what was made since just before the server started.
SINCE_THE_START = """
    mod(extract(epoch FROM localtime - {column}::time) + 86400, 86400)
    <= extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) + 60
"""


@dataclass(frozen=True)
class Column:
    """A column that holds times, of a table with rows. name, column: as SQL quotes them; table: the bare name; kind:
    its type; default: SQL, or empty."""

    name: str
    table: str
    column: str
    kind: str
    default: str

    @property
    def query(self) -> str:
        """SQL for one row whose time looks like the clock's: the value as text."""
        source = f"SELECT {self.column}::text FROM ONLY {self.name}"
        if self.kind in ("time", "timetz"):
            return f"({source} WHERE {SINCE_THE_START.format(column=self.column)} LIMIT 1)"
        near = THESE_DAYS
        if self.kind in MOMENTS and any(clocks.readings(self.default)):
            default = f"(SELECT ({self.default})::timestamptz)"  # such as now() + interval '30 days'
            near += f" OR v BETWEEN {default} - interval '1 day' AND {default} + interval '1 day'"
        return f"({source}, unnest({self._moments}) v WHERE {near} LIMIT 1)"

    @property
    def _moments(self) -> str:
        """SQL for all that one value says, as an array of timestamptz."""
        if self.kind in RANGES:
            return f"ARRAY[lower({self.column})::timestamptz, upper({self.column})::timestamptz]"
        return f"{self.column}::timestamptz[]" if self.kind[0] == "_" else f"ARRAY[{self.column}::timestamptz]"


def refuse(session: Connection, plan: Plan) -> None:
    """Raise Aging where a seeded database would be another one tomorrow. session: in it, in the zone that seeded it."""
    columns = _columns(session)
    queries = [f"SELECT {number}, ({one.query})" for number, one in enumerate(columns)]
    asked = f"SELECT * FROM ({' UNION ALL '.join(queries)}) found (number, value) WHERE value IS NOT NULL LIMIT 1"
    if queries and (row := session.execute(asked.encode()).fetchone()):
        number, value = row
        one = columns[number]
        where = f"{one.table}.{one.column} is {value}{_of(plan, one.table)}"
        raise Aging(f"{where}, a time of these days, and would age: {MEND}")
    filled = f"SELECT relname FROM {MIGRATED}.objects JOIN pg_class USING (oid) WHERE rows > 0 AND kind <> 'S'"
    tables = [name for (name,) in session.execute(filled.encode()).fetchall()]
    for migration in plan.migrations:
        if told := clocks.in_migration(migration.file, tables):
            raise Aging(f"{told} where it writes rows, and they would age: write a fixed time, or set BAKE=0")


def _columns(session: Connection) -> list[Column]:
    kinds = [*MOMENTS, "time", "timetz", *RANGES, *(f"_{kind}" for kind in MOMENTS)]
    rows = session.execute(COLUMNS.format(baseline=SEEDED).encode(), [kinds, kinds]).fetchall()
    return [Column(*row) for row in rows]


def _of(plan: Plan, table: str) -> str:
    """` (fixtures/…)`, the one file that a table's rows can be from; empty where several name it."""
    found = list(_naming(plan, re.compile(rf"\b{re.escape(table)}\b", re.IGNORECASE)))
    return f" ({found[0].path})" if len(found) == 1 else ""


def _naming(plan: Plan, named: re.Pattern[str]) -> Iterator[DataFile]:
    fixtures = [one.file for one in plan.fixtures if one.kind == "postgres" and named.search(one.file.text)]
    yield from fixtures
    if not fixtures:
        files = (one.file for one in plan.migrations)
        yield from (file for file in files if any(named.search(text) for text in _writing(file)))


def _writing(file: DataFile) -> Iterator[str]:
    pieces = (file.text[piece] for piece in sqlsplit.statements(file.text))
    return (text for text in pieces if clocks.writes(text))
