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
    _prune(runs)
    return Run(run, runs / run)


@contextmanager
def alive(root: Path, owner: str) -> Iterator[None]:
    """Be known as alive to whoever looks for dead owners. owner: the id of a run, or of a pytest that starts stacks."""
    path = root / OWNERS / owner
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
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
    return sorted(path.name for path in (root / OWNERS).glob("*") if is_alive(root, path.name))


def is_ours(root: Path, owner: str) -> bool:
    """Whether an owner of that id was one of this checkout's, as far as its files still tell."""
    return (root / OWNERS / owner).exists() or (root / RUNS / owner).exists()


def _point_latest(runs: Path, run: str) -> None:
    new = runs / f".latest-{run}"
    new.symlink_to(run)
    os.replace(new, runs / "latest")  # atomic: somebody who reads it sees the old run or the new one


def _prune(runs: Path) -> None:
    """A run without a summary is still going on and stays, whatever its age."""
    finished = sorted(path.parent for path in runs.glob("*/summary.json") if not path.parent.is_symlink())
    for folder in finished[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)  # another run may be pruning the same one
