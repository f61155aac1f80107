"""Redis: a cache in front of the items, and flags that operations set. The shop works without it, only slower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Request
from psycopg import OperationalError
from redis import Redis

from shop.store import Store

FLAGS = "shop:flags"

T = TypeVar("T")


class Cache:
    """Item representations by id, each for `seconds` at most. A Redis that fails counts as a miss.

    What couldn't be dropped is owed, and dropped before the cache is used again: Redis comes back with what it had.
    Another process of the shop may serve it until then, for `seconds` at most.
    """

    def __init__(self, store: Store, seconds: int) -> None:
        self._store, self._seconds = store, seconds
        self._owed: set[str] = set()
        self._lock = Lock()

    def get_item(self, item_id: int) -> str | None:
        """The cached JSON of an item, or None."""
        return cast("str | None", self._ask("get", lambda redis: redis.get(_key(item_id)), None))

    def put_item(self, item_id: int, body: str) -> None:
        """Remember the JSON of an item."""
        self._ask("put", lambda redis: redis.set(_key(item_id), body, ex=self._seconds), None)

    @contextmanager
    def changing(self, *item_ids: int) -> Iterator[None]:
        """Drop items when the block has committed their change; before, a reader could put the old one back.

        So too where the database fails: what was lost may be the answer to COMMIT. A reader that has fetched the old
        row and not stored it yet can still do so: bounded by `seconds`.
        """
        try:
            yield
        except OperationalError:
            self._forget(item_ids)
            raise
        self._forget(item_ids)

    def ordering_is_paused(self) -> bool:
        """Whether operations paused ordering: HSET shop:flags ordering paused. Unknown counts as no."""
        return self._ask("flags", lambda redis: redis.hget(FLAGS, "ordering") == "paused", False)

    def _forget(self, item_ids: Iterable[int]) -> None:
        with self._lock:
            self._owed.update(map(_key, item_ids))
        self._ask("forget", lambda redis: None, None)

    def _ask(self, what: str, question: Callable[[Redis], T], otherwise: T) -> T:
        """A Redis without what it should have dropped; `otherwise` where it doesn't answer."""

        def ask(redis: Redis) -> T:
            if self._owed:
                self._drop(redis)
            return question(redis)

        return self._store.ask(f"cache: {what}", ask, otherwise)

    def _drop(self, redis: Redis) -> None:
        with self._lock:  # so that nothing comes to be owed between the two
            if self._owed:
                redis.delete(*self._owed)
                self._owed.clear()


def _key(item_id: int) -> str:
    return f"item:{item_id}"


def _cache(request: Request) -> Cache:
    cache: Cache = request.app.state.cache
    return cache


ItemCache = Annotated[Cache, Depends(_cache)]
