"""Back to the baseline between tests: whatever a test or a service did, only what changed is restored, and verified.

A baseline lives in the database, in a schema of its own: copies of the tables that held rows, the sequences' values,
the catalogue, and the function that restores them. So a kept stack can be reset by whoever attaches to it, and a clone
of the database brings its baseline along. There are two: what the migrations left, and what the fixtures added to it.

Strategy `delete` needs a superuser; `truncate` the owner of the tables, who can't see to roles and their settings.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import Connection
from psycopg.errors import DeadlockDetected, LockNotAvailable, UndefinedTable
from psycopg.pq import TransactionStatus

from itest.data import baseline_sql, catalogue, contamination, dirt, restoring, roles, sessions, sql
from itest.data.baseline_sql import BASELINES as BASELINES
from itest.data.baseline_sql import MIGRATED as MIGRATED
from itest.data.baseline_sql import SEEDED as SEEDED
from itest.data.baseline_sql import prepare as prepare
from itest.data.contamination import Contaminated as Contaminated
from itest.data.contamination import SchemaChanged as SchemaChanged
from itest.data.restoring import LARGE, ROLES, Strategy
from itest.data.sessions import GRACE, Session

LOCK_TIMEOUT = GRACE  # seconds that a reset waits for another session's lock, each time that it tries
PATIENCE = 5.0  # seconds that a reset goes on trying while services write without a pause
DEAD_ROWS = 5000  # left by resets, after which what was touched is vacuumed
NOUNS = {"r": "", "S": "sequence ", "m": "materialized view "}


@dataclass(frozen=True)
class Outcome:
    """What a reset did. changed: what it brought back, such as `public.people` or `role bob`; ended: sessions that it
    ended as they kept a transaction open."""

    changed: tuple[str, ...] = ()
    ended: tuple[Session, ...] = ()


class Answer(NamedTuple):
    """What the function in the database says. mark: the transaction id that it took, or 0 where it proves nothing;
    dead: rows that it deleted."""

    verdict: str
    mark: int
    changed: list[int] | None
    dead: int | None


class Baseline:
    """The way back to a baseline, on a session that is given over to it: its settings are changed for good."""

    def __init__(self, conn: Connection, schema: str = SEEDED, *, polite: bool = False) -> None:
        """conn: in autocommit, of the role that prepared the baseline. polite: end nobody's transaction, wait only for
        the locks that a reset needs. Raises ItestError (data) where there is no such baseline, SchemaChanged where it
        was dropped."""
        self.conn = conn
        self.schema = schema
        self._polite = polite
        self._expected = 0  # the next transaction id if nothing happens meanwhile
        self._dead = 0
        self._touched: set[int] = set()
        conn.execute(sql.RESTORE)
        try:
            state = _state(conn, schema)
        except UndefinedTable as error:
            raise contamination.missing(conn, schema) from error
        conn.execute(baseline_sql.settings(state.strategy).encode())
        self._privileged = state.strategy == "delete"
        self._since = state.since
        objects = conn.execute(f"SELECT oid::bigint, kind::text, name FROM {schema}.objects".encode()).fetchall()
        self._names = {oid: f"{NOUNS[kind]}{name}" for oid, kind, name in objects}
        self._tables = {oid: name for oid, kind, name in objects if kind != "S"}
        self._passwords = roles.passwords(conn) if self._privileged else {}
        self._roles_seen = not self._privileged  # who came before may have died midway

    def reset(self) -> Outcome:
        """Bring everything back; in the common case one round trip.

        Transactions of others get a grace of 250 ms and are ended then. Raises SchemaChanged, Contaminated, or
        ItestError (data) that names the session whose locks are in the way.
        """
        ended: tuple[Session, ...] = ()
        how = "now" if self._polite else "patient"
        began = time.monotonic()
        while True:
            try:
                answer = self._ask(how)
            except (LockNotAvailable, DeadlockDetected) as error:
                if self._polite or time.monotonic() > began + PATIENCE:
                    raise contamination.blocked(self.conn) from error
                ended += sessions.settle(self.conn)
                continue
            except psycopg.Error as error:
                raise self._failed(error, ended) from error
            if answer.verdict == "open":
                ended += sessions.settle(self.conn)
                how = "now"
            elif answer.verdict == "ddl":
                self._same_schema(answer.mark, ended)
            else:
                return self._done(answer, ended)

    def is_clean(self) -> bool:
        """The cheap check only: since the last reset nobody was given a transaction id, and nobody's is open."""
        return self._ask("look").verdict == "clean"

    def dirt(self) -> list[str]:
        """Compare everything with the baseline, rows by content; a line for each difference. Changes nothing."""
        try:
            lines = dirt.rows(self.conn, self.schema) + self._changes()
        except (UndefinedTable, SchemaChanged):
            return [contamination.lost(self.conn, self.schema)]
        return lines + (roles.differences(self.conn, self.schema, self._passwords) if self._privileged else [])

    def _ask(self, how: str) -> Answer:
        asked = f"SELECT * FROM {self.schema}.reset(%s, %s)".encode()
        row = self.conn.execute(asked, [self._expected, how], prepare=True).fetchone()
        assert row is not None
        answer = Answer(*row)
        proves = answer.mark and answer.verdict in ("clean", "open", "reset")
        self._expected = answer.mark + 1 if proves else 0
        return answer

    def _done(self, answer: Answer, ended: tuple[Session, ...]) -> Outcome:
        name = self.conn.info.dbname
        oids = dict.fromkeys(answer.changed or [])
        if answer.verdict == "stale":
            found = (self._names.get(oid, "large objects") for oid in oids)
            raise SchemaChanged(name, [f"{one}: content that a reset can't bring back" for one in found], ended)
        if answer.verdict == "contaminated":
            raise Contaminated(name, self.dirt(), ended)
        changed = [self._names[oid] for oid in oids if oid in self._names]
        changed += ["large objects"] if LARGE in oids else []
        if ROLES in oids or not self._roles_seen:
            changed += self._restore_roles(ended)
        if answer.verdict == "reset" and not self._privileged:
            self._same_schema(0, ended)
        if oids:
            self._vacuum(oids, answer.dead or 0)
        return Outcome(tuple(changed), ended)

    def _restore_roles(self, ended: tuple[Session, ...]) -> list[str]:
        self._expected = 0
        changed, left = roles.restore(self.conn, self.schema, self._passwords)
        if left:
            hint = "a role that owns something in another database can't be dropped; drop it in the test that made it"
            raise Contaminated(self.conn.info.dbname, left, ended, hint)
        self._roles_seen = True
        return changed

    def _same_schema(self, number: int, ended: tuple[Session, ...]) -> None:
        """Raises SchemaChanged, or remembers that the DDL counted so far came to nothing."""
        changes = self._changes(ended)
        if changes:
            self._expected = 0
            raise SchemaChanged(self.conn.info.dbname, changes, ended)
        if number:
            events = restoring.EVENT_TRIGGERS.format(baseline=self.schema)
            asked = f"UPDATE {self.schema}.state SET ddl = %s WHERE events = {events} RETURNING ddl"
            if self.conn.execute(asked.encode(), [number]).fetchone() is None:
                raise SchemaChanged(self.conn.info.dbname, ["an event trigger came, went or was switched"], ended)

    def _changes(self, ended: tuple[Session, ...] = ()) -> list[str]:
        """What differs from the baseline's catalogue. Raises SchemaChanged where that was dropped."""
        try:
            return catalogue.changes(self.conn, self.schema, self._since)
        except UndefinedTable as error:
            raise contamination.dropped(self.conn, self.schema, ended) from error

    def _failed(self, error: psycopg.Error, ended: tuple[Session, ...]) -> Exception:
        """What an unexpected refusal of the database means: most likely a table that is gone or has other columns."""
        if self.conn.broken or self.conn.closed:
            return error
        try:
            _state(self.conn, self.schema)
        except UndefinedTable:
            return contamination.dropped(self.conn, self.schema, ended)
        changes = self._changes(ended)
        if changes:
            return SchemaChanged(self.conn.info.dbname, changes, ended)
        return contamination.refused(self.conn, error, ended)

    def _vacuum(self, touched: Iterable[int], dead: int) -> None:
        """Every few thousand dead rows, remove them: the emptiness of a table is found by reading over them."""
        self._touched.update(touched)
        self._dead += dead
        if self._dead > DEAD_ROWS:
            tables = [self._tables[oid] for oid in self._touched if oid in self._tables]
            own = [f"{self.schema}.objects", f"{self.schema}.state"]
            self.conn.execute(f"VACUUM (SKIP_LOCKED) {', '.join([*tables, *own])}".encode())
            self._dead = 0
            self._touched.clear()


