"""Rows of JSON fixtures on their way into tables: which tables and columns they mean, their order, and the statement.

PostgreSQL converts every value itself, by the column's type, from the JSON text as it stands in the file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from psycopg import Connection, RawCursor
from psycopg.sql import SQL, Composed, Identifier

from itest.data.datafile import DataFile
from itest.data.fixtures_json import Table
from itest.suite.schema import nearest

T = TypeVar("T", bound=Hashable)

# One row a table that the file may mean: its columns, and the tables that it refers to. A name without schema is looked
# up in search_path, as in SQL.
CATALOGUE = """
    SELECT name, c.oid, n.nspname, c.relname,
           (SELECT coalesce(jsonb_object_agg(a.attname, jsonb_build_array(
                format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attidentity <> '' THEN
                    format('nextval(%L::regclass)',
                           pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname))
                WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
                a.attgenerated <> '')), '{}')
            FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           ARRAY(SELECT confrelid FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f')
    FROM unnest($1::text[]) AS name
    JOIN pg_class c ON c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace AND (
         (c.relname = name AND pg_table_is_visible(c.oid)) OR n.nspname || '.' || c.relname = name)
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
NAMES = """
    SELECT CASE WHEN pg_table_is_visible(c.oid) THEN relname ELSE nspname || '.' || relname END
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p')
      AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'itest_migrated', 'itest_seeded')
      AND relname <> 'itest_migrations'
"""


class Column(NamedTuple):
    """type and default as SQL; an identity's default is its sequence. generated: takes no value."""

    type: str
    default: str | None
    generated: bool


@dataclass(frozen=True)
class Target:
    """A table of the database and the rows that a file has for it.

    parents: oids of the tables that it refers to.
    """

    table: Table
    oid: int
    schema: str
    name: str
    columns: Mapping[str, Column]
    parents: frozenset[int]


def find(conn: Connection, file: DataFile, tables: Sequence[Table]) -> list[Target]:
    """The tables of the database that a file names. Raises ItestError (data) for an unknown table or column."""
    found = {row[0]: row[1:] for row in RawCursor(conn).execute(CATALOGUE, [[table.name for table in tables]])}
    targets: dict[int, Target] = {}
    for table in tables:
        if table.name not in found:
            names = [name for (name,) in conn.execute(NAMES)]
            raise file.error(f"no table {table.name}", line=table.line, hint=nearest(table.name, names))
        oid, schema, name, columns, parents = found[table.name]
        if oid in targets:
            problem = f"{targets[oid].table.name} and {table.name} are the same table"
            raise file.error(problem, line=table.line, hint="merge the two lists of rows")
        named = {column: Column(*of) for column, of in columns.items()}
        targets[oid] = Target(table, oid, schema, name, named, frozenset(parents))
        _check_columns(file, targets[oid])
    return list(targets.values())


def _check_columns(file: DataFile, target: Target) -> None:
    for number, row in enumerate(target.table.rows, start=1):
        unknown = next((key for key in row.keys if key not in target.columns), None)
        if unknown is not None:
            problem = f"{target.table.name} row {number}: no column {unknown}"
            raise file.error(problem, line=row.line, hint=nearest(unknown, target.columns))


def insert(conn: Connection, targets: Sequence[Target]) -> None:
    """Insert all rows of some tables in one statement: foreign keys are checked at its end, so cycles are no matter."""
    statements = [_statement(target, number) for number, target in enumerate(targets, start=1)]
    with_ = [SQL("{} AS ({})").format(Identifier(f"t{n}"), each) for n, each in enumerate(statements[:-1], start=1)]
    query = SQL("WITH {} {}").format(SQL(", ").join(with_), statements[-1]) if with_ else statements[-1]
    RawCursor(conn).execute(query, [target.table.text for target in targets])


def _statement(target: Target, parameter: int) -> Composed:
    """INSERT of the rows in the JSON array that is parameter `$n`, in their order.

    A column that a row leaves out gets its default, one that is null gets NULL.
    """
    rows = target.table.rows
    used = [name for name in target.columns if any(name in row.keys for row in rows)]
    used = used or [name for name, column in target.columns.items() if not column.generated][:1]
    values = []
    for name in used:
        default = target.columns[name].default
        value = SQL("r.{}").format(Identifier(name))
        if default is not None and not all(name in row.keys for row in rows):
            left_out = SQL("CASE WHEN x.e -> {} IS NULL THEN {} ELSE {} END")
            value = left_out.format(name, SQL(default), value)
        values.append(value)
    return SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY x.n").format(
        Identifier(target.schema, target.name),
        SQL(", ").join(map(Identifier, used)),
        SQL(", ").join(values),
        as_rows(target, used, parameter),
    )


def as_rows(target: Target, used: Iterable[str], parameter: int) -> Composed:
    """The rows of parameter `$n` as `r`, with `x.e` for the JSON object and `x.n` for the row's number."""
    types = [SQL("{} {}").format(Identifier(name), SQL(target.columns[name].type)) for name in used]
    return SQL("json_array_elements({}::json) WITH ORDINALITY AS x(e, n), json_to_record(x.e) AS r({})").format(
        SQL(f"${parameter}"), SQL(", ").join(types)
    )


def in_order(parents: Mapping[T, Iterable[T]]) -> list[list[T]]:
    """Groups such that each comes after all groups that it refers to; members of a cycle share a group.

    A member's closure, all that it reaches, is a proper subset of that of whoever refers to it from outside its cycle,
    and equal to that of its fellows in the cycle: sorting by its size is enough.
    """
    groups: dict[frozenset[T], list[T]] = {}
    closures = {member: _closure(member, parents) for member in parents}
    for member in sorted(parents, key=lambda member: len(closures[member])):
        groups.setdefault(closures[member], []).append(member)
    return list(groups.values())


def _closure(start: T, parents: Mapping[T, Iterable[T]]) -> frozenset[T]:
    reached, left = {start}, [start]
    while left:
        found = {parent for parent in parents[left.pop()] if parent in parents} - reached
        reached |= found
        left.extend(found)
    return frozenset(reached)
