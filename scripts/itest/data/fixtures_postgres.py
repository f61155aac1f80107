"""Fixtures for PostgreSQL: SQL and JSON files in one transaction, in an order that foreign keys allow, or not at all.

Foreign keys, constraints and triggers stay on: a fixture that production would refuse is refused here, by row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import Connection, RawCursor
from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from itest.data import fixtures_rows, sql
from itest.data.datafile import DataFile
from itest.data.fixtures_json import Row, Table
from itest.data.fixtures_rows import Target
from itest.errors import ItestError

LOCK_TIMEOUT = 10.0  # seconds to wait for a lock that another session holds

FOREIGN_KEY_VIOLATION = "23503"
UNIQUE_VIOLATION = "23505"

# Every sequence that feeds an integer column, as identity or by a default, is set to the column's largest value where
# it is behind; a shared sequence to the largest of all. Values outside the sequence's own bounds can't collide with it.
ADVANCE_SEQUENCES = """
DO $$
DECLARE
    fed record;
    top numeric;
BEGIN
    FOR fed IN
        SELECT s.seqrelid::regclass AS sequence, s.seqmin, s.seqmax, c.oid::regclass AS tab, a.attname AS col,
               CASE WHEN s.seqincrement > 0 THEN 'max' ELSE 'min' END AS furthest, sign(s.seqincrement) AS way
        FROM (SELECT f.adrelid, f.adnum, d.refobjid FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
              WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
              UNION SELECT refobjid, refobjsubid, objid FROM pg_depend
              WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype = 'i'
             ) AS feeds (tab, col, sequence)
        JOIN pg_sequence s ON s.seqrelid = feeds.sequence
        JOIN pg_class c ON c.oid = feeds.tab AND c.relkind IN ('r', 'p')
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = feeds.col
        WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
          AND (c.relkind = 'p' OR pg_relation_size(c.oid) > 0)
    LOOP
        EXECUTE format('SELECT %s(%I) FROM %s', fed.furthest, fed.col, fed.tab) INTO top;
        IF top BETWEEN fed.seqmin AND fed.seqmax THEN
            EXECUTE format('SELECT setval(%L, trunc($1)::bigint) FROM %s WHERE ($1 - last_value) * $2 >= 0',
                           fed.sequence, fed.sequence) USING top, fed.way;
        END IF;
    END LOOP;
