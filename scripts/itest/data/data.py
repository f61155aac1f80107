"""The data stage: migrations as production would run them, then fixtures, then the baseline that tests return to.

Last, each PostgreSQL database is sealed as a template, from which copies are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import InsufficientPrivilege

from itest.data import baseline, fixtures, fixtures_redis, migrate, migrations, sql, stubs, template
from itest.data.baseline import Contaminated, SchemaChanged
from itest.data.fixtures import Fixture
from itest.data.fixtures_redis import Command
from itest.data.migrations import Migration
from itest.data.restoring import Strategy
from itest.errors import ItestError
from itest.suite.suite import Suite

if TYPE_CHECKING:
    from itest.mock.stubs import Stub

LOCK_TIMEOUT = 10.0  # seconds that a session of ours waits for somebody else's lock
SHOWN = 3  # changes of a schema that a line names
BEFORE, BACK = UNEVENTFUL = ("seeded before", "back to the seeded state")  # said where there is no news


@dataclass(frozen=True)
class Plan:
    """The files that a suite's stores are filled from, read and checked."""

    suite: Suite
    migrations: list[Migration]
    fixtures: list[Fixture]
    stubs: tuple[Stub, ...] = ()  # of what the mock answers in every test

    @property
    def databases(self) -> list[str]:
        return [service.name for service in self.suite.services.values() if service.kind == "postgres"]

    @property
    def sealed(self) -> bool:
        """Whether tests may need copies of the databases: with isolation `none` nothing is ever brought back."""
        return self.suite.isolation != "none"

    @property
    def strategy(self) -> Strategy:
        """How databases are brought back: without the privileges of `delete` where the suite says so."""
        return "truncate" if self.suite.isolation == "truncate" else "delete"

    @property
    def fingerprint(self) -> str:
        """Changes when any of the files does, or the way back, or the code that made the baseline."""
        files = [*(one.file for one in self.migrations), *(one.file for one in self.fixtures)]
        told = "".join(f"{file.path}\0{file.text}\0" for file in files)
        return hashlib.sha256(f"{told}{self.strategy}{_code()}".encode()).hexdigest()


def _code() -> str:
    """What writes and reads a baseline: of one that other code has written, it would tell differences there aren't."""
    written_by = ("baseline_sql", "catalogue", "relations", "restoring", "roles")
    return "".join(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in written_by)


def plan(suite: Suite) -> Plan:
    """Read and check the files of a suite; needs no service.

    Raises ItestError (usage or data) with file and line for whatever is wrong with them.
    """
    kinds = {name: service.kind for name, service in suite.services.items()}
    one = Plan(
        suite,
        migrations.discover(suite.migrations, root=suite.root),
        fixtures.discover(suite.fixtures, root=suite.root, kinds=kinds),
        stubs.read(suite.fixtures, root=suite.root),
    )
    stubs.check(suite)
    if one.migrations and len(one.databases) != 1:
        problem = f"suite {suite.name}: migrations need one service of kind postgres, not {len(one.databases)}"
        raise ItestError("usage", problem, hint="give one service `x-itest: {kind: postgres}`", cause="config")
    return one


def prepare(one: Plan, addresses: Mapping[str, str]) -> str:
    """Migrate and seed the stores, unless they were seeded from these very files before; then they stay as they are.

    Stores that were seeded from other files return to what the migrations left, are migrated on and seeded anew.
    addresses: service -> DSN or URL; a store without one is left alone. Says what was done.
    Raises ItestError (data): file, line or row.
    """
    databases = [addresses[name] for name in one.databases if name in addresses]
    mocks = [name for name, service in one.suite.services.items() if service.kind == "mock" and name in addresses]
    done = [_count(len(one.stubs), "stub") for name in mocks if stubs.load(one.stubs, addresses[name])]
    done += [said for dsn in databases for said in _healed(one, dsn)]
    with ExitStack() as opened:
        sessions = [opened.enter_context(_session(dsn)) for dsn in databases]
        if sessions and all(_is_seeded(one, session) for session in sessions):
            _fill_empty(one, addresses)
            return ", ".join(done) or BEFORE
        for session in sessions:
            _rewind(session)
        if one.migrations:
            applied = migrate.apply(addresses[one.databases[0]], one.migrations)
            done.append(_count(len(applied), "migration"))
        for session in sessions:
            baseline.prepare(session, baseline.MIGRATED, strategy=one.strategy)
        for name, service in one.suite.services.items():
            if service.kind == "redis" and name in addresses:
                _flush(addresses[name])
        if wanted := [each for each in one.fixtures if each.service in addresses]:
            loaded = fixtures.load(wanted, addresses)
            done.append(_count(sum(each.files for each in loaded), "fixture"))
        for session in sessions:
            baseline.prepare(session, fingerprint=one.fingerprint, strategy=one.strategy)
        if one.sealed:
            done.extend(said for session in sessions for said in _seal(one, session))
    return ", ".join(done) or "no data"


