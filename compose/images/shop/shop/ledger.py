"""Payments in the database. Its transactions are short: none is open while the provider is asked.

A payment is written down before the first attempt at it. From then on it is `pending` until the provider says how it
ended, in an answer or by webhook, so that one whose answer was lost is neither forgotten nor charged for again.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import BaseModel

from shop.auth import Identity
from shop.database import one
from shop.mail import Receipt
from shop.problems import Problem

log = logging.getLogger("uvicorn.error")

COLUMNS = "id, order_id, status, amount, provider_id, failure, token"


class Payment(BaseModel):
    """A payment as its customer sees it. id: the idempotency key of every attempt at it, too."""

    id: UUID
    order_id: int
    status: Literal["pending", "paid", "failed"]
    amount: Decimal
    provider_id: str | None
    failure: str | None


class Entry(Payment):
    """A payment with what stays here."""

    token: str


def begin(connection: Connection, order_id: int, user: Identity, token: str, seconds: float) -> Entry:
    """The payment of an order that counts, a new one if there is none, for the caller alone to work at.

    seconds: for how long, unless `release` or `settle` comes first. A paid one is returned as it is. Raises Problem.
    """
    order = connection.execute(
        "SELECT status::text, total FROM orders WHERE id = %s AND user_id = %s", [order_id, user.id]
    ).fetchone()
    if order is None:
        raise Problem(404, f"There is no order {order_id}")
    status, total = order
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        paid = cursor.execute(
            f"SELECT {COLUMNS} FROM payments WHERE order_id = %s AND status = 'paid'", [order_id]
        ).fetchone()
        if paid:
            return paid
        if status != "placed":
            raise Problem(409, f"Order {order_id} is {status}")
        cursor.execute(
            """
            INSERT INTO payments (order_id, token, amount) VALUES (%s, %s, %s)
            ON CONFLICT (order_id) WHERE status <> 'failed' DO NOTHING
            """,
            [order_id, token, total],
        )
        mine = cursor.execute(
            f"""
            UPDATE payments SET busy_until = now() + make_interval(secs => %s)
            WHERE order_id = %s AND status = 'pending' AND (busy_until IS NULL OR busy_until < now())
            RETURNING {COLUMNS}
            """,
            [seconds, order_id],
        ).fetchone()
    if mine is None:
        raise Problem(409, f"Order {order_id} is being paid at this moment", {"Retry-After": "1"})
    if mine.token != token:
        raise Problem(409, f"Order {order_id} may have been paid in another way: how that ended is not known yet")
    return mine


def release(connection: Connection, payment_id: UUID) -> Entry:
    """Whoever wants may go on with a payment. Returns it as it is now: a webhook may have settled it meanwhile."""
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        cursor.execute(f"UPDATE payments SET busy_until = NULL WHERE id = %s RETURNING {COLUMNS}", [payment_id])
        return one(cursor)


def settle(connection: Connection, payment_id: UUID, provider_id: str) -> Receipt | None:
    """The provider has charged. Returns what the customer is to be told; None if that was known already."""
    settled = connection.execute(
        """
        UPDATE payments SET status = 'paid', provider_id = %s, busy_until = NULL
        WHERE id = %s AND status = 'pending' RETURNING order_id
        """,
        [provider_id, payment_id],
    ).fetchone()
    if settled is None:
        _tell_of_money_that_nobody_expects(connection, payment_id, provider_id)
        return None
    connection.execute("UPDATE orders SET status = 'paid' WHERE id = %s AND status = 'placed'", settled)
    with connection.cursor(row_factory=class_row(Receipt)) as cursor:
        cursor.execute(
            """
            SELECT payments.id AS payment_id, order_id, email, amount
            FROM payments JOIN orders ON orders.id = order_id JOIN users ON users.id = user_id
            WHERE payments.id = %s
            """,
            [payment_id],
        )
        return one(cursor)


def _tell_of_money_that_nobody_expects(connection: Connection, payment_id: UUID, provider_id: str) -> None:
    """Charged for what it said had failed: somebody has to pay it back."""
    if connection.execute("SELECT id FROM payments WHERE id = %s AND status = 'failed'", [payment_id]).fetchone():
        log.error("payments: %s had failed, and was charged for as %s", payment_id, provider_id)


def fail(connection: Connection, payment_id: UUID, reason: str) -> None:
    """The provider has said that it did not charge, and never will for this payment."""
    connection.execute(
        "UPDATE payments SET status = 'failed', failure = %s, busy_until = NULL WHERE id = %s AND status = 'pending'",
        [reason, payment_id],
    )


def note_event(connection: Connection, event_id: str, payment_id: UUID, kind: str) -> bool:
    """Write down what the provider told. Returns whether it is new. Raises ForeignKeyViolation: no such payment."""
    noted = connection.execute(
        "INSERT INTO payment_events (id, payment_id, type) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [event_id, payment_id, kind],
    )
    return bool(noted.rowcount)
