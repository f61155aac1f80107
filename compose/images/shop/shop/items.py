"""Items: anybody reads them, admins write them. A single item is read through the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Path, Response
from psycopg.errors import ForeignKeyViolation, UniqueViolation
from psycopg.rows import class_row
from pydantic import BaseModel, Field, StringConstraints

from shop.auth import AdminUser
from shop.cache import ItemCache
from shop.database import Pool, one
from shop.pages import Page, Paging, Row, page
from shop.problems import Problem

router = APIRouter(prefix="/items", tags=["items"])

ItemId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Price = Annotated[Decimal, Field(gt=0, max_digits=10, decimal_places=2)]


class ItemInput(BaseModel):
    """What an admin says about an item."""

    sku: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{3,32}$")]
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    price: Price
    stock: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class Item(Row):
    """An item as everybody sees it."""

    sku: str
    name: str
    price: Decimal
    stock: int


@router.get("")
def list_items(paging: Paging, pool: Pool) -> Page[Item]:
    """Items by id."""
    with pool.connection() as connection, connection.cursor(row_factory=class_row(Item)) as cursor:
        rows = cursor.execute(
            "SELECT id, sku, name, price, stock FROM items WHERE id > %s ORDER BY id LIMIT %s",
            [paging.after, paging.limit + 1],
        ).fetchall()
        (total,) = one(connection.execute("SELECT count(*) FROM items"))
    return page("/items", paging, rows, total)


@router.get("/{item_id}", response_model=Item)
def get_item(item_id: ItemId, pool: Pool, cache: ItemCache) -> Response:
    """One item; the header X-Cache says whether it was a `hit` or a `miss`."""
    if (cached := cache.get_item(item_id)) is not None:
        return Response(cached, media_type="application/json", headers={"X-Cache": "hit"})
    with pool.connection() as connection, connection.cursor(row_factory=class_row(Item)) as cursor:
        item = cursor.execute("SELECT id, sku, name, price, stock FROM items WHERE id = %s", [item_id]).fetchone()
    if item is None:
        raise _no_such_item(item_id)
    body = item.model_dump_json()
    cache.put_item(item_id, body)
    return Response(body, media_type="application/json", headers={"X-Cache": "miss"})


@router.post("", status_code=201)
def create_item(new: ItemInput, response: Response, admin: AdminUser, pool: Pool) -> Item:
    """Add an item."""
    with (
        _unique_sku(new.sku),
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(Item)) as cursor,
    ):
        cursor.execute(
            """
            INSERT INTO items (sku, name, price, stock) VALUES (%(sku)s, %(name)s, %(price)s, %(stock)s)
            RETURNING id, sku, name, price, stock
            """,
            new.model_dump(),
        )
        item = one(cursor)
    response.headers["Location"] = f"/items/{item.id}"
    return item


@router.put("/{item_id}")
def update_item(item_id: ItemId, new: ItemInput, admin: AdminUser, pool: Pool, cache: ItemCache) -> Item:
    """Replace what is said about an item."""
    with (
        _unique_sku(new.sku),
        cache.changing(item_id),
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(Item)) as cursor,
    ):
        item = cursor.execute(
            """
            UPDATE items SET sku = %(sku)s, name = %(name)s, price = %(price)s, stock = %(stock)s WHERE id = %(id)s
            RETURNING id, sku, name, price, stock
            """,
            {**new.model_dump(), "id": item_id},
        ).fetchone()
    if item is None:
        raise _no_such_item(item_id)
    return item


@router.delete("/{item_id}", status_code=204)
def delete_item(item_id: ItemId, admin: AdminUser, pool: Pool, cache: ItemCache) -> None:
    """Remove an item that nobody has ordered."""
    try:
        with cache.changing(item_id), pool.connection() as connection:
            deleted = connection.execute("DELETE FROM items WHERE id = %s", [item_id]).rowcount
    except ForeignKeyViolation:
        raise Problem(409, f"Item {item_id} has been ordered, so it stays in the books") from None
    if not deleted:
        raise _no_such_item(item_id)


@contextmanager
def _unique_sku(sku: str) -> Iterator[None]:
    try:
        yield
    except UniqueViolation:
        raise Problem(409, f"There is an item with the SKU {sku} already") from None


def _no_such_item(item_id: int) -> Problem:
    return Problem(404, f"There is no item {item_id}")
