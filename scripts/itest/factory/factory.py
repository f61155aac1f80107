"""Rows that tests make up on the fly: a test says what it is about, the live catalogue says what else a row needs.

    user = factory.create("users", role="admin")
    order = factory.create("orders", user=user)

The same test makes up the same values on every machine and in every order: they are drawn from its own name. Rows are
written through the test's own connection, so they go the way of all that a test leaves behind.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Connection, errors

from itest.data.sql import clip, details
from itest.data.template import OURS
from itest.errors import ItestError
from itest.factory import catalogue, checks, values
from itest.factory.catalogue import Catalogue, Column, Table
from itest.factory.insert import insert
from itest.factory.quiet import quiet
from itest.factory.row import Row, Unknown, columns_of, table_of
from itest.factory.values import Maker

if TYPE_CHECKING:
    from faker import Faker

ATTEMPTS = 20  # draws, where a row that was made up meets one that is there
DRAWS = 100  # of one value, until it is none that this test has made up before
PARAMETERS = 65_000  # of one statement: the protocol counts them in 16 bits
REFUSED = (errors.UniqueViolation, errors.CheckViolation, errors.ExclusionViolation)
# What says that somebody changed the schema since the catalogue was read.
STALE = (
    Unknown,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedObject,
    errors.NotNullViolation,
    errors.DatatypeMismatch,
)


@dataclass
class Known:
    """What is known of one database: its catalogue, and how columns are filled, by table and name."""

    catalogue: Catalogue
    makers: dict[tuple[int, str], Maker] = field(default_factory=dict)


@dataclass
class Kept:
    """What one test's factory leaves to the next one's: the databases by server and name, and the one Faker."""

    databases: dict[tuple[str, int, str], Known] = field(default_factory=dict)

    @cached_property
    def fake(self) -> Faker:
        from faker import Faker  # 55 ms

        return Faker(use_weighting=False)


class Factory:
    """Makes up rows. conn: where they are written; seed: what values are drawn from, such as a test's id."""

    def __init__(self, conn: Connection[Any], seed: str, kept: Kept | None = None) -> None:
        self._conn = conn
        self._seed = seed
        self._kept = kept or Kept()
        self._defaults: dict[str, dict[str, Any]] = defaultdict(dict)
        self._used: dict[tuple[str, str], set[str]] = defaultdict(set)

    @cached_property
    def fake(self) -> Faker:
        """Faker, seeded for this test: `factory.fake.sentence()`."""
        fake = self._kept.fake
        fake.seed_instance(_number(self._seed))
        return fake

    def create(self, table: str, /, **columns: Any) -> Row:
        """Insert one row and return all its columns; see create_many."""
        return self.create_many(table, 1, **columns)[0]

    def create_many(self, table: str, n: int, /, **columns: Any) -> list[Row]:
        """Insert n rows, each with parents of its own unless they are given, in one round trip a table.

        columns: values by column; a parent's row by its column or by that without `_id` (`user=row`); a callable is
        called with Faker for each row. What is NOT NULL and has no default is made up, all else is left to PostgreSQL.
        Raises ItestError: usage for a name that the schema doesn't know, data where what was made up is refused.
        What PostgreSQL says to a value that was given is raised as it comes, a psycopg error.
        """
        known, fresh = self._known()
        try:
            return self._named(known, table, n, columns)
        except STALE:
            if fresh:
                raise
            self._kept.databases.clear()
        return self._named(self._known()[0], table, n, columns)  # out here: the stale error is no context of the next

    def defaults(self, table: str, /, **columns: Any) -> None:
        """From now on in this test, what a table's rows have where nothing else is said; as parents, too."""
        self._defaults[table] |= columns

    def _known(self) -> tuple[Known, bool]:
        """What is known of the connection's database, and whether it has been read just now."""
        info = self._conn.info
        # A clone has the catalogue of what it was cloned from; to read it in a session that is new takes 50 ms.
        key = (info.host, info.port, info.dbname.partition(OURS)[0])
        fresh = key not in self._kept.databases
        if fresh:
            self._kept.databases[key] = Known(catalogue.read(self._conn))
        return self._kept.databases[key], fresh

    def _named(self, known: Known, name: str, n: int, columns: Mapping[str, Any]) -> list[Row]:
        table = table_of(known.catalogue, name)
        given = columns_of(known.catalogue, table, columns)
        return self._rows(known, table, [dict(given) for _ in range(n)], ())

    def _rows(self, known: Known, table: Table, rows: list[dict[str, Any]], children: Sequence[Table]) -> list[Row]:
        """Insert rows of which some columns are given, the same in each. children: those that this is a parent for."""
        if not rows:
            return []
        defaults: dict[str, Any] = {}
        for name, columns in self._defaults.items():
            if table_of(known.catalogue, name) is table:
                defaults |= columns_of(known.catalogue, table, columns)
        rows = [
            {name: value(self.fake) if callable(value) else value for name, value in {**defaults, **row}.items()}
            for row in rows
        ]
        self._add_parents(known, table, rows, (*children, table))
        made = [column for column in table.columns.values() if column.required and column.name not in rows[0]]
        makers = self._makers(known, table, made)
        size = PARAMETERS // (len(rows[0]) + len(made) or 1)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [row for part in parts for row in self._insert_some(table, part, makers)]

    def _add_parents(self, known: Known, table: Table, rows: list[dict[str, Any]], children: Sequence[Table]) -> None:
        """Fill in the foreign keys that no default fills and NULL doesn't satisfy, from parents made for them."""
        for key in sorted(table.foreign_keys, key=lambda key: len(key.columns)):
            missing = [table.columns[name] for name in key.columns if name not in rows[0]]
            if not any(column.required for column in missing) or any(column.nullable for column in missing):
                continue
            parent = known.catalogue.tables[key.parent]
            if parent in children:
                raise _circle(children[children.index(parent) :], missing[0].name)
            pairs = list(zip(key.columns, key.parent_columns, strict=True))
            wanted = [{theirs: row[ours] for ours, theirs in pairs if ours in row} for row in rows]
            for row, made in zip(rows, self._rows(known, parent, wanted, children), strict=True):
                row |= {ours: made[theirs] for ours, theirs in pairs}

    def _makers(self, known: Known, table: Table, columns: Sequence[Column]) -> dict[Column, Maker]:
        """How to fill some columns, found out once a database. Costs no draw, so that a test's values don't depend on
        whether an earlier one has filled the same table."""
        random = self.fake.random  # seeded by now, whether there is anything to find out or not
        new = [column for column in columns if (table.oid, column.name) not in known.makers]
        if new:
            state = random.getstate()
            random.seed(_number(table.name))
            naturals = {column: self._natural(table, column) for column in new}
            checked = {column: make for column, make in naturals.items() if column.checks}
            if checked:
                naturals |= checks.makers(self._conn, self.fake, checked)
            random.setstate(state)
            known.makers |= {(table.oid, column.name): make for column, make in naturals.items()}
        return {column: known.makers[table.oid, column.name] for column in columns}

    def _natural(self, table: Table, column: Column) -> Maker:
        make = values.natural(self.fake, table.name, column.name, column.type, column.unique)
        if make is None:
            problem = f"factory {table.name}.{column.name}: no value of type {column.type.sql} can be made up"
            raise ItestError("usage", problem, hint=_mend(table, [column.name]), cause="factory")
        return make

    def _insert_some(self, table: Table, rows: Sequence[dict[str, Any]], makers: Mapping[Column, Maker]) -> list[Row]:
        """One statement's rows, drawn again where what was made up is refused. The first refusal alone is logged."""
        names = [column.name for column in makers]
        with ExitStack() as again:
            for attempt in range(1, ATTEMPTS + 1):
                full = [{**row, **{one.name: self._draw(table, one, of) for one, of in makers.items()}} for row in rows]
                try:
                    return insert(self._conn, table, full)
                except REFUSED as error:
                    constraint = table.constraints.get(error.diag.constraint_name or "")
                    if not (constraint.columns.intersection(names) if constraint else names):
                        raise
                    if attempt == ATTEMPTS:
                        raise _refused(table, error, {name: full[-1][name] for name in names}) from None
                    if attempt == 1:
                        again.enter_context(quiet(self._conn))
        raise AssertionError("the last attempt returns or raises")

    def _draw(self, table: Table, column: Column, make: Maker) -> str:
        """One value; where it has to be unique, none of those that this test has drawn before, in capitals or not."""
        value = make()
        if column.unique:
            used = self._used[table.name, column.name]
            for _ in range(DRAWS):
                if value.casefold() not in used:
                    break
                value = make()
            used.add(value.casefold())
        return value


