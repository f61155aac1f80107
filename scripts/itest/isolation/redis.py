"""Redis between tests: one logical database, emptied and seeded again in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from itest.data import fixtures_redis
from itest.data.fixtures_redis import Command
from itest.isolation.reached import reached
from itest.stack.stack import Stack

if TYPE_CHECKING:
    from redis import Redis

TIMEOUT = 5.0  # seconds that Redis may take to answer


class RedisStore:
    """Isolation of one service of kind redis. Only this worker's logical database is emptied, never a neighbour's."""

    def __init__(self, stack: Stack, name: str, seed: Sequence[Command]) -> None:
        self.name = name
        self._stack = stack
        self._seed = list(seed)
        self._clients: dict[str, Redis] = {}  # by address: another port after a restart

    def reset(self) -> None:
        """Empty it and seed it again, one round trip."""
        with reached(self._stack, self.name):
            fixtures_redis.reset(self._client(), self._seed)

    def dirt(self) -> list[str]:
        """Keys that the fixtures don't have, and those of theirs that are gone. Values are not compared."""
        with reached(self._stack, self.name):
            found = {key.decode(errors="replace") for key in self._client().scan_iter(count=1000)}
        seeded = {command[1] for command in self._seed}
        return [f"key {key} left behind" for key in sorted(found - seeded)] + [
            f"key {key} is gone" for key in sorted(seeded - found)
        ]

    def close(self) -> None:
        """Close its connections."""
        for client in self._clients.values():
            client.close()

    def _client(self) -> Redis:
        import redis

        dsn = self._stack.dsn(self.name)
        if dsn not in self._clients:
            self._clients[dsn] = redis.Redis.from_url(dsn, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
        return self._clients[dsn]
