"""A circuit breaker: a third party that keeps failing is left alone for a while, and nobody waits for it in vain.

Closed, it counts failures in succession. At the limit it opens: no call is made. After a while it is half-open: one
call may try, and closes or opens it. Its state is in Redis, as all processes of the shop ask the same third party; the
best known library keeps its lock during a call, so that calls wait for each other. Without Redis it is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

FORGOTTEN_MS = 60_000  # failures that no other followed for so long

log = logging.getLogger("uvicorn.error")


class Open(Exception):
    """Not now. seconds: until it makes sense to ask again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the circuit breaker is open")
        self.seconds = seconds


class Breaker:
    """Of one third party. failures: so many in succession open it; trial_ms: the most that the one that tries takes."""

    def __init__(self, redis: Redis, name: str, failures: int, open_ms: int, trial_ms: int) -> None:
        self._redis, self._limit, self._open_ms, self._trial_ms = redis, failures, open_ms, trial_ms
        self._failures, self._open, self._trial = (f"breaker:{name}:{key}" for key in ("failures", "open", "trial"))

    def admit(self) -> None:
        """Before a call. Raises Open."""
        with _optional():
            if (left := cast(int, self._redis.pttl(self._open))) > 0:
                raise Open(left / 1000)
            if int(cast("str | None", self._redis.get(self._failures)) or 0) < self._limit:
                return
            if not self._redis.set(self._trial, "1", nx=True, px=self._trial_ms):
                raise Open(self._trial_ms / 1000)

    def succeeded(self) -> None:
        """After a call that was answered, in whatever way."""
        with _optional():
            self._redis.delete(self._failures, self._open, self._trial)

    def failed(self) -> None:
        """After a call that was not."""
        with _optional(), self._redis.pipeline() as pipeline:
            failures, *_ = pipeline.incr(self._failures).pexpire(self._failures, FORGOTTEN_MS + self._open_ms).execute()
            if failures >= self._limit:
                self._redis.set(self._open, "1", px=self._open_ms)
                self._redis.delete(self._trial)


@contextmanager
def _optional() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        log.warning("breaker: state unknown: %s", error)
