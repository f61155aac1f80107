"""The folder of a run: build/itest/<run>/, `latest` pointing at the newest, the newest 20 kept."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

RUNS = Path("build") / "itest"
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


def _point_latest(runs: Path, run: str) -> None:
    new = runs / f".latest-{run}"
    new.symlink_to(run)
    os.replace(new, runs / "latest")  # atomic: somebody who reads it sees the old run or the new one


def _prune(runs: Path) -> None:
    """A run without a summary is still going on and stays, whatever its age."""
    finished = sorted(path.parent for path in runs.glob("*/summary.json") if not path.parent.is_symlink())
    for folder in finished[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)  # another run may be pruning the same one
