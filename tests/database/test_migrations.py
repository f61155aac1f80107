"""Migrations forward, on a database of their own: from nothing to the newest, and over data that is already there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from itest.data import migrate
from itest.data.migrations import discover

ROOT = Path(__file__).parents[2]
COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
"""


@pytest.fixture
def migrations():
    return discover([Path("migrations/shop")], root=ROOT)


def test_from_nothing_they_lead_to_the_schema_that_this_suite_runs_on(db, empty_database, migrations):
    migrate.apply(empty_database, migrations)

    with psycopg.connect(empty_database) as migrated:
        assert migrated.execute(COLUMNS).fetchall() == db.execute(COLUMNS).fetchall()


def test_a_second_time_there_is_nothing_to_do(empty_database, migrations):
    assert [applied.migration for applied in migrate.apply(empty_database, migrations)] == migrations

    assert migrate.apply(empty_database, migrations) == []


def test_they_leave_no_index_behind_that_is_not_valid(empty_database, migrations):
    migrate.apply(empty_database, migrations)

    with psycopg.connect(empty_database) as migrated:  # a CREATE INDEX CONCURRENTLY that fails leaves one
        assert migrated.execute("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid").fetchall() == []


def test_version_6_keeps_the_orders_there_are_and_adds_up_their_totals(empty_database, migrations):
    migrate.apply(empty_database, [migration for migration in migrations if migration.version < 6])
    with psycopg.connect(empty_database) as old:
        old.execute("INSERT INTO users (id, email, password_hash) VALUES (1, 'old@example.com', 'scrypt$')")
        old.execute("INSERT INTO items (id, sku, name, price) VALUES (1, 'CUP', 'Cup', 9.99), (2, 'TEA', 'Tea', 3.10)")
        old.execute("INSERT INTO orders (id, user_id, status) VALUES (1, 1, 'shipped'), (2, 1, 'cancelled')")
        old.execute("INSERT INTO order_lines VALUES (1, 1, 1, 2, 9.99), (1, 2, 2, 1, 3.10)")

    migrate.apply(empty_database, [migration for migration in migrations if migration.version <= 6])

    with psycopg.connect(empty_database) as new:
        orders = new.execute("SELECT id, status, total FROM orders ORDER BY id").fetchall()
        assert orders == [(1, "shipped", Decimal("23.08")), (2, "cancelled", Decimal("0.00"))]
        assert new.execute("SELECT count(*) FROM order_lines").fetchone() == (2,)