def reseed(one: Plan, addresses: Mapping[str, str]) -> str:
    """Back to the seeded state, from the files as they are now. Says what was done, one of UNEVENTFUL where that is no
    news. Raises ItestError (data) as `prepare` does."""
    done = prepare(one, addresses)
    healed = [said for name in one.databases for said in _restored(addresses[name])]
    for name, service in one.suite.services.items():
        if service.kind == "redis":
            _flush(addresses[name], fixtures.commands(one.fixtures, name))
    return ", ".join([*([] if done == BEFORE else [done]), *healed]) or BACK


def _restored(dsn: str) -> list[str]:
    """Bring a database back to its baseline, made anew from its template where no reset can. Says that it was."""
    with _session(dsn) as session:
        try:
            baseline.reset(session)
            return []
        except (SchemaChanged, Contaminated) as error:
            if not template.is_sealed(session):
                raise
            name, reason = session.info.dbname, _reason(error)
    ended = template.rebuild(dsn)
    return ["; ".join([f"{name} was made anew, {reason}", *(f"ended {who}" for who in ended)])]


def _reason(error: SchemaChanged | Contaminated) -> str:
    """Why a database had to be made anew, on one line."""
    if isinstance(error, SchemaChanged):
        what, lines = "its schema had been changed", error.changes
    else:
        what, lines = "it could not be reset", error.dirt
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return f"{what}: {', '.join([*lines[:SHOWN], *more])}"


def _healed(one: Plan, dsn: str) -> list[str]:
    """Bring a database of other files back to its baseline, whatever was done to it: the way to what the migrations
    left may be lost, too, and the template, from which it can be made anew, goes next. Says what that took."""
    with _session(dsn) as session:
        if _is_seeded(one, session) or not template.is_sealed(session):
            return []
    return _restored(dsn)


def _fill_empty(one: Plan, addresses: Mapping[str, str]) -> None:
    """Seed each Redis that holds nothing: beside a database that was baked or outlived it, it starts empty."""
    import redis

    caches = {each.service for each in one.fixtures if each.kind == "redis"}
    for name in caches & set(addresses):
        with redis.Redis.from_url(addresses[name]) as client:
            if not client.dbsize():
                fixtures_redis.reset(client, fixtures.commands(one.fixtures, name))


def _is_seeded(one: Plan, session: psycopg.Connection) -> bool:
    return baseline.fingerprint(session) == one.fingerprint and (template.is_sealed(session) or not one.sealed)


def _seal(one: Plan, session: psycopg.Connection) -> list[str]:
    """Seal the template, and say whom that disconnected. A role that may not is content with `truncate` alone."""
    try:
        return [f"ended {who}" for who in template.seal(session)]
    except ItestError as error:
        if one.strategy == "truncate" and isinstance(error.__cause__, InsufficientPrivilege):
            return ["no sealed copy, as the role may not create databases"]
        raise


def _rewind(session: psycopg.Connection) -> None:
    """Back to what the migrations left. The template goes first: no later failure may leave one of older files."""
    template.unseal(session)
    if baseline.fingerprint(session, baseline.MIGRATED) is not None:
        baseline.reset(session, baseline.MIGRATED)


def _session(dsn: str) -> psycopg.Connection:
    return sql.connect(dsn, "itest data", lock_timeout=LOCK_TIMEOUT)


def _flush(address: str, seed: Sequence[Command] = ()) -> None:
    import redis

    with redis.Redis.from_url(address) as client:
        fixtures_redis.reset(client, seed)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