class State(NamedTuple):
    """How a baseline was prepared. since: its transaction's id."""

    strategy: Strategy
    since: int


def _state(conn: Connection, baseline: str) -> State:
    """Raises UndefinedTable where the baseline isn't whole."""
    whole = f"LEFT JOIN (SELECT FROM {baseline}.objects, {baseline}.catalogue LIMIT 0) x ON true"
    row = conn.execute(f"SELECT strategy, since::text::bigint FROM {baseline}.state {whole}".encode()).fetchone()
    assert row is not None
    return State(*row)


def fingerprint(conn: Connection, baseline: str = SEEDED) -> str | None:
    """What a baseline was made from; None where this database has no such baseline."""
    asked = "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s"
    row = conn.execute(asked, [baseline]).fetchone()
    return str(row[0]) if row else None


def reset(conn: Connection, baseline: str = SEEDED) -> None:
    """Return to a baseline on any session, role and settings included; a transaction left open in it is rolled back.

    Nobody else's transaction is ended. Raises SchemaChanged, Contaminated, or ItestError (data) that names the session
    whose locks are in the way.
    """
    if conn.info.transaction_status != TransactionStatus.IDLE:
        conn.rollback()
    autocommit = conn.autocommit
    conn.autocommit = True
    try:
        Baseline(conn, baseline, polite=True).reset()
    finally:
        if not conn.closed:
            conn.execute(sql.RESTORE)
            conn.autocommit = autocommit
