"""Pagination by key: a page starts after an id, so rows that come or go meanwhile are neither repeated nor skipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel


class Row(BaseModel):
    """What can be paged through: it has an id."""

    id: int


T = TypeVar("T", bound=Row)


class Page(BaseModel, Generic[T]):
    """Some rows, how many there are in all, and where the next page is (null on the last)."""

    data: list[T]
    total: int
    next: str | None


class PageQuery(BaseModel):
    """Which page: at most `limit` rows with an id above `after`."""

    limit: int = Query(20, ge=1, le=100)
    after: int = Query(0, ge=0, le=2**63 - 1)


Paging = Annotated[PageQuery, Query()]


def page(path: str, paging: PageQuery, rows: Sequence[T], total: int) -> Page[T]:
    """Make a page of `rows`, which holds one more than the limit if there are more."""
    shown = list(rows[: paging.limit])
    more = len(rows) > paging.limit
    next_page = f"{path}?limit={paging.limit}&after={shown[-1].id}" if more else None
    return Page(data=shown, total=total, next=next_page)
