"""Fixtures: the files that fill a suite's stores before its tests, checked in full before any container starts.

`NAME.sql` and `NAME.json` belong to the suite's one PostgreSQL; `NAME.<service>.sql` and `NAME.<service>.json` to that
service. Within a folder they go by name, folders in the order of the suite.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itest.data import datafile, fixtures_json, fixtures_postgres, fixtures_redis, sql
from itest.data.datafile import DataFile
from itest.data.fixtures_json import Table
from itest.data.fixtures_redis import Command
from itest.suite.schema import nearest

SEEDED = ("postgres", "redis")  # kinds that fixtures can fill


@dataclass(frozen=True)
class Fixture:
    """One file for one service. tables: what a JSON file holds for PostgreSQL; commands: what it holds for Redis."""

    service: str
    kind: str
    file: DataFile
    tables: tuple[Table, ...] = ()
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """What went into one service. rows: of JSON files, or keys of Redis; seconds: how long it took."""

    service: str
    files: int
    rows: int
    seconds: float


def discover(folders: Iterable[Path], *, root: Path, kinds: Mapping[str, str]) -> list[Fixture]:
    """The fixtures of some folders (relative to root), in the order in which they load. Needs no service.

    kinds: service -> kind, of the suite that they are for.
    Raises ItestError: usage for a folder that isn't there; data for a file that names no service of the suite, isn't
    UTF-8, is empty, or holds bad JSON or JSON of another shape, naming line, row or key.
    """
    paths = [path for folder in folders for path in datafile.listing("fixture", folder, root=root)]
    found = [_read(path, root, kinds) for path in paths if path.suffix.lower() in (".sql", ".json")]
    _refuse_shared_keys(found)
    return found


def load(fixtures: Sequence[Fixture], addresses: Mapping[str, str]) -> list[Loaded]:
    """Fill the stores, each in one transaction. addresses: service -> DSN or URL.

    Raises ItestError (data) that names file, row and cause; the store is then as it was before.
    """
    done = []
    for service in dict.fromkeys(fixture.service for fixture in fixtures):
        mine = [fixture for fixture in fixtures if fixture.service == service]
        started = time.perf_counter()
        if mine[0].kind == "postgres":
            rows = fixtures_postgres.load(addresses[service], [(fixture.file, fixture.tables) for fixture in mine])
        else:
            rows = fixtures_redis.load(addresses[service], commands(mine, service))
        done.append(Loaded(service, len(mine), rows, time.perf_counter() - started))
    return done


def commands(fixtures: Iterable[Fixture], service: str) -> list[Command]:
    """All commands that seed one Redis, for the first time or after a reset."""
    return [command for fixture in fixtures if fixture.service == service for command in fixture.commands]


def _read(path: Path, root: Path, kinds: Mapping[str, str]) -> Fixture:
    file = datafile.read("fixture", path, root=root)
    service = _service(file, kinds)
    kind = kinds[service]
    if path.suffix == ".sql" and kind == "postgres":
        sql.refuse(file, "remove it: the fixtures of a database share one transaction")
        return Fixture(service, kind, file)
    if path.suffix == ".json" and kind == "postgres":
        return Fixture(service, kind, file, tables=fixtures_json.tables(file))
    if path.suffix == ".json" and kind == "redis":
        return Fixture(service, kind, file, commands=fixtures_redis.commands(file))
    problem = f"service {service} is of kind {kind or 'none'}, which takes no {path.suffix} file"
    raise file.error(problem, hint="PostgreSQL takes .sql and .json, Redis takes .json")


def _service(file: DataFile, kinds: Mapping[str, str]) -> str:
    """The service that a file's name says, or the only PostgreSQL there is."""
    _, dot, named = file.path.stem.partition(".")
    if dot:
        if named not in kinds:
            hint = f"{nearest(named, kinds)} (in NAME.<service>{file.path.suffix} the name itself has no dot)"
            raise file.error(f"no service {named} in this suite", hint=hint)
        return named
    databases = [service for service, kind in kinds.items() if kind == "postgres"]
    if len(databases) != 1:
        problem = f"it names no service, and this suite has {len(databases)} of kind postgres"
        known = ", ".join(sorted(service for service, kind in kinds.items() if kind in SEEDED)) or "none"
        raise file.error(problem, hint=f"rename it to {file.path.stem}.<service>{file.path.suffix}; services: {known}")
    return databases[0]


def _refuse_shared_keys(found: Iterable[Fixture]) -> None:
    """A Redis key of two files would silently be the later one's."""
    owners: dict[tuple[str, str], DataFile] = {}
    for fixture in found:
        for key in dict.fromkeys(command[1] for command in fixture.commands):
            owner = owners.setdefault((fixture.service, key), fixture.file)
            if owner is not fixture.file:
                raise fixture.file.error(f"key {key} is also in {owner.path}", hint="keep it in one of the two")
