"""A file that holds data, a migration or a fixture: read once, and every complaint about it begins with its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from itest.errors import ItestError

What = Literal["migration", "fixture"]

SIZE_LIMIT = 16 * 1024 * 1024  # bytes
LINE_LIMIT = 120  # characters of a line that is shown


@dataclass(frozen=True)
class DataFile:
    """what: the noun that messages begin with; path: from the root; text: as in the file, without a BOM."""

    what: What
    path: Path
    text: str

    def line_at(self, offset: int) -> int:
        """The line (from 1) that holds the character at an offset (from 0)."""
        return self.text.count("\n", 0, offset) + 1

    def error(self, problem: str, *, line: int = 0, hint: str = "", seen: str = "") -> ItestError:
        """`<what> <path>[:<line>]: <problem>`, of category data. seen: what stands there (`excerpt`)."""
        return _error(self.what, self.path, problem, line=line, hint=hint, seen=seen)

    def excerpt(self, *numbers: int) -> str:
        """Some lines with their numbers, cut where they are long."""
        lines = self.text.split("\n")
        found = [(number, lines[number - 1].rstrip()) for number in sorted(set(numbers))]
        width = len(str(max(numbers)))
        return "\n".join(
            f"{number:>{width}} | {line if len(line) <= LINE_LIMIT else line[: LINE_LIMIT - 1] + '…'}"
            for number, line in found
        )


def listing(what: What, folder: Path, *, root: Path) -> list[Path]:
    """Paths from the root of a folder's own files, by name. Folders in it and hidden files are left out.

    Raises ItestError (usage) where the folder isn't there.
    """
    if not (root / folder).is_dir():
        raise ItestError(
            "usage", f"{what}s {folder}: no such folder", hint=f"mkdir -p {folder}, or correct x-itest", cause="config"
        )
    found = (path for path in (root / folder).iterdir() if not path.name.startswith(".") and not path.is_dir())
    return sorted((folder / path.name for path in found), key=lambda path: path.name)


def read(what: What, path: Path, *, root: Path) -> DataFile:
    """Read one file. Raises ItestError (data) where it is too large, no UTF-8, or a link that leads out of the root."""
    real = (root / path).resolve()
    if not real.is_relative_to(root.resolve()):
        raise _error(what, path, "a link that leads out of the repository", hint="copy the file into the repository")
    if not real.is_file():
        raise _error(what, path, f"a link to {real.relative_to(root.resolve())}, which is no file", hint=f"rm {path}")
    size = real.stat().st_size
    if size > SIZE_LIMIT:
        problem = f"{size / 2**20:.0f} MiB, more than the limit of {SIZE_LIMIT >> 20} MiB"
        raise _error(what, path, problem, hint="split it, or make bulk rows with INSERT … SELECT … generate_series(…)")
    raw = real.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(what, path, raw, error.start) from None
    if "\0" in text:
        raise _not_utf8(what, path, raw, raw.index(b"\0"))
    return DataFile(what, path, text)


def _not_utf8(what: What, path: Path, raw: bytes, offset: int) -> ItestError:
    line = raw.count(b"\n", 0, offset) + 1
    guess = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
    hint = f"iconv -f {guess} -t utf-8 {path}, and save that"
    return _error(what, path, f"not UTF-8 text (byte 0x{raw[offset]:02x})", line=line, hint=hint)


def _error(what: What, path: Path, problem: str, *, line: int = 0, hint: str = "", seen: str = "") -> ItestError:
    place = f"{path.as_posix()}:{line}" if line else path.as_posix()
    return ItestError("data", f"{what} {place}: {problem}", hint=hint, cause=what, evidence=seen)
