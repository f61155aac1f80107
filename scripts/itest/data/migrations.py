"""Migration files: what their names and contents say, checked in full before any database is asked.

`V0001__create_users.sql` goes forward only; `001_create_users.up.sql` may have a `001_create_users.down.sql` beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from itest.data import datafile, sql
from itest.data.datafile import DataFile
from itest.suite.schema import nearest

FILE_NAME = re.compile(r"(?:V(?P<v>[0-9]+)__|(?P<n>[0-9]+)_)(?P<name>.+?)(?:\.(?P<way>up|down))?\.sql")
DIRECTIVE = re.compile(r"[ \t]*--[ \t]*itest:[ \t]*(?P<word>.*?)[ \t\r]*")
NO_TRANSACTION = "no-transaction"
NEWEST_VERSION = 2**63 - 1  # what the record's bigint holds


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
        lines = self.file.text.split("\n")[: _leading_lines(self.file.text)]
        return not any(DIRECTIVE.fullmatch(line) for line in lines)


def discover(folders: Iterable[Path], *, root: Path) -> list[Migration]:
    """The migrations of some folders (relative to root), merged, in numeric order. Gaps are fine, other files ignored.

    Raises ItestError: usage for a folder that isn't there; data for a name without version, two files of one version,
    a `.down.sql` without its `.up.sql`, a file that is empty, no UTF-8, or would end its own transaction.
    """
    ups: dict[int, Migration] = {}
    downs: dict[int, Migration] = {}
    for path in (path for folder in folders for path in datafile.listing("migration", folder, root=root)):
        if path.suffix.lower() == ".sql":
            found, way = _read(path, root)
            kept = downs if way == "down" else ups
            if found.version in kept:
                other = kept[found.version].file.path
                raise found.file.error(f"version {found.version} is also {other}", hint=f"renumber {path}")
            kept[found.version] = found
    for down in downs.values():
        if down.version not in ups or ups[down.version].name != down.name:
            up = down.file.path.name.replace(".down.sql", ".up.sql")
            raise down.file.error(f"takes back {up}, which is not there", hint=f"write {up}, or rm {down.file.path}")
    return [replace(ups[version], down=downs[version].file if version in downs else None) for version in sorted(ups)]


def normalised(text: str) -> str:
    """What the checksum covers: a BOM, kinds of line ends, and blanks at the end of a line or the file don't count."""
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    return "\n".join(line.rstrip(" \t") for line in lines).rstrip("\n")


def renumbered(migration: Migration, version: int) -> str:
    """The name that a migration's file would have with another version."""
    return re.sub(r"[0-9]+", lambda digits: f"{version:0{len(digits[0])}d}", migration.file.path.name, count=1)


def _read(path: Path, root: Path) -> tuple[Migration, str]:
    """One file, checked, and its way: "up", "down", or "" for neither."""
    file = datafile.read("migration", path, root=root)
    match = FILE_NAME.fullmatch(path.name)
    if not match or (match["n"] and not match["way"]):
        bare = re.sub(r"^[vV]?[0-9]*[_.-]*|(\.(up|down))?\.sql$", "", path.name, flags=re.IGNORECASE) or "name"
        number = int((re.search(r"[0-9]+", path.name) or ["1"])[0])
        right = f"V{number:04d}__{bare}.sql or {number:03d}_{bare}.up.sql"
        raise file.error("its name is not of the form V0001__name.sql or 001_name.up.sql", hint=f"rename it to {right}")
    version = int(match["v"] or match["n"])
    if version > NEWEST_VERSION:
        raise file.error(f"version {version} is too large", hint="number it with at most 18 digits")
    migration = Migration(version, match["name"], file)
    _check_content(migration)
    return migration, match["way"] or ""


def _check_content(migration: Migration) -> None:
    file = migration.file
    leading = _leading_lines(file.text)
    for number, line in enumerate(file.text.split("\n"), start=1):
        said = DIRECTIVE.fullmatch(line)
        if said and said["word"] != NO_TRANSACTION:
            raise file.error(
                f"unknown directive `{said['word']}`", line=number, hint=nearest(said["word"], [NO_TRANSACTION])
            )
        if said and number > leading:
            hint = f"move it to line 1 of {file.path}"
            raise file.error(f"`{said['word']}` stands after the first statement", line=number, hint=hint)
    if migration.transactional:
        sql.refuse(file, f"remove it, or begin the file with `-- itest: {NO_TRANSACTION}`")
    else:
        sql.refuse_empty(file)


def _leading_lines(text: str) -> int:
    """How many lines of comment and blanks a file begins with."""
    count = 0
    for line in text.split("\n"):
        if line.strip() and not line.lstrip().startswith("--"):
            break
        count += 1
    return count
