"""Migrations: each file once, in numeric order, together with its record, under a lock that only one runner holds.

`V0001__create_users.sql` goes forward only; `001_create_users.up.sql` may have a `001_create_users.down.sql` beside it.
"""

from __future__ import annotations

import hashlib
import operator
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import Connection
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from itest import datafile, sql
from itest.datafile import DataFile
from itest.errors import ItestError
from itest.schema import nearest

FILE_NAME = re.compile(r"(?:V(?P<v>[0-9]+)__|(?P<n>[0-9]+)_)(?P<name>[^\s].*?)(?:\.(?P<way>up|down))?\.sql")
DIRECTIVE = re.compile(r"[ \t]*--[ \t]*itest:[ \t]*(?P<word>\S*)")
NO_TRANSACTION = "no-transaction"
NEWEST_VERSION = 2**63 - 1  # what the record's bigint holds

LOCK = (0x17E57, 1)  # two numbers of our own: advisory locks share one space in a database
TABLE = """
    CREATE TABLE IF NOT EXISTS public.itest_migrations (
        version bigint PRIMARY KEY, path text NOT NULL, checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), ms double precision NOT NULL)
"""
RECORD = "INSERT INTO public.itest_migrations (version, path, checksum, ms) VALUES (%s, %s, %s, %s)"
FORGET = "DELETE FROM public.itest_migrations WHERE version = %s"
HISTORY = "SELECT version, path, checksum, applied_at, ms FROM public.itest_migrations ORDER BY version"
LOCK_HOLDER = """
    SELECT a.pid, a.application_name, a.client_addr::text, a.backend_start, a.query_start
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Migration:
    """One migration. file: what it does; down: what takes it back, where there is such a file."""

    version: int
    name: str
    file: DataFile
    down: DataFile | None = None

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the normalised text."""
        return hashlib.sha256(normalised(self.file.text).encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        """False where `-- itest: no-transaction` stands among the leading comments."""
        return NO_TRANSACTION not in _directives(self.file)


@dataclass(frozen=True)
class Applied:
    """A migration that has just run, and how long it took (milliseconds)."""

    migration: Migration
    ms: float


@dataclass(frozen=True)
class MigrationState:
    """Where a migration stands. applied_at and ms are None while it is pending."""

    migration: Migration
    applied_at: datetime | None
    ms: float | None


class Record(NamedTuple):
    """One row of public.itest_migrations."""

    version: int
    path: str
    checksum: str
    applied_at: datetime
    ms: float


def discover(folders: Iterable[Path], *, root: Path) -> list[Migration]:
    """The migrations of some folders (relative to root), merged, in numeric order. Gaps are fine, other files ignored.

    Raises ItestError: usage for a folder that isn't there; data for a name without version, two files of one version,
    a `.down.sql` without its `.up.sql`, and what makes a file no SQL.
    """
    ups: dict[int, Migration] = {}
    downs: dict[int, tuple[str, DataFile]] = {}
    for path in (path for folder in folders for path in datafile.listing("migration", folder, root=root)):
        if path.suffix.lower() != ".sql":
            continue
        version, name, way = _parse(path)
        file = datafile.read("migration", path, root=root)
        taken = downs[version][1] if way == "down" and version in downs else None
        taken = ups[version].file if way != "down" and version in ups else taken
        if taken is not None:
            raise file.error(f"version {version} is also {taken.path}", hint=f"give {path} the next free number")
        if way == "down":
            downs[version] = (name, file)
        else:
            ups[version] = _checked(Migration(version, name, file))
    return [_with_down(ups[version], downs) for version in sorted(ups)] if _paired(ups, downs) else []


def normalised(text: str) -> str:
    """What the checksum covers: line ends, white space at the end of lines and of the file don't count."""
    lines = (line.rstrip() for line in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")))
    return "\n".join(lines).rstrip("\n")
