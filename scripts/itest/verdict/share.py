"""Why a run is red, in one file that is small enough for an issue. It was masked when it was written; here again.

Once more, because whoever shares it may have secrets in their shell that the run never had, and because what goes
outside is masked more strictly: also a plain value, where its name or its place in a URL says that it is a secret.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itest import runs
from itest.errors import ItestError
from itest.verdict import atomic
from itest.verdict.mask import Masker, mask_assignments, mask_urls

NAME = "share.tar.gz"
LIMIT = 1_000_000  # bytes of all files before they are packed, so that the packed one fits in any issue
TAIL = 100_000  # bytes of a log's end
PASTED = 40  # lines of pytest's log that stand in for a failure.txt
# What explains most comes first, so that what doesn't fit any more explains least; other files come after these.
ORDER = ("failure.txt", "failure.json", "stacks.txt", "summary.json", "pytest.log", "compose.yaml", "junit.xml")
GREEN = ("passed", "skipped")


@dataclass(frozen=True)
class Shared:
    """What was packed. archive: None where nothing was red. files, left_out: name -> bytes; cut: ends of logs.

    paste: the text for the issue.
    """

    run: str
    archive: Path | None = None
    files: dict[str, int] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    left_out: dict[str, int] = field(default_factory=dict)
    paste: str = ""


def find(root: Path, arguments: Sequence[str]) -> Path:
    """The folder of the run that is meant: the latest, or the one whose id is given. Raises ItestError (usage)."""
    name = arguments[0] if arguments else "latest"
    folder = (root / runs.RUNS / name).resolve()
    known = sorted(path.name for path in (root / runs.RUNS).glob("2*"))
    if folder.name not in known:
        problem = f"there is no run {name} in {runs.RUNS}" if arguments else f"there is no run in {runs.RUNS} to share"
        newest = ", ".join(known[-3:])
        raise ItestError("usage", problem, hint=f"ARGS=<run>, of: {newest}" if known else "make itest", cause="run")
    if runs.is_alive(root, folder.name):
        raise ItestError("usage", f"run {folder.name} is still going on", hint="wait until it has ended", cause="alive")
    return folder


def pack(folder: Path, masker: Masker) -> Shared:
    """Write share.tar.gz into a run's folder, unless nothing was red."""
    suites = _red(folder)
    if not suites and not (folder / "failure.txt").exists():
        return Shared(folder.name)
    shared = Shared(folder.name, folder / NAME, paste=_clean(_paste(folder, suites), masker))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in _wanted(folder, suites):
            name = path.relative_to(folder).as_posix()
            content = _clean(_end(path), masker).encode()
            if sum(shared.files.values()) + len(content) > LIMIT:
                shared.left_out[name] = path.stat().st_size
                continue
            shared.files[name] = len(content)
            if path.suffix == ".log" and path.stat().st_size > TAIL:
                shared.cut.add(name)
            entry = tarfile.TarInfo(f"{folder.name}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    atomic.write(folder / NAME, packed.getvalue())
    return shared


def told(shared: Shared, root: Path) -> str:
    """What a person reads: what is in the file, then the text to paste."""
    if shared.archive is None:
        return f"run {shared.run}: nothing was red, so there is nothing to share"
    lines = [f"  {_kilobytes(size)}  {name}{_how(name, shared)}" for name, size in shared.files.items()]
    lines += [f"  {_kilobytes(size)}  {name}: left out, too large" for name, size in shared.left_out.items()]
    size = _kilobytes(shared.archive.stat().st_size).strip()
    where = f"{shared.archive.relative_to(root)}, {size}, secrets masked: look through it, then attach it"
    return "\n".join([*lines, where, "", "to paste:", "", shared.paste])


def _red(folder: Path) -> list[str]:
    """The suites that are not green, in the order of the run; all that there are of a run that was killed."""
    try:
        suites: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["suites"]
    except (OSError, ValueError, KeyError):
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    return [name for name, one in suites.items() if one.get("status") not in GREEN]


def _wanted(folder: Path, suites: Sequence[str]) -> list[Path]:
    own = [path for path in folder.iterdir() if path.is_file() and path.name != NAME]
    if suites:  # whose own reports say the same
        own = [path for path in own if path.name != "junit.xml"]
    found = [*own, *(path for suite in suites for path in (folder / suite).rglob("*"))]
    return sorted((path for path in found if path.is_file() and not path.name.startswith(".")), key=_rank)


def _rank(path: Path) -> tuple[int, str]:
    return (ORDER.index(path.name) if path.name in ORDER else len(ORDER), path.as_posix())


def _end(path: Path) -> str:
    """A file, of a log its end, from the beginning of a line. Of what is too large to be packed, too much."""
    with path.open("rb") as file:
        if path.suffix == ".log" and path.stat().st_size > TAIL:
            file.seek(-TAIL, io.SEEK_END)
            file.readline()
        return file.read(LIMIT + 1).decode(errors="replace")


def _paste(folder: Path, suites: Sequence[str]) -> str:
    """The first failure.txt; where only tests failed, why the suite is red and how its pytest ended."""
    for place in (folder, *(folder / suite for suite in suites)):
        if (place / "failure.txt").exists():
            return (place / "failure.txt").read_text(encoding="utf-8").strip()
    first = folder / suites[0]
    try:
        said = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["suites"][first.name]["message"]
    except (OSError, ValueError, KeyError):
        said = None
    log = _end(first / "pytest.log").splitlines()[-PASTED:] if (first / "pytest.log").exists() else []
    return "\n".join([f"{first.name}: {said or 'it was not said why'}", "", *log]).strip()


def _clean(text: str, masker: Masker) -> str:
    return mask_assignments(mask_urls(masker.text(text)))


def _how(name: str, shared: Shared) -> str:
    return f": its last {TAIL // 1000} kB" if name in shared.cut else ""


def _kilobytes(size: int) -> str:
    return f"{size / 1000:>7.1f} kB"
