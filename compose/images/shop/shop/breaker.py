"""A circuit breaker: a third party that keeps failing is left alone for a while, and nobody waits for it in vain.

Closed, it counts failures in succession. At the limit it opens: no call is made. After a while it is half-open: one
call may try, and closes or opens it. Its state is in Redis, as all processes of the shop ask the same third party; the
best known library keeps its lock during a call, so that calls wait for each other. Without Redis it is closed.
"""

from __future__ import annotations

from typing import cast

from redis import Redis

from shop.store import Store

FORGOTTEN_MS = 60_000  # failures that no other followed for so long
UNKNOWN = "breaker: state unknown"


class Open(Exception):
    """Not now. seconds: until it makes sense to ask again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the circuit breaker is open")
        self.seconds = seconds


class Breaker:
    """Of one third party. failures: so many in succession open it; trial_ms: the most that the one that tries takes."""

    def __init__(self, store: Store, name: str, failures: int, open_ms: int, trial_ms: int) -> None:
        self._store, self._limit, self._open_ms, self._trial_ms = store, failures, open_ms, trial_ms
        self._failures, self._open, self._trial = (f"breaker:{name}:{key}" for key in ("failures", "open", "trial"))

    def admit(self) -> None:
        """Before a call. Raises Open."""
        if (left_ms := self._store.ask(UNKNOWN, self._closed_for, 0)) > 0:
            raise Open(left_ms / 1000)

    def succeeded(self) -> None:
        """After a call that was answered, in whatever way."""
        self._store.ask(UNKNOWN, lambda redis: redis.delete(self._failures, self._open, self._trial), None)

    def failed(self) -> None:
        """After a call that was not."""
        self._store.ask(UNKNOWN, self._count, None)

    def _closed_for(self, redis: Redis) -> int:
        """Milliseconds until a call makes sense; 0: now."""
        if (left_ms := cast(int, redis.pttl(self._open))) > 0:
            return left_ms
        if int(cast("str | None", redis.get(self._failures)) or 0) < self._limit:
            return 0
        return 0 if redis.set(self._trial, "1", nx=True, px=self._trial_ms) else self._trial_ms

    def _count(self, redis: Redis) -> None:
        with redis.pipeline() as pipeline:
            failures, *_ = pipeline.incr(self._failures).pexpire(self._failures, FORGOTTEN_MS + self._open_ms).execute()
        if failures >= self._limit:
            redis.set(self._open, "1", px=self._open_ms)
            redis.delete(self._trial)
