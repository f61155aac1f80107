"""A clean state before every test, and the connections that tests use, opened once and handed out in a known state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from itest import data
from itest.data import fixtures, reset, sql
from itest.stack.stack import Stack

if TYPE_CHECKING:
    import psycopg
    import redis


class Cleaner:
    """Brings a stack's stores back to their seeded state (strategy `delete`), one round trip a store."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.plan = data.plan(stack.suite)
        self._sessions: dict[str, psycopg.Connection[Any]] = {}
        self._clients: dict[str, redis.Redis] = {}
        if stack.suite.isolation == "delete":
            data.prepare(self.plan, stack.stores())  # a stack that plain compose started has no baseline yet

    def reset(self) -> None:
        """Raises ItestError (data) when a test or a service stands in the way, naming the session."""
        if self.stack.suite.isolation != "delete":
            return
        for name, service in self.stack.suite.services.items():
            if service.kind == "postgres":
                reset.reset(self._session(name))
            elif service.kind == "redis":
                reset.reset_redis(self._client(name), fixtures.commands(self.plan.fixtures, name))

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection to the suite's one PostgreSQL for a test, in autocommit."""
        import psycopg

        dsn = self.stack.dsn(self.stack.only("postgres"))
        with psycopg.connect(dsn, autocommit=True, application_name="test") as connection:
            yield connection

    def redis_client(self) -> redis.Redis:
        """A client of the suite's one Redis; replies are str."""
        import redis

        return redis.Redis.from_url(self.stack.dsn(self.stack.only("redis")), decode_responses=True)

    def close(self) -> None:
        """Close what this opened."""
        for session in self._sessions.values():
            session.close()
        for client in self._clients.values():
            client.close()

    def _session(self, service: str) -> psycopg.Connection[Any]:
        session = self._sessions.get(service)
        if session is None or session.closed or session.broken:
            session = sql.connect(self.stack.dsn(service), "itest reset", lock_timeout=reset.LOCK_TIMEOUT)
            self._sessions[service] = session
        return session

    def _client(self, service: str) -> redis.Redis:
        import redis

        if service not in self._clients:
            self._clients[service] = redis.Redis.from_url(self.stack.dsn(service))
        return self._clients[service]
