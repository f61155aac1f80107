"""One INSERT of rows that a factory has put together, and what PostgreSQL made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection, RawCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier

from itest.factory.catalogue import Column, Table
from itest.factory.row import Row


def insert(conn: Connection[Any], table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Insert rows of the same columns in one round trip. Raises what psycopg raises.

    In a transaction there is a savepoint around it, so that the transaction survives a refusal.
    """
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        conn.execute("SELECT")  # psycopg begins a transaction, which is the caller's to end
    if conn.info.transaction_status == TransactionStatus.IDLE:
        return _execute(conn, table, rows)
    with conn.transaction():
        return _execute(conn, table, rows)


def _execute(conn: Connection[Any], table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    values = [_adapted(table.columns[name], value) for row in rows for name, value in row.items()]
    # Never prepared: a plan would outlive the columns that it returns, where a test changes the table.
    cursor = RawCursor(conn, row_factory=dict_row).execute(_statement(table, rows), values, prepare=False)
    return [Row(table.name, row) for row in cursor.fetchall()]


def _statement(table: Table, rows: Sequence[Mapping[str, Any]]) -> Composed:
    """With a parameter for each value. The id of an identity column may be given, even where it is GENERATED ALWAYS."""
    names = list(rows[0])
    if names:
        casts = [_cast(table.columns[name], rows[0][name]) for name in names]
        numbers = range(1, len(names) * len(rows) + 1)
        marks = [f"${number}{casts[(number - 1) % len(names)]}" for number in numbers]
    else:
        names, marks = [next(iter(table.columns))], ["DEFAULT"] * len(rows)
    groups = (", ".join(marks[start : start + len(names)]) for start in range(0, len(marks), len(names)))
    return SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES {} RETURNING *").format(
        table.sql, SQL(", ").join(map(Identifier, names)), SQL(", ".join(f"({group})" for group in groups))
    )


def _cast(column: Column, value: object) -> str:
    """A list of strings is text[] to psycopg; a column of another type wouldn't take that. A string fits any type."""
    return f"::{column.type.sql}" if isinstance(value, list) else ""


def _adapted(column: Column, value: object) -> object:
    """A column of JSON takes what json.dumps does, but a string as the JSON text that it is."""
    return json.dumps(value) if column.type.name in ("json", "jsonb") and isinstance(value, (dict, list)) else value
