"""Migrations as a subject of tests, in databases of their own: from nothing, over old rows, and back again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from itest.data import migrate
from itest.data.migrations import discover

ROOT = Path(__file__).parents[2]
WITH_A_WAY_BACK = [migration.version for migration in discover([Path("migrations/shop")], root=ROOT) if migration.down]

# Whatever a migration may change, by name: a column that was dropped and added again comes last in its table.
SCHEMA = """
    SELECT table_name || '.' || column_name, concat_ws(' ', data_type, numeric_precision, numeric_scale, is_nullable,
                                                       column_default, is_identity)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT oid::regclass::text, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT attrelid::regclass || '.' || attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL
    UNION ALL
    SELECT enumtypid::regtype || '.' || enumlabel, enumsortorder::text FROM pg_enum
    ORDER BY 1, 2
"""
APPLICATION_S = ("users", "sessions", "refresh_tokens", "items", "orders", "order_lines")


def schema(connection):
    return connection.execute(SCHEMA).fetchall()


def rows(connection):
    return {
        table: connection.execute(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY t").fetchall()
        for table in APPLICATION_S
    }


def test_from_nothing_they_lead_to_the_schema_that_this_suite_runs_on(db, database_at, migrations):
    assert schema(database_at(migrations[-1].version).conn) == schema(db)


def test_a_second_time_there_is_nothing_to_do(database_at, migrations):
    database = database_at(0)
    assert database.migrate(migrations) == migrations

    assert database.migrate(migrations) == []


def test_they_leave_no_index_behind_that_is_not_valid(database_at, migrations):
    newest = database_at(migrations[-1].version).conn  # a CREATE INDEX CONCURRENTLY that fails leaves one

    assert newest.execute("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid").fetchall() == []


def test_version_6_keeps_the_orders_there_are_and_adds_up_their_totals(database_at, migrations):
    database = database_at(5)
    shipped = database.factory.create("orders", status="shipped")
    database.factory.create("order_lines", order=shipped, quantity=2, unit_price="9.99")
    database.factory.create("order_lines", order=shipped, quantity=1, unit_price="3.10")
    empty = database.factory.create("orders", status="cancelled")

    database.migrate([migration for migration in migrations if migration.version <= 6])

    orders = database.conn.execute("SELECT id, status, total FROM orders ORDER BY id").fetchall()
    assert orders == [(shipped.id, "shipped", Decimal("23.08")), (empty.id, "cancelled", Decimal("0.00"))]
    assert database.conn.execute("SELECT count(*) FROM order_lines").fetchone() == (2,)


@pytest.mark.parametrize("version", WITH_A_WAY_BACK)
def test_down_leads_back_to_where_it_came_from_and_keeps_the_rows(database_at, migrations, version):
    up_to = [migration for migration in migrations if migration.version <= version]
    database = database_at(version - 1)
    database.factory.create_many("order_lines", 3)
    schema_before, rows_before = schema(database.conn), rows(database.conn)
    database.migrate(up_to)
    assert schema(database.conn) != schema_before

    migrate.down(database.dsn, up_to)

    assert schema(database.conn) == schema_before
    assert rows(database.conn) == rows_before
    assert database.migrate(up_to) == up_to[-1:], "and forward once more"
