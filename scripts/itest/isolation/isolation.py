"""A clean state before every test, and the connections that tests use, opened once and handed out in a known state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from itest import data
from itest.data import baseline, fixtures, sql
from itest.errors import ItestError
from itest.stack.stack import Stack

if TYPE_CHECKING:
    import psycopg
    import redis

TIMEOUT = 5.0  # seconds that Redis may take to answer a reset


class Cleaner:
    """Brings a stack's stores back to their seeded state (strategy `delete`), one round trip a store."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.plan = data.plan(stack.suite)
        self._sessions: dict[str, psycopg.Connection[Any]] = {}  # by address
        self._clients: dict[str, redis.Redis] = {}

    def reset(self) -> None:
        """Raises ItestError: data when a test or a service holds locks, service when a store can't be reached."""
        if self.stack.suite.isolation != "delete":
            return
        for name, service in self.stack.suite.services.items():
            if not service.stores:
                continue
            if name in self.stack.halted:  # one that is paused would accept the connection and never answer
                raise self._unreachable(name, "a test took it away")
            with self._reached(name):
                if service.kind == "postgres":
                    baseline.reset(self._session(name))
                elif service.kind == "redis":
                    baseline.reset_redis(self._client(name), fixtures.commands(self.plan.fixtures, name))

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

    @contextmanager
    def _reached(self, service: str) -> Iterator[None]:
        """Turn what the drivers raise for a store that is gone into an error that names it and says what it is now."""
        import psycopg
        import redis

        try:
            yield
        except (psycopg.OperationalError, psycopg.InterfaceError, redis.ConnectionError, redis.TimeoutError) as error:
            raise self._unreachable(service, " ".join(str(error).split())) from error
        except ItestError as error:
            if error.category != "service":
                raise
            raise self._unreachable(service, error.message) from error

    def _unreachable(self, service: str, words: str) -> ItestError:
        problem = f"service {service}: {self.stack.state(service)}, can't return to the seeded state: {words}"
        hint = f"a test that kills, pauses or stops it has to call `stack.start({service!r})` in the end; or make logs"
        return ItestError("service", problem, hint=hint, cause="unreachable")

    def _session(self, service: str) -> psycopg.Connection[Any]:
        dsn = self.stack.dsn(service)  # another port after a restart
        session = self._sessions.get(dsn)
        if session is None or session.closed or session.broken:
            session = self._sessions[dsn] = sql.connect(dsn, "itest reset", lock_timeout=baseline.LOCK_TIMEOUT)
        return session

    def _client(self, service: str) -> redis.Redis:
        import redis

        dsn = self.stack.dsn(service)
        if dsn not in self._clients:
            self._clients[dsn] = redis.Redis.from_url(dsn, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
        return self._clients[dsn]