def _number(text: str) -> int:
    """The same number for a text on every machine, unlike hash()."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _circle(circle: Sequence[Table], column: str) -> ItestError:
    last = circle[-1]
    way = " needs ".join(f"a row of {table.name}" for table in (*circle, circle[0]))
    hint = f"factory.create({last.name!r}, {column}=…) with one that is there already"
    problem = f"factory {last.name}.{column}: takes no NULL, and {way}"
    return ItestError("usage", problem, hint=hint, cause="factory")


def _mend(table: Table, columns: Iterable[str]) -> str:
    said = f"{table.name!r}, {', '.join(f'{name}=…' for name in columns)}"
    return f"factory.create({said}), or for every row that doesn't say: factory.defaults({said})"


def _refused(table: Table, error: psycopg.Error, made: Mapping[str, Any]) -> ItestError:
    """PostgreSQL's refusal of values that nobody has given."""
    name = error.diag.constraint_name
    constraint = table.constraints.get(name or "")
    of = [column for column in made if constraint and column in constraint.columns] or list(made)
    problem = f"factory {table.name}: what was made up is refused {ATTEMPTS} times: {error.diag.message_primary}"
    evidence = [
        *([f"{constraint.name}: {constraint.definition}"] if constraint else []),
        "made up: " + ", ".join(f"{column} = {clip(str(made[column]))}" for column in of),
        *(line.strip() for line in details(error.diag)),
    ]
    return ItestError("data", problem, hint=_mend(table, of), cause="factory", evidence="\n".join(evidence))
