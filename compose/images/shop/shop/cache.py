"""Redis: a cache in front of the items, and flags that operations set. The shop works without it, only slower."""

from __future__ import annotations

import logging
from typing import Annotated, cast

from fastapi import Depends, Request
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

FLAGS = "shop:flags"

log = logging.getLogger("uvicorn.error")


class Cache:
    """Item representations by id, each for `seconds` at most. A Redis that fails counts as a miss and is logged."""

    def __init__(self, url: str, seconds: int) -> None:
        # By default the client pauses and retries for seconds; reading the row instead takes milliseconds.
        self.redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=0.5,
            socket_timeout=0.5,
            retry=Retry(NoBackoff(), retries=0),
        )
        self.seconds = seconds

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    def get_item(self, item_id: int) -> str | None:
        """The cached JSON of an item, or None."""
        try:
            return cast("str | None", self.redis.get(f"item:{item_id}"))
        except RedisError as error:
            log.warning("cache: get failed: %s", error)
            return None

    def put_item(self, item_id: int, body: str) -> None:
        """Remember the JSON of an item."""
        try:
            self.redis.set(f"item:{item_id}", body, ex=self.seconds)
        except RedisError as error:
            log.warning("cache: put failed: %s", error)

    def forget_items(self, *item_ids: int) -> None:
        """Drop items after their change is committed; before, a reader could put the old one back.

        A reader that has fetched the old row and not stored it yet can still do so: bounded by `seconds`.
        """
        try:
            self.redis.delete(*(f"item:{item_id}" for item_id in item_ids))
        except RedisError as error:
            log.warning("cache: forget failed, stale for up to %s s: %s", self.seconds, error)

    def ordering_is_paused(self) -> bool:
        """Whether operations paused ordering: HSET shop:flags ordering paused. Unknown counts as no."""
        try:
            return self.redis.hget(FLAGS, "ordering") == "paused"
        except RedisError as error:
            log.warning("cache: flags unreadable: %s", error)
            return False


def _cache(request: Request) -> Cache:
    cache: Cache = request.app.state.cache
    return cache


ItemCache = Annotated[Cache, Depends(_cache)]
