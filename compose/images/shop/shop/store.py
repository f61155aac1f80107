"""Redis, without which the shop goes on: what it doesn't answer is unknown, and then it is left alone for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shop.settings import Limits

T = TypeVar("T")

log = logging.getLogger("uvicorn.error")


class Store:
    """A Redis that may be away. `redis`: the client itself, for who has to know whether it is there."""

    def __init__(self, url: str, limits: Limits) -> None:
        seconds = limits.redis_answer_ms / 1000
        self.redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), retries=0),  # by default it pauses and retries for seconds
        )
        self._rest = limits.redis_rest_ms / 1000
        self._asked_again = 0.0  # when, on the monotonic clock; 0: it answers

    def ask(self, what: str, question: Callable[[Redis], T], otherwise: T) -> T:
        """What Redis answers; `otherwise` where it doesn't, or hasn't just now. what: for the log."""
        if self._asked_again > (now := time.monotonic()):
            return otherwise
        if self._asked_again:
            self._asked_again = now + self._rest  # one request tries; the others go on without
        try:
            answer = question(self.redis)
        except RedisError as error:
            log.warning("%s: %s", what, error)
            self.redis.connection_pool.disconnect(inuse_connections=False)  # the others fared no better
            self._asked_again = time.monotonic() + self._rest
            return otherwise
        self._asked_again = 0.0
        return answer

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
