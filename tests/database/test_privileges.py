"""What the application's own role may do, and what it can't even by mistake."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors


@pytest.fixture
def as_app(db, stack):
    """A connection with the role that the application uses."""
    password = stack.env("postgres")["APP_DB_PASSWORD"]
    with psycopg.connect(stack.dsn("postgres", user="app", password=password), autocommit=True) as connection:
        yield connection


def test_the_application_is_not_a_superuser(as_app):
    role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"

    assert as_app.execute(role).fetchone() == (False, False, False, False)


def test_the_application_reads_and_writes_items(as_app):
    as_app.execute("INSERT INTO items (sku, name, price) VALUES ('MUG-RED', 'Mug, red', 8.50)")

    assert as_app.execute("DELETE FROM items WHERE sku = 'MUG-RED'").rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE notes (id int)",
        "ALTER TABLE items ADD COLUMN colour text",
        "DROP TABLE items",
        "TRUNCATE items CASCADE",
        "DELETE FROM orders",
        "UPDATE order_lines SET unit_price = 0",
        "UPDATE users SET role = 'admin'",
        "UPDATE refresh_tokens SET expires_at = 'infinity'",
        "UPDATE sessions SET user_id = 1",
        "SELECT * FROM itest_migrations",
        "SELECT rolpassword FROM pg_authid",
        "COPY items TO PROGRAM 'cat'",
    ],
)
def test_the_application_may_not(as_app, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        as_app.execute(statement)


def test_the_application_marks_a_token_as_used_and_changes_nothing_else_of_it(as_app):
    assert as_app.execute("UPDATE refresh_tokens SET used_at = now()").rowcount == 0  # allowed; there is none
