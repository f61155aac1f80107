"""What each isolation level promises, step by step: two connections, one thread, no race.

The anomalies have the names of the PostgreSQL manual, section "Transaction Isolation".
"""

from __future__ import annotations

import pytest
from psycopg import IsolationLevel, Rollback, errors

STOCK = "SELECT stock FROM items WHERE sku = 'MUG-BLUE'"
SET_STOCK = "UPDATE items SET stock = %s WHERE sku = 'MUG-BLUE'"


def test_what_is_not_committed_nobody_else_sees(db, connect):
    writer = connect()

    writer.execute(SET_STOCK, [39])

    assert db.execute(STOCK).fetchone() == (40,)
    writer.commit()
    assert db.execute(STOCK).fetchone() == (39,)


def test_a_rollback_leaves_no_trace(db, connect):
    writer = connect()

    writer.execute(SET_STOCK, [39])
    writer.rollback()

    assert db.execute(STOCK).fetchone() == (40,)


def test_a_savepoint_undoes_a_part_and_keeps_the_rest(db):
    with db.transaction():
        db.execute(SET_STOCK, [39])
        with db.transaction() as savepoint:
            db.execute("UPDATE items SET price = 1 WHERE sku = 'LAMP-LAST'")
            raise Rollback(savepoint)

    assert db.execute(STOCK).fetchone() == (39,)
    assert db.execute("SELECT price::text FROM items WHERE sku = 'LAMP-LAST'").fetchone() == ("59.00",)


def test_read_committed_sees_between_two_statements_what_others_commit(db, connect):
    reader = connect(IsolationLevel.READ_COMMITTED)

    assert reader.execute(STOCK).fetchone() == (40,)
    db.execute(SET_STOCK, [39])

    assert reader.execute(STOCK).fetchone() == (39,)


def test_repeatable_read_keeps_to_the_snapshot_of_its_first_statement(db, connect):
    reader = connect(IsolationLevel.REPEATABLE_READ)

    assert reader.execute(STOCK).fetchone() == (40,)
    db.execute(SET_STOCK, [39])
    db.execute("DELETE FROM items WHERE sku = 'PENCIL-HB'")

    assert reader.execute(STOCK).fetchone() == (40,)
    assert reader.execute("SELECT count(*) FROM items").fetchone() == (5,)
    reader.commit()
    assert reader.execute(STOCK).fetchone() == (39,)


def test_read_committed_loses_an_update_that_was_computed_outside(db, connect):
    mine, yours = connect(IsolationLevel.READ_COMMITTED), connect(IsolationLevel.READ_COMMITTED)
    (my_stock,), (your_stock,) = mine.execute(STOCK).fetchone(), yours.execute(STOCK).fetchone()

    mine.execute(SET_STOCK, [my_stock - 1])
    mine.commit()
    yours.execute(SET_STOCK, [your_stock - 1])
    yours.commit()

    assert db.execute(STOCK).fetchone() == (39,), "two were sold, one was booked"


def test_repeatable_read_refuses_the_update_that_would_lose_another(db, connect):
    mine, yours = connect(IsolationLevel.REPEATABLE_READ), connect(IsolationLevel.REPEATABLE_READ)
    (my_stock,), (your_stock,) = mine.execute(STOCK).fetchone(), yours.execute(STOCK).fetchone()

    mine.execute(SET_STOCK, [my_stock - 1])
    mine.commit()
    with pytest.raises(errors.SerializationFailure, match="concurrent update"):
        yours.execute(SET_STOCK, [your_stock - 1])

    assert db.execute(STOCK).fetchone() == (39,)


def step_down(connection, email):
    """The application's rule: an admin may step down as long as another one remains."""
    (admins,) = connection.execute("SELECT count(*) FROM users WHERE role = 'admin'").fetchone()
    if admins > 1:
        connection.execute("UPDATE users SET role = 'customer' WHERE email = %s", [email])


@pytest.fixture
def two_admins(db):
    db.execute("UPDATE users SET role = 'admin' WHERE email = 'ada@example.com'")


def test_repeatable_read_lets_two_writers_break_together_what_each_checked(db, connect, two_admins):
    one, other = connect(IsolationLevel.REPEATABLE_READ), connect(IsolationLevel.REPEATABLE_READ)

    step_down(one, "admin@example.com")
    step_down(other, "ada@example.com")
    one.commit()
    other.commit()

    assert db.execute("SELECT count(*) FROM users WHERE role = 'admin'").fetchone() == (0,), "write skew"


def test_serializable_refuses_the_second_of_them(db, connect, two_admins):
    one, other = connect(IsolationLevel.SERIALIZABLE), connect(IsolationLevel.SERIALIZABLE)

    step_down(one, "admin@example.com")
    step_down(other, "ada@example.com")
    one.commit()
    with pytest.raises(errors.SerializationFailure):
        other.commit()

    assert db.execute("SELECT email FROM users WHERE role = 'admin'").fetchall() == [("ada@example.com",)]


def test_a_serializable_transaction_succeeds_when_it_is_tried_again(db, connect, two_admins):
    one, other = connect(IsolationLevel.SERIALIZABLE), connect(IsolationLevel.SERIALIZABLE)
    step_down(one, "admin@example.com")
    step_down(other, "ada@example.com")
    one.commit()
    with pytest.raises(errors.SerializationFailure):
        other.commit()

    step_down(other, "ada@example.com")
    other.commit()

    assert db.execute("SELECT email FROM users WHERE role = 'admin'").fetchall() == [("ada@example.com",)]
