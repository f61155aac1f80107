"""The clean state of one suite's stack: before a test, after it, and at the end of a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from itest import data
from itest.data import fixtures
from itest.errors import ItestError
from itest.isolation import copies
from itest.isolation.database import Database
from itest.isolation.mock import MockStore
from itest.isolation.postgres import PostgresStore
from itest.isolation.rabbitmq import RabbitStore
from itest.isolation.redis import RedisStore
from itest.isolation.resettable import Resettable
from itest.stack.stack import Stack

if TYPE_CHECKING:
    import redis

    from itest.mocking import Mock

BuiltIn = PostgresStore | RedisStore | RabbitStore | MockStore


class Isolation:
    """Brings a stack's stores back to their seeded state around every test.

    own: stores of the suite's own making, which tests/<suite>/conftest.py names in its fixture `stores`.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.own: Sequence[Resettable] = ()
        # Whether anything but services may have written since the last test: at first a pytest that was killed, later a
        # fixture of a wider scope. What a service writes between two tests, it may as well write a moment later.
        self.disturbed = True
        self._strategy = "none"  # of the test under way
        self._stores = _built_in(stack)

    @property
    def stores(self) -> list[Resettable]:
        return [*self._stores, *self.own]

    @property
    def databases(self) -> list[PostgresStore]:
        return [store for store in self._stores if isinstance(store, PostgresStore)]

    @property
    def mocks(self) -> list[MockStore]:
        """Stores of requests, which begin and end with every test, whatever the strategy."""
        return [store for store in self._stores if isinstance(store, MockStore)]

    def begin(self, strategy: str) -> list[str]:
        """Before a test. Returns what a person should know of. Raises ItestError (service or data)."""
        self._strategy = strategy
        if self.disturbed:
            self._reset_others()
        notes = [note for store in self.databases for note in store.begin(strategy, clean=not self.disturbed)]
        self.disturbed = True  # until `end` is through
        return notes

    def end(self, *, last: bool) -> list[str]:
        """After a test. last: of this worker; everything is then compared with the baseline, row by row.

        Returns what a person should know of. Raises ItestError: data when state leaked that can't be undone, or that
        an earlier test left unnoticed; service when a store can't be reached.
        """
        notes = [note for store in self.databases for note in store.end()]
        self._reset_others()
        if last and self._strategy != "none":
            self._refuse_dirt()
        self.disturbed = self._strategy == "none"
        return notes

    def keep(self, label: str) -> list[str]:
        """Keep the databases as a failed test left them. Returns the commands that open them."""
        kept = [(store.name, store.keep(label)) for store in self.databases]
        nothing = "not kept: nothing was committed; @pytest.mark.isolation('delete') keeps it"
        return [copies.look(self.stack, service, name) if name else f"{service}: {nothing}" for service, name in kept]

    def database(self) -> Database:
        """The test's connection to the suite's one PostgreSQL."""
        name = self.stack.only("postgres")
        return next(store for store in self.databases if store.name == name).connection()

    def redis_client(self) -> redis.Redis:
        """A client of the suite's one Redis; replies are str."""
        import redis

        return redis.Redis.from_url(self.stack.dsn(self.stack.only("redis")), decode_responses=True)

    def mock(self) -> Mock:
        """The suite's one mock server, as the test under way sees it."""
        name = self.stack.only("mock")
        return next(store for store in self.mocks if store.name == name).mock()

    def notes(self) -> list[str]:
        """What a person should know of in the end, a line each."""
        return [*self.leaked(), *(note for store in self.mocks for note in store.notes())]

    def leaked(self) -> list[str]:
        """Connections to databases that tests have left open, a line each."""
        return [line for store in self.databases for line in store.leaked()]

    def left_behind(self) -> dict[str, list[str]]:
        """What the test has changed so far, by service. Raises ItestError (usage) where nobody but it can see that."""
        if self._strategy in ("rollback", "schema"):
            problem = f"left_behind: under isolation {self._strategy} the test's work is for its own session to see"
            hint = 'mark the test @pytest.mark.isolation("delete"), or "clone"'
            raise ItestError("usage", problem, hint=hint, cause="isolation")
        return self.dirt()

    def dirt(self) -> dict[str, list[str]]:
        """What differs from the baseline at this moment, by service; services that are clean are left out."""
        found = {store.name: store.dirt() for store in self.stores}
        return {name: lines for name, lines in found.items() if lines}

    def close(self) -> None:
        """Close what this opened."""
        for store in self._stores:
            store.close()

    def _reset_others(self) -> None:
        if self._strategy == "none":
            return
        for store in self.stores:
            if not isinstance(store, (PostgresStore, MockStore)):
                store.reset()

    def _refuse_dirt(self) -> None:
        dirt = [f"{name}: {line}" for name, lines in self.dirt().items() for line in lines]
        if dirt:
            raise ItestError(
                "data",
                f"suite {self.stack.suite.name}: some test, not only this last one, left state behind: {dirt[0]}",
                hint="call left_behind() in the tests that may have, or halve them with ARGS='-k …'",
                evidence="\n".join(dirt[1:]),
                cause="contamination",
            )


def _built_in(stack: Stack) -> list[BuiltIn]:
    plan = data.plan(stack.suite)
    found: list[BuiltIn] = []
    for name, service in stack.suite.services.items():
        if service.kind == "postgres":
            found.append(PostgresStore(stack, name, plan))
        elif service.kind == "redis":
            found.append(RedisStore(stack, name, fixtures.commands(plan.fixtures, name)))
        elif service.kind == "rabbitmq":
            found.append(RabbitStore(stack, name))
        elif service.kind == "mock":
            found.append(MockStore(stack, name, plan.stubs))
    return found
