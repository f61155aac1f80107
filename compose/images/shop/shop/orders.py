"""Orders: stock and order change together, in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Response
from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from pydantic import BaseModel, Field, field_validator

from shop.auth import CurrentUser, Identity
from shop.cache import ItemCache
from shop.database import Pool, one
from shop.pages import Page, Paging, Row, page
from shop.problems import Problem

router = APIRouter(prefix="/orders", tags=["orders"])

OrderId = Annotated[int, Path(ge=1, le=2**63 - 1)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]


class LineInput(BaseModel):
    """So many of an item."""

    item_id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    quantity: Annotated[int, Field(ge=1, le=1000)] = 1


class OrderInput(BaseModel):
    """What a customer wants."""

    lines: Annotated[list[LineInput], Field(min_length=1, max_length=100)]

    @field_validator("lines")
    @classmethod
    def _each_item_once(cls, lines: list[LineInput]) -> list[LineInput]:
        if len({line.item_id for line in lines}) < len(lines):
            raise ValueError("each item may be named once")
        return lines


class Line(BaseModel):
    """A line of an order, at the price of that day."""

    item_id: int
    quantity: int
    unit_price: Decimal


class Order(Row):
    """An order as its customer sees it."""

    user_id: int
    status: Literal["placed", "paid", "shipped", "cancelled"]
    total: Decimal
    created_at: datetime
    lines: list[Line]


@router.post("", status_code=201)
def place_order(
    new: OrderInput,
    response: Response,
    user: CurrentUser,
    pool: Pool,
    cache: ItemCache,
    idempotency_key: IdempotencyKey = None,
) -> Order:
    """Place an order, if everything is in stock. Repeated with its Idempotency-Key, it is the same order (200)."""
    if cache.ordering_is_paused():
        raise Problem(503, "Ordering is paused", {"Retry-After": "60"})
    try:
        with cache.changing(*(line.item_id for line in new.lines)), pool.connection() as connection:
            items = _lock_items(connection, new.lines)
            earlier = _find_orders(connection, "user_id = %s AND idempotency_key = %s", [user.id, idempotency_key])
            order = earlier[0] if earlier else _insert_order(connection, user, new.lines, items, idempotency_key)
    except UniqueViolation:
        raise Problem(409, "Another order with this Idempotency-Key is being placed") from None
    if earlier:
        _demand_same_lines(order, new.lines)
        response.status_code = 200
    response.headers["Location"] = f"/orders/{order.id}"
    return order


@router.get("")
def list_orders(paging: Paging, user: CurrentUser, pool: Pool) -> Page[Order]:
    """Orders by id: one's own; for an admin, everybody's."""
    where, parameters = _visible_to(user)
    with pool.connection() as connection:
        rows = _find_orders(
            connection, f"{where} AND id > %s ORDER BY id LIMIT %s", [*parameters, paging.after, paging.limit + 1]
        )
        (total,) = one(connection.execute(f"SELECT count(*) FROM orders WHERE {where}", parameters))
    return page("/orders", paging, rows, total)


@router.get("/{order_id}")
def get_order(order_id: OrderId, user: CurrentUser, pool: Pool) -> Order:
    """One order. Somebody else's is answered like one that doesn't exist, so ids tell nothing."""
    where, parameters = _visible_to(user)
    with pool.connection() as connection:
        found = _find_orders(connection, f"{where} AND id = %s", [*parameters, order_id])
    if not found:
        raise Problem(404, f"There is no order {order_id}")
    return found[0]


def _visible_to(user: Identity) -> tuple[str, list[int]]:
    return ("true", []) if user.role == "admin" else ("user_id = %s", [user.id])


def _lock_items(connection: Connection, lines: Sequence[LineInput]) -> dict[int, tuple[Decimal, int]]:
    """Price and stock of the items, by id. Locked until the transaction ends, by everybody in the same order."""
    rows = connection.execute(
        "SELECT id, price, stock FROM items WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        [[line.item_id for line in lines]],
    )
    return {item_id: (price, stock) for item_id, price, stock in rows}


def _insert_order(
    connection: Connection,
    user: Identity,
    lines: Sequence[LineInput],
    items: dict[int, tuple[Decimal, int]],
    idempotency_key: str | None,
) -> Order:
    if unknown := [line.item_id for line in lines if line.item_id not in items]:
        raise Problem(422, "Some items don't exist", items=unknown)
    if short := [line.item_id for line in lines if line.quantity > items[line.item_id][1]]:
        raise Problem(409, "Some items are out of stock", items=short)
    total = sum(line.quantity * items[line.item_id][0] for line in lines)
    inserted = connection.execute(
        "INSERT INTO orders (user_id, total, idempotency_key) VALUES (%s, %s, %s) RETURNING id",
        [user.id, total, idempotency_key],
    )
    (order_id,) = one(inserted)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO order_lines (order_id, position, item_id, quantity, unit_price) VALUES (%s, %s, %s, %s, %s)",
            [
                (order_id, position, line.item_id, line.quantity, items[line.item_id][0])
                for position, line in enumerate(lines, 1)
            ],
        )
        cursor.executemany(
            "UPDATE items SET stock = stock - %s WHERE id = %s", [(line.quantity, line.item_id) for line in lines]
        )
    return _find_orders(connection, "id = %s", [order_id])[0]


def _find_orders(connection: Connection, where: str, parameters: Sequence[object]) -> list[Order]:
    """Orders with their lines. `where` is this module's own text, never a client's."""
    with connection.cursor(row_factory=class_row(Order)) as cursor:
        return cursor.execute(
            f"""
            SELECT id, user_id, status, total, created_at, (
                -- As text, or the price would become a floating point number on its way through JSON.
                SELECT jsonb_agg(
                    jsonb_build_object('item_id', item_id, 'quantity', quantity, 'unit_price', unit_price::text)
                    ORDER BY position
                )
                FROM order_lines WHERE order_id = orders.id
            ) AS lines
            FROM orders WHERE {where}
            """,
            parameters,
        ).fetchall()


def _demand_same_lines(order: Order, lines: Sequence[LineInput]) -> None:
    if [(line.item_id, line.quantity) for line in order.lines] != [(line.item_id, line.quantity) for line in lines]:
        raise Problem(422, "This Idempotency-Key belongs to an order of something else")