END $$
"""


def load(dsn: str, files: Sequence[tuple[DataFile, Sequence[Table]]]) -> int:
    """Load files in order: SQL files (without tables) as they are, JSON tables in foreign-key order. Returns how many
    rows the JSON files held. All or nothing.

    Raises ItestError (data) with file, line or row, and PostgreSQL's own message.
    """
    with sql.connect(dsn, "itest seed", lock_timeout=LOCK_TIMEOUT) as conn, conn.transaction():
        loaded: list[tuple[DataFile, Target]] = []
        for file, tables in files:
            if file.path.suffix == ".sql":
                _run_sql(conn, file, after_json=bool(loaded))
            else:
                loaded.extend((file, target) for target in _load_tables(conn, file, tables))
        _check_deferred(conn, loaded)
        conn.execute(ADVANCE_SEQUENCES)  # last: setval is not undone by a rollback
    return sum(len(table.rows) for _, tables in files for table in tables)


def _run_sql(conn: Connection, file: DataFile, *, after_json: bool) -> None:
    try:
        sql.run(conn, file)
    except ItestError as error:
        if after_json and f"SQLSTATE: {UNIQUE_VIOLATION}" in error.message:
            error.hint += f"; sequences pass the ids of JSON files once all are loaded, so {file.path} gives its own"
        raise


def _load_tables(conn: Connection, file: DataFile, tables: Sequence[Table]) -> list[Target]:
    filled = [target for target in fixtures_rows.find(conn, file, tables) if target.table.rows]
    by_oid = {target.oid: target for target in filled}
    for group in fixtures_rows.in_order({target.oid: target.parents for target in filled}):
        targets = [by_oid[oid] for oid in group]
        try:
            with conn.transaction():
                fixtures_rows.insert(conn, targets)
        except psycopg.Error as error:
            raise _blame(conn, file, targets, error) from error
    return filled


def _check_deferred(conn: Connection, loaded: Sequence[tuple[DataFile, Target]]) -> None:
    """Make deferred constraints speak now. They name table and key, but no file."""
    try:
        with conn.transaction():
            conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.Error as error:
        said = error.diag
        for file, target in loaded:
            if (target.schema, target.name) == (said.schema_name, said.table_name):
                guilty = _holder_of_key(conn, [target], error)
                if guilty:
                    raise _accuse(file, target.table, guilty, error) from error
        evidence = "\n".join([f"fixtures: {said.message_primary}", *sql.details(said)])
        hint = f"correct the rows of {said.table_name} in the SQL fixtures; nothing was loaded"
        raise ItestError("data", evidence, hint=hint, cause="fixture") from error


def _blame(conn: Connection, file: DataFile, targets: Sequence[Target], error: psycopg.Error) -> ItestError:
    """The row that an insert of several failed for: slower, and only now."""
    if isinstance(error, LockNotAvailable):
        return sql.failure(file, error, "waited too long: ", line=targets[0].table.line, evidence=sql.holders(conn))
    guilty = None
    cyclic = len(targets) > 1 or targets[0].oid in targets[0].parents
    if not (cyclic and error.sqlstate == FOREIGN_KEY_VIOLATION):  # there a row alone may lack what a later one brings
        guilty = _first_that_fails(conn, targets, error)
    guilty = guilty or _holder_of_key(conn, targets, error)
    return _accuse(file, targets[0].table, guilty, error)


def _first_that_fails(conn: Connection, targets: Sequence[Target], error: psycopg.Error) -> tuple[Table, int] | None:
    """The first row that, inserted alone after those before it, meets the same error."""
    for target in targets:
        for number, row in enumerate(target.table.rows, start=1):
            try:
                with conn.transaction():
                    fixtures_rows.insert(conn, [_only(target, row)])
            except psycopg.Error as again:
                if _gist(again) == _gist(error):
                    return target.table, number
    return None


def _holder_of_key(conn: Connection, targets: Sequence[Target], error: psycopg.Error) -> tuple[Table, int] | None:
    """The row whose values are those of `DETAIL: Key (columns)=(values) …`, which key violations end with.

    Of a duplicate within the file it is the second that is one too many.
    """
    detail = re.match(r"Key \((?P<columns>.*?)\)=\((?P<values>.*)\) ", error.diag.message_detail or "", re.DOTALL)
    target = next((target for target in targets if target.name == error.diag.table_name), None)
    columns = [name.strip('"') for name in detail["columns"].split(", ")] if detail else []
    if not detail or not target or not set(columns) <= set(target.columns):
        return None
    shown = SQL(", ").join(SQL("r.{}::text").format(Identifier(name)) for name in columns)
    query = SQL("SELECT x.n FROM {} WHERE concat_ws(', ', {}) = $2 ORDER BY x.n LIMIT $3").format(
        fixtures_rows.as_rows(target, columns, 1), shown
    )
    wanted = 1 if error.sqlstate == FOREIGN_KEY_VIOLATION else 2
    found = RawCursor(conn).execute(query, [target.table.text, detail["values"], wanted]).fetchall()
    return (target.table, found[-1][0]) if found else None


def _accuse(file: DataFile, table: Table, guilty: tuple[Table, int] | None, error: psycopg.Error) -> ItestError:
    if guilty is None:
        return sql.failure(file, error, f"{error.diag.table_name or table.name}: ", line=table.line)
    table, number = guilty
    row = table.rows[number - 1]
    return sql.failure(file, error, f"{table.name} row {number}: ", line=row.line, evidence=f"  {sql.clip(row.text)}")


def _only(target: Target, row: Row) -> Target:
    return replace(target, table=replace(target.table, rows=(row,)))


def _gist(error: psycopg.Error) -> tuple[Any, ...]:
    said = error.diag
    return said.sqlstate, said.constraint_name, said.column_name, said.message_primary
