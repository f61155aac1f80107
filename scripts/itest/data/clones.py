"""Copies of a sealed template for tests that need a database of their own, kept warm in the background.

A clone that is taken is there already, with a connection that is open; the next one is made while the test runs.
"""

from __future__ import annotations

import atexit
import os
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from itest.data import blueprint, template
from itest.data.blueprint import Blueprint
from itest.errors import ItestError

SIZE = 3  # clones that wait to be taken
DEADLINE = 30.0  # seconds that a test waits for one

C = TypeVar("C", bound="Connection[Any]")
T = TypeVar("T")


@dataclass(frozen=True)
class Clone(Generic[C]):
    """A database of a test's own. conn: open, in the state in which `connect` made it."""

    name: str
    dsn: str
    conn: C


class Pool(Generic[C]):
    """Clones of one database's template. Calls come from one thread.

    Their names are `<database>_itest_clone<slot>_<pid>_<number>`, so that those of different runs and workers differ;
    the slot is told by the name of the DSN's database. One worker creates while the other connects and drops: one alone
    would be slower than the server.
    """

    def __init__(self, dsn: str, *, connect: Callable[[str], C], size: int = SIZE) -> None:
        """dsn: of the database whose template is cloned, as a superuser. connect: opens a clone's connection.

        What a process that died left in this slot is dropped first. Errors come out of `take`.
        """
        database = template.database_of(dsn)
        slot = database.partition(template.OURS)[2] or "0"
        self._dsn, self._connect = dsn, connect
        self._source = template.named(database, "template")
        self._prefix = template.named(database, f"clone{slot}_")
        self._numbers = count(1)
        self._plan: Blueprint | None = None
        self._names: set[str] = set()  # of databases that are there, or may be
        self._creating, self._dropping = self._workers = _Worker(dsn), _Worker(dsn)
        self._chores = deque([self._creating.submit(self._sweep)])
        self._warm: deque[Future[Clone[C]]] = deque()
        for _ in range(size):
            self._order()
        atexit.register(self.close)

    def take(self, *, deadline: float = DEADLINE) -> Clone[C]:
        """A clone that nobody has used. deadline: seconds to wait where none is ready.

        Raises ItestError: data with the server's words where one could not be made, or a former one not be dropped.
        """
        self._order()
        try:
            while self._chores and self._chores[0].done():
                self._chores.popleft().result()
            return self._warm.popleft().result(deadline)
        except TooLate:
            problem = f"clone of {self._source}: none was ready after {deadline:g} s"
            hint = "make logs shows what PostgreSQL does meanwhile"
            raise ItestError("data", problem, hint=hint, cause="clone") from None
        except psycopg.Error as error:
            raise template.refusal(error, f"clone of {self._source}", cause="clone") from error

    def give_back(self, clone: Clone[C]) -> None:
        """Drop a clone in the background, with whoever is still connected to it."""
        clone.conn.close()
        self._chores.append(self._dropping.submit(self._drop, clone.name))

    def keep(self, clone: Clone[C], name: str) -> None:
        """Leave a clone to somebody who wants to look at it, under a name that the next run won't clear away.

        Raises ItestError (data) where there is a database of that name.
        """
        clone.conn.close()
        self._dropping.submit(self._rename, clone.name, name).result()

    def close(self) -> None:
        """Drop all clones, taken or not. Happens at the process's end in any case."""
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.stop()
        for opened in self._warm:
            if not opened.cancelled() and not opened.exception():
                opened.result().conn.close()
        self._warm.clear()
        for name in sorted(self._names):
            self._drop(name)
        for worker in self._workers:
            worker.close()

    def _order(self) -> None:
        created = self._creating.submit(self._create)
        self._warm.append(self._dropping.submit(self._open, created))

    def _create(self) -> str:
        admin = self._creating.session()
        plan = self._plan = self._plan or blueprint.read(admin, self._source)
        name = f"{self._prefix}{os.getpid()}_{next(self._numbers)}"
        self._names.add(name)
        admin.execute(plan.create(name))
        rest = plan.complete(name)
        if rest:
            admin.execute(SQL("; ").join(rest))
        return name

    def _open(self, created: Future[str]) -> Clone[C]:
        name = created.result()
        dsn = template.dsn_of(self._dsn, name)
        return Clone(name, dsn, self._connect(dsn))

    def _drop(self, name: str) -> None:
        template.drop(self._dropping.session(), name)
        self._names.discard(name)

    def _rename(self, old: str, new: str) -> None:
        admin = self._dropping.session()
        template.clear(admin, old)
        try:
            admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(old), Identifier(new)))
        except psycopg.Error as error:
            raise template.refusal(error, f"clone {old}", cause="clone") from error
        self._names.discard(old)

    def _sweep(self) -> None:
        admin = self._creating.session()
        ours = re.compile(re.escape(self._prefix) + r"[0-9]+_[0-9]+")
        for (name,) in admin.execute("SELECT datname FROM pg_database").fetchall():
            if ours.fullmatch(name):
                template.drop(admin, name)


class _Worker:
    """A thread that does one thing after the other, and the session that it works on."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._thread = ThreadPoolExecutor(1, "itest-clones")
        self._session: Connection | None = None

    def submit(self, job: Callable[..., T], *arguments: object) -> Future[T]:
        return self._thread.submit(job, *arguments)

    def session(self) -> Connection:
        if self._session is None or self._session.closed:
            self._session = template.maintenance(self._dsn)
        return self._session

    def stop(self) -> None:
        """Finish what it is at, and nothing more; the session is its owner's from then on."""
        self._thread.shutdown(cancel_futures=True)

    def close(self) -> None:
        if self._session:
            self._session.close()
