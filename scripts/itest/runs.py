"""The folder of a run: build/itest/<run>/, `latest` pointing at the newest, the newest 20 kept; and who is still alive.

Whoever owns stacks holds a lock on a file of its name for as long as it lives. The kernel lets go of it however the
process ends, so a lease whose lock is free belongs to a dead owner: no pids to reuse, no clock to trust.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from itest import processes
from itest.machine.exclusive import taken

RUNS = Path("build") / "itest"
OWNERS = RUNS / "owners"
KEPT = 20  # finished runs
BEGINS_WITHIN = 60  # seconds, from its folder to its lock


@dataclass(frozen=True)
class Run:
    """id: sorts by time and is unique on this machine; folder: absolute."""

    id: str
    folder: Path

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"


def create(root: Path) -> Run:
    """Make the folder of a new run, point `latest` at it and remove what is older than the newest 20 finished runs."""
    runs = root / RUNS
    runs.mkdir(parents=True, exist_ok=True)
    while True:
        run = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            (runs / run).mkdir()
        except FileExistsError:
            continue
        break
    _point_latest(runs, run)
    _prune(root)
    return Run(run, runs / run)


@contextmanager
def alive(root: Path, owner: str) -> Iterator[None]:
    """Be known as alive to whoever looks for dead owners. owner: the id of a run, or of a pytest that starts stacks."""
    path = root / OWNERS / owner
    path.parent.mkdir(parents=True, exist_ok=True)
    unnamed = path.with_name(f".{owner}")
    with unnamed.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(_place())
        file.flush()
        unnamed.rename(path)  # only now: without its lock it would look like a dead one's
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_alive(root: Path, owner: str) -> bool:
    """Whether the owner of this checkout with that id still runs."""
    try:
        with (root / OWNERS / owner).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def owners(root: Path) -> list[str]:
    """Who is alive in this checkout."""
    return sorted(name for name in _known(root) if is_alive(root, name))


def dead(root: Path) -> list[str]:
    """Who has died in this checkout, and is not buried yet.

    Not whoever shared it from another host or pid namespace: there are mounts across which locks don't tell.
    """
    here = _place()
    return sorted(name for name in _known(root) if not is_alive(root, name) and _was_in(root, name, here))


@contextmanager
def burying(root: Path, owner: str) -> Iterator[bool]:
    """Remove what a dead owner left, while others take it for alive; with the block's end it is forgotten.

    False where somebody else is at it. When the block raises, it stays dead and known.
    """
    path = root / OWNERS / owner
    with taken(path) as got:
        yield got is not False  # without a file: nobody ever knew it here, or it was buried before
        if got:
            path.unlink(missing_ok=True)


def is_ours(root: Path, owner: str) -> bool:
    """Whether an owner of that id was one of this checkout's, as far as its files still tell."""
    return (root / OWNERS / owner).exists() or (root / RUNS / owner).exists()


def _place() -> str:
    return f"{socket.gethostname()} {processes.place()[1]}"


def _was_in(root: Path, owner: str, place: str) -> bool:
    try:
        return (root / OWNERS / owner).read_text(encoding="utf-8") == place
    except FileNotFoundError:
        return False


def _known(root: Path) -> list[str]:
    """Owners that hold a lock, or held one and died."""
    return [path.name for path in (root / OWNERS).glob("[!.]*")]


def _point_latest(runs: Path, run: str) -> None:
    new = runs / f".latest-{run}"
    new.symlink_to(run)
    os.replace(new, runs / "latest")  # atomic: somebody who reads it sees the old run or the new one


def _prune(root: Path) -> None:
    """A run that is still going on stays, whatever its age."""
    finished = sorted(path for path in (root / RUNS).glob("2*") if _is_over(root, path))
    for folder in finished[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)  # another run may be pruning the same one


def _is_over(root: Path, folder: Path) -> bool:
    """Whether a run has written its summary, or was killed before; one that only begins holds no lock yet."""
    if (folder / "summary.json").exists():
        return True
    try:
        return time.time() - folder.stat().st_mtime > BEGINS_WITHIN and not is_alive(root, folder.name)
    except FileNotFoundError:  # pruned meanwhile
        return False
