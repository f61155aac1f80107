"""The folder of a run: build/itest/<run>/, `latest` pointing at the newest, the newest 20 kept; and who is still alive.

Whoever owns stacks holds a lock on a file of its name for as long as it lives. The kernel lets go of it however the
process ends, so a lease whose lock is free belongs to a dead owner: no pids to reuse, no clock to trust.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

RUNS = Path("build") / "itest"
OWNERS = RUNS / "owners"
KEPT = 20  # finished runs


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
    _prune(root, keep=run)
    return Run(run, runs / run)


@contextmanager
def alive(root: Path, owner: str) -> Iterator[None]:
    """Be known as alive to whoever looks for dead owners. owner: the id of a run, or of a pytest that starts stacks."""
    path = root / OWNERS / owner
    path.parent.mkdir(parents=True, exist_ok=True)
    unnamed = path.with_name(f".{owner}")
    with unnamed.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
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
    """Who has died in this checkout, and is not buried yet."""
    return sorted(name for name in _known(root) if not is_alive(root, name))


@contextmanager
def burying(root: Path, owner: str) -> Iterator[bool]:
    """Remove what a dead owner left, while others take it for alive; with the block's end it is forgotten.

    False where somebody else is at it. When the block raises, it stays dead and known.
    """
    path = root / OWNERS / owner
    try:
        file = path.open()
    except FileNotFoundError:
        yield True  # nobody ever knew it here, or it was buried before
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)


def is_ours(root: Path, owner: str) -> bool:
    """Whether an owner of that id was one of this checkout's, as far as its files still tell."""
    return (root / OWNERS / owner).exists() or (root / RUNS / owner).exists()


def _known(root: Path) -> list[str]:
    """Owners that hold a lock, or held one and died."""
    return [path.name for path in (root / OWNERS).glob("[!.]*")]


def _point_latest(runs: Path, run: str) -> None:
    new = runs / f".latest-{run}"
    new.symlink_to(run)
    os.replace(new, runs / "latest")  # atomic: somebody who reads it sees the old run or the new one


def _prune(root: Path, keep: str) -> None:
    """A run that is still going on stays, whatever its age. keep: the one that begins, and holds no lock yet."""
    folders = sorted(path for path in (root / RUNS).glob("2*") if path.is_dir() and not path.is_symlink())
    finished = [path for path in folders if path.name != keep and not is_alive(root, path.name)]
    for folder in finished[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)  # another run may be pruning the same one
