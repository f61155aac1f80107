"""The data stage: migrations as production would run them, then fixtures, then the baseline that tests return to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from itest import fixtures, migrate, migrations, reset, sql
from itest.errors import ItestError
from itest.fixtures import Fixture
from itest.migrations import Migration
from itest.suite import Suite

LOCK_TIMEOUT = 10.0  # seconds that a session of ours waits for somebody else's lock


@dataclass(frozen=True)
class Plan:
    """The files that a suite's stores are filled from, read and checked."""

    suite: Suite
    migrations: list[Migration]
    fixtures: list[Fixture]

    @property
    def databases(self) -> list[str]:
        return [service.name for service in self.suite.services.values() if service.kind == "postgres"]


def plan(suite: Suite) -> Plan:
    """Read and check the files of a suite; needs no service.

    Raises ItestError (usage or data) with file and line for whatever is wrong with them.
    """
    kinds = {name: service.kind for name, service in suite.services.items()}
    one = Plan(
        suite,
        migrations.discover(suite.migrations, root=suite.root),
        fixtures.discover(suite.fixtures, root=suite.root, kinds=kinds),
    )
    if one.migrations and len(one.databases) != 1:
        problem = f"suite {suite.name}: migrations need one service of kind postgres, not {len(one.databases)}"
        raise ItestError("usage", problem, hint="give one service `x-itest: {kind: postgres}`", cause="config")
    return one


def prepare(one: Plan, addresses: Mapping[str, str]) -> str:
    """Migrate and seed the stores that aren't yet, and record their baseline. addresses: service -> DSN or URL.

    Says what was done. Stores that were seeded before keep what is in them, so a stack can be brought up twice; when
    there are new migrations for it, it returns to its baseline first. Raises ItestError (data): file, line or row.
    """
    done = []
    prepared = _prepared(one, addresses)
    if prepared and not _pending(one, addresses):
        return "seeded before"
    for service in prepared:
        with _session(addresses[service]) as connection:
            reset.reset(connection)
    if one.migrations:
        applied = migrate.apply(addresses[one.databases[0]], one.migrations)
        done.append(_count(len(applied), "migration"))
    if one.fixtures and not prepared:
        loaded = fixtures.load(one.fixtures, addresses)
        done.append(_count(sum(each.files for each in loaded), "fixture"))
    for service in one.databases:
        with _session(addresses[service]) as connection:
            reset.prepare(connection)
    return ", ".join(done) or "no data"


def reseed(one: Plan, addresses: Mapping[str, str]) -> str:
    """Empty every store and load the fixtures as they are now. Raises ItestError (data); the old rows then stay gone."""
    for service in one.databases:
        with _session(addresses[service]) as connection:
            reset.empty(connection)
    for service, address in addresses.items():
        if one.suite.services[service].kind == "redis":
            _flush(address)
    return prepare(one, addresses)


def _prepared(one: Plan, addresses: Mapping[str, str]) -> list[str]:
    found = []
    for service in one.databases:
        with _session(addresses[service]) as connection:
            if reset.is_prepared(connection):
                found.append(service)
    return found


def _pending(one: Plan, addresses: Mapping[str, str]) -> bool:
    if not one.migrations:
        return False
    states = migrate.status(addresses[one.databases[0]], one.migrations)
    return any(state.applied_at is None for state in states)


def _session(dsn: str) -> sql.Connection:
    return sql.connect(dsn, "itest data", lock_timeout=LOCK_TIMEOUT)


def _flush(address: str) -> None:
    import redis

    with redis.Redis.from_url(address) as client:
        reset.reset_redis(client, [])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
