"""What the schema itself refuses, whatever an application forgets to check."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import psycopg
import pytest
from psycopg import errors

REFUSED = [
    ("INSERT INTO items (sku, name, price) VALUES ('MUG-RED', 'Mug', 0)", "items_price_is_positive"),
    ("INSERT INTO items (sku, name, price) VALUES ('MUG-RED', ' ', 8)", "items_name_is_not_blank"),
    ("INSERT INTO items (sku, name, price) VALUES ('mug red', 'Mug', 8)", "items_sku_is_a_code"),
    ("INSERT INTO items (sku, name, price) VALUES ('MUG-BLUE', 'Mug', 8)", "items_sku_key"),
    ("UPDATE items SET stock = stock - 1 WHERE sku = 'POSTER-SOLD'", "items_stock_is_not_negative"),
    ("UPDATE users SET password_hash = 'letmein'", "users_password_is_hashed"),
    ("UPDATE users SET email = 'nobody'", "users_email_is_an_address"),
    ("UPDATE order_lines SET quantity = 0", "order_lines_quantity_is_positive"),
    ("UPDATE order_lines SET item_id = 1", "order_lines_pkey"),
    ("UPDATE orders SET total = -1", "orders_total_is_not_negative"),
    ("INSERT INTO orders (user_id, total) VALUES (999, 0)", "orders_user_id_fkey"),
    ("DELETE FROM items WHERE sku = 'MUG-BLUE'", "order_lines_item_id_fkey"),
    ("DELETE FROM users WHERE email = 'ada@example.com'", "orders_user_id_fkey"),
]


@pytest.mark.parametrize(("statement", "constraint"), REFUSED, ids=[constraint for _, constraint in REFUSED])
def test_a_row_that_makes_no_sense_is_refused_by_name(db, statement, constraint):
    with pytest.raises(psycopg.IntegrityError) as refusal:
        db.execute(statement)

    assert refusal.value.diag.constraint_name == constraint


def test_a_statement_is_refused_as_a_whole(db):
    with pytest.raises(errors.CheckViolation):
        db.execute("UPDATE items SET stock = stock - 1")  # fine for all but the poster, which is sold out

    assert db.execute("SELECT stock FROM items WHERE sku = 'MUG-BLUE'").fetchone() == (40,)


def test_a_role_that_nobody_defined_is_refused(db):
    with pytest.raises(errors.InvalidTextRepresentation, match="user_role"):
        db.execute("UPDATE users SET role = 'owner'")


def test_one_address_is_one_account_however_it_is_written(make_user):
    user = make_user()

    with pytest.raises(errors.UniqueViolation, match="users_email_key"):
        make_user(email=user.email.upper())


def test_a_deleted_account_takes_its_sessions_and_tokens_along(db, factory, make_user):
    user = make_user()
    factory.create("refresh_tokens", session=factory.create("sessions", user=user))

    db.execute("DELETE FROM users WHERE id = %s", [user.id])

    assert db.execute("SELECT count(*) FROM refresh_tokens").fetchone() == (0,)


def test_two_order_lines_change_places_within_a_transaction(db):
    with db.transaction():
        db.execute("UPDATE order_lines SET position = 2 WHERE (order_id, item_id) = (1, 1)")  # both second for now
        db.execute("UPDATE order_lines SET position = 1 WHERE (order_id, item_id) = (1, 2)")

    lines = db.execute("SELECT item_id FROM order_lines WHERE order_id = 1 ORDER BY position")
    assert lines.fetchall() == [(2,), (1,)]


def test_two_order_lines_in_one_place_are_refused_at_commit(connect):
    writer = connect()
    writer.execute("UPDATE order_lines SET position = 1 WHERE order_id = 1")

    with pytest.raises(errors.UniqueViolation, match="order_lines_position_key"):
        writer.commit()


def test_money_is_exact_to_the_cent(db):
    assert db.execute("SELECT 3 * price FROM items WHERE sku = 'PENCIL-HB'").fetchone() == (Decimal("2.85"),)


def test_a_time_is_the_same_instant_wherever_it_was_written_down(db):
    (created_at,) = db.execute("SELECT created_at FROM orders WHERE id = 1").fetchone()  # seeded as 09:30+01:00

    assert created_at == datetime(2024, 3, 1, 8, 30, tzinfo=timezone.utc)


def test_the_first_row_after_the_seed_gets_an_id_of_its_own(factory):
    assert factory.create("items").id == 6
