"""What the live catalogue says about tables, as far as making up a row needs it: one round trip for a whole database.

Nothing is read from migration files: what PostgreSQL holds is what it will judge an INSERT by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import tuple_row
from psycopg.sql import Identifier

# All but PostgreSQL's own, and those of the baselines; a schema that a test has for itself is in its search_path.
TABLES = r"""
    SELECT c.oid, n.nspname, c.relname, pg_table_is_visible(c.oid), a.attnum, a.attname, a.atttypid, a.atttypmod,
           NOT a.attnotnull, a.atthasdef OR a.attidentity <> ''
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
      AND (pg_table_is_visible(c.oid) OR c.relpersistence <> 't' AND n.nspname NOT LIKE 'itest\_%')
      AND (n.nspname, c.relname) <> ('public', 'itest_migrations')
    ORDER BY c.oid, a.attnum
"""
# CHECK constraints of tables and domains, foreign keys, and what partitions take. A foreign key to a partitioned table
# has a copy for each partition, on the same table: they are no keys of their own.
CONSTRAINTS = """
    SELECT k.conrelid, k.contypid, k.contype, k.conname, pg_get_constraintdef(k.oid), pg_get_expr(k.conbin, k.conrelid),
           k.conkey, k.confrelid, k.confkey
    FROM pg_constraint k
    WHERE k.contype IN ('c', 'f') AND (k.conrelid >= 16384 OR k.contypid >= 16384)
      AND NOT EXISTS (SELECT FROM pg_constraint whole WHERE whole.oid = k.conparentid AND whole.conrelid = k.conrelid)
    UNION ALL
    SELECT p.partrelid, 0, 'c', 'its partitions', string_agg(pg_get_expr(c.relpartbound, c.oid), ', '),
           string_agg(coalesce(pg_get_partition_constraintdef(c.oid), 'true'), ' OR '), p.partattrs::int2[], 0, NULL
    FROM pg_partitioned_table p JOIN pg_inherits i ON i.inhparent = p.partrelid JOIN pg_class c ON c.oid = i.inhrelid
    GROUP BY p.partrelid, p.partattrs::int2[]
    ORDER BY 1, 4
"""
# Unique and exclusion constraints, as indexes; of expressions such as lower(email), the columns that they depend on.
UNIQUE = """
    SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid), ARRAY(
               SELECT key FROM unnest(i.indkey::int2[]) AS key WHERE key <> 0
               UNION
               SELECT d.refobjsubid FROM pg_depend d
               WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                 AND d.refobjid = i.indrelid AND d.refobjsubid > 0)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid >= 16384
"""
TYPES = """
    WITH RECURSIVE used(oid) AS (
        SELECT atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT inner_type
        FROM used JOIN pg_type t USING (oid) LEFT JOIN pg_range r ON r.rngtypid = t.oid OR r.rngmultitypid = t.oid,
             unnest(ARRAY[t.typbasetype, t.typelem, r.rngsubtype]) AS inner_type
        WHERE inner_type <> 0)
    SELECT t.oid, t.typname, format_type(t.oid, -1), t.typtype, t.typcategory, t.typbasetype, t.typtypmod,
           t.typnotnull, t.typdefault IS NOT NULL, coalesce(nullif(t.typelem, 0), r.rngsubtype, 0),
           ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder)
    FROM used JOIN pg_type t USING (oid) LEFT JOIN pg_range r ON r.rngtypid = t.oid OR r.rngmultitypid = t.oid
"""


@dataclass(frozen=True)
class Constraint:
    """What can refuse a row. expression: of a CHECK, as SQL over its columns, for a domain over VALUE; else empty."""

    name: str
    definition: str
    columns: frozenset[str]
    expression: str = ""


@dataclass(frozen=True)
class Type:
    """A column's type below its domains. kind and category: pg_type.typtype and typcategory; modifier: its typmod.

    inner: of an array its elements', of a range its bounds'; checks: what its domains demand.
    """

    name: str
    sql: str
    kind: str
    category: str
    modifier: int = -1
    labels: tuple[str, ...] = ()
    inner: Type | None = None
    checks: tuple[Constraint, ...] = ()
    not_null: bool = False
    has_default: bool = False


@dataclass(frozen=True, eq=False)
class Column:
    """required: takes no NULL and fills itself in no way. checks: those that concern this column alone."""

    name: str
    type: Type
    nullable: bool
    required: bool
    unique: bool
    checks: tuple[Constraint, ...]


@dataclass(frozen=True)
class ForeignKey:
    """columns, and the parent's in the same order. parent: its oid."""

    columns: tuple[str, ...]
    parent: int
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """name: as a person writes it, with its schema where search_path doesn't lead there."""

    oid: int
    name: str
    sql: Identifier
    columns: Mapping[str, Column]
    foreign_keys: tuple[ForeignKey, ...]
    constraints: Mapping[str, Constraint]


