"""PostgreSQL between tests: the database goes back to its baseline, and is made anew where that isn't enough."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from itest import data
from itest.data import sessions, sql, template
from itest.data.baseline import LOCK_TIMEOUT, Baseline, Contaminated, Outcome, SchemaChanged
from itest.data.sessions import Session
from itest.errors import ItestError
from itest.isolation.database import Database, Lender, connect
from itest.isolation.reached import reached
from itest.isolation.strategies import STRATEGIES, Strategy
from itest.stack.stack import Stack

if TYPE_CHECKING:
    from itest.data.clones import Pool


TESTS = "test "  # how the application name of a test's own connections begins


class PostgresStore:
    """Isolation of one service of kind postgres."""

    def __init__(self, stack: Stack, name: str, plan: data.Plan) -> None:
        self.name = name
        self.stack = stack
        self.plan = plan
        self.tests = Lender("itest db")
        # By DSN: after a restart the port is another one.
        self._baselines: dict[str, Baseline] = {}
        self._pools: dict[str, Pool[Database]] = {}
        self._strategy: Strategy | None = None

    @property
    def dsn(self) -> str:
        """Where the test's database is."""
        return self.stack.dsn(self.name)

    def begin(self, strategy: str, *, clean: bool = False) -> list[str]:
        """Clean before a test. clean: it is already. Returns what a person should know of.

        Raises ItestError (service or data).
        """
        notes = self._clean_before() if strategy != "none" and not clean else []
        self._strategy = STRATEGIES[strategy](self)
        try:
            with reached(self.stack, self.name):
                self._strategy.begin()
        except BaseException:
            self.end()  # what it made by then goes, too
            raise
        return notes

    def connection(self) -> Database:
        """The test's connection."""
        assert self._strategy is not None, "no test is under way"
        with reached(self.stack, self.name):
            return self._strategy.connection()

    def pool(self) -> Pool[Database]:
        """Clones of the database, kept warm from the first test that needs one."""
        from itest.data.clones import Pool

        dsn = self.dsn
        if dsn not in self._pools:
            self._pools[dsn] = Pool(dsn, connect=lambda clone: connect(clone, "itest db"))
        return self._pools[dsn]

    def keep(self, label: str) -> str:
        """Keep the test's state for somebody to look at. Returns the database's name, or "" where there is none."""
        return self._strategy.keep(label) if self._strategy else ""

    def end(self) -> list[str]:
        """Clean after a test. Returns what a person should know of.

        Raises ItestError (data) when the test left what can't be undone; by then the database is made anew.
        """
        strategy, self._strategy = self._strategy, None
        if strategy is None:
            return []
        try:
            with reached(self.stack, self.name):
                strategy.end()
        except BaseException:
            self.tests.take_back()
            self._clean()  # the first failure is the one to tell: what it left is its consequence
            raise
        self.tests.take_back()
        return self._clean(strategy) if strategy.cleans else []

    def leaked(self) -> list[str]:
        """Connections that tests have opened and not closed, a line each."""
        if self.name in self.stack.halted or not self._baselines:
            return []
        with reached(self.stack, self.name):
            found = sessions.leaked(self._baseline().conn, TESTS)
        return [f"{self.name}: a test never closed its connection: {one}" for one in found]

    def reset(self) -> None:
        """Back to the baseline. Raises ItestError (data or service)."""
        self._clean()

    def dirt(self) -> list[str]:
        """What differs from the baseline, row by row."""
        with reached(self.stack, self.name):
            return self._baseline().dirt()

    def close(self) -> None:
        """Close connections and drop clones."""
        self.tests.close()
        for pool in self._pools.values():
            with suppress(ItestError):  # the server is gone, and the clones with it
                pool.close()
        for one in self._baselines.values():
            one.conn.close()

    def _clean_before(self) -> list[str]:
        try:
            return self._clean()
        except Contaminated as error:  # between two tests: neither is to blame
            return [f"{error.message}; the database was made anew", *_ended(self.name, error.ended)]

    def _clean(self, after: Strategy | None = None) -> list[str]:
        """Reset, and where that can't be done rebuild. after: the strategy of the test that has just ended."""
        with reached(self.stack, self.name):
            try:
                outcome = self._baseline().reset()
            except SchemaChanged as error:
                self._rebuild()
                if after:
                    after.judge(Outcome(tuple(error.changes), error.ended))
                return [f"{error.message}\n  the database was made anew; {error.hint}", *_ended(self.name, error.ended)]
            except Contaminated:
                self._rebuild()
                raise
        if after:
            after.judge(outcome)
        return _ended(self.name, outcome.ended)

    def _rebuild(self) -> None:
        dsn = self.dsn
        if dsn in self._baselines:  # there is none where its own schema was dropped before it was read
            self._baselines.pop(dsn).conn.close()
        self.tests.close()
        template.rebuild(dsn)

    def _baseline(self) -> Baseline:
        dsn = self.dsn
        found = self._baselines.get(dsn)
        if found is None or found.conn.closed:
            conn = sql.connect(dsn, "itest reset", lock_timeout=LOCK_TIMEOUT)
            try:
                found = self._baselines[dsn] = Baseline(conn)
            except BaseException:
                conn.close()
                raise
        return found


def _ended(store: str, sessions: Iterable[Session]) -> list[str]:
    return [f"{store}: a transaction was left open, and ended: {session}" for session in sessions]