@dataclass(frozen=True)
class Catalogue:
    """The tables of a database by oid, and by every name that leads to them."""

    tables: Mapping[int, Table]
    names: Mapping[str, Table] = field(repr=False)


def read(conn: Connection[Any]) -> Catalogue:
    """The catalogue as this connection sees it. One round trip."""
    cursor = conn.cursor(row_factory=tuple_row)
    cursor.execute(";".join((TABLES, CONSTRAINTS, UNIQUE, TYPES)))
    attributes, constraints, unique, types = (_results(cursor) for _ in range(4))
    return _Reader(attributes, constraints, unique, types).catalogue()


def _results(cursor: Cursor[Any]) -> list[Any]:
    rows = cursor.fetchall()
    cursor.nextset()
    return rows


class _Reader:
    """Puts the four results together."""

    def __init__(
        self, attributes: Sequence[Any], constraints: Sequence[Any], unique: Sequence[Any], types: Any
    ) -> None:
        self.attributes: dict[int, list[Any]] = defaultdict(list)
        self.names: dict[tuple[int, int], str] = {}  # of columns, by table and number
        for row in attributes:
            self.attributes[row[0]].append(row)
            self.names[row[0], row[4]] = row[5]
        self.constraints: dict[int, list[Any]] = defaultdict(list)  # by table or domain
        for row in constraints:
            self.constraints[row[0] or row[1]].append(row[2:])
        self.unique: dict[int, list[Any]] = defaultdict(list)
        for oid, *rest in unique:
            self.unique[oid].append(rest)
        self.types = {row[0]: row[1:] for row in types}

    def catalogue(self) -> Catalogue:
        tables = {oid: self._table(oid, rows) for oid, rows in self.attributes.items()}
        names = {f"{rows[0][1]}.{rows[0][2]}": tables[oid] for oid, rows in self.attributes.items()}
        names |= {rows[0][2]: tables[oid] for oid, rows in self.attributes.items() if rows[0][3]}
        return Catalogue(tables, names)

    def _table(self, oid: int, rows: Sequence[Any]) -> Table:
        _, schema, name, visible = rows[0][:4]
        checks = [self._check(oid, row) for row in self.constraints[oid] if row[0] == "c"]
        unique = [Constraint(name, text, self._columns(oid, keys)) for name, text, keys in self.unique[oid]]
        columns = [self._column(row, checks, unique) for row in rows]
        return Table(
            oid=oid,
            name=name if visible else f"{schema}.{name}",
            sql=Identifier(name) if visible else Identifier(schema, name),
            columns={column.name: column for column in columns},
            foreign_keys=tuple(self._foreign_key(oid, row) for row in self.constraints[oid] if row[0] == "f"),
            constraints={one.name: one for column in columns for one in column.type.checks}
            | {one.name: one for one in [*checks, *unique]},
        )

    def _column(self, row: Sequence[Any], checks: Sequence[Constraint], unique: Sequence[Constraint]) -> Column:
        name, type_oid, modifier, nullable, fills_itself = row[5:]
        own = self._type(type_oid, modifier)
        own = replace(own, checks=tuple(replace(one, columns=frozenset([name])) for one in own.checks))
        nullable = nullable and not own.not_null
        return Column(
            name=name,
            type=own,
            nullable=nullable,
            required=not nullable and not fills_itself and not own.has_default,
            unique=any(name in one.columns for one in unique),
            checks=own.checks + tuple(one for one in checks if one.columns == {name}),
        )

    def _type(self, oid: int, modifier: int) -> Type:
        name, text, kind, category, base, base_modifier, not_null, has_default, inner, labels = self.types[oid]
        if kind != "d":
            within = self._type(inner, -1) if inner and (category == "A" or kind in "rm") else None
            return Type(name, text, kind, category, modifier, tuple(labels), within)
        below = self._type(base, base_modifier)
        return replace(
            below,
            checks=below.checks + tuple(self._check(0, row) for row in self.constraints[oid]),
            not_null=below.not_null or not_null,
            has_default=below.has_default or has_default,
        )

    def _check(self, table: int, row: Sequence[Any]) -> Constraint:
        _, name, definition, expression, keys, *_ = row
        return Constraint(name, definition, self._columns(table, keys or ()), expression)

    def _foreign_key(self, table: int, row: Sequence[Any]) -> ForeignKey:
        *_, keys, parent, parent_keys = row
        names = tuple(self.names[table, key] for key in keys)
        return ForeignKey(names, parent, tuple(self.names[parent, key] for key in parent_keys))

    def _columns(self, table: int, keys: Sequence[int]) -> frozenset[str]:
        return frozenset(self.names[table, key] for key in keys if (table, key) in self.names)
