"""What runs and people left on the engine: kept stacks, stacks of dead runs, bakes and images with their sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itest import compose, runs
from itest.bake import shelf
from itest.doctor.finding import MACHINE, Finding
from itest.images import store
from itest.images.dockercli import query


@dataclass(frozen=True)
class Leftovers:
    """kept, dead: projects of this checkout. others: how many stacks of others there are.

    bakes: of this checkout; images: that the toolkit built; both how many and bytes.
    """

    kept: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    others: int = 0
    bakes: tuple[int, int] = (0, 0)
    images: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        bakes, images = self.bakes, self.images
        stacks = f"{len(self.kept)} kept stacks ({self.others} of others)"
        return f"{stacks}, {bakes[0]} bakes {bakes[1] / 1e6:.0f} MB, {images[0]} built images {images[1] / 1e9:.1f} GB"


def look(root: Path) -> Leftovers:
    """Ask the engine. Raises ItestError (engine) where it doesn't answer."""
    leases = compose.leases()
    here = _projects_of(root)
    kept = [name for name, lease in leases.items() if not lease.startswith("run ") and name in here]
    dead = [name for name, lease in leases.items() if lease.startswith("run ") and _is_dead(root, lease, name in here)]
    baked = [one for one in shelf.everything() if one.checkout == shelf.checkout_of(root)]
    return Leftovers(
        tuple(sorted(kept)),
        tuple(sorted(dead)),
        len([name for name in leases if name not in here and name not in dead]),
        (len(baked), sum(one.size for one in baked)),
        _built(),
    )


def examine(left: Leftovers) -> Iterator[Finding]:
    """What somebody may have forgotten."""
    if left.dead:
        what = f"a run that was killed left {', '.join(left.dead)}"
        why = "memory, ports and a network each"
        yield Finding("warning", "dead-run", MACHINE, what, why, "the next `make itest`, or `make clean`, removes it")
    if left.kept:
        what = f"kept: {', '.join(left.kept)}"
        why = "kept stacks hold memory and a network each until somebody takes them down"
        yield Finding("note", "kept-stack", MACHINE, what, why, "make ps; make down SUITE=…, or make down ALL=1")


def _projects_of(root: Path) -> set[str]:
    label = {compose.WORKING_DIR_LABEL: str(root / "compose")}
    return set(compose.project_labels(label))


def _is_dead(root: Path, lease: str, here: bool) -> bool:
    owner = lease.partition(" ")[2]
    return (here or runs.is_ours(root, owner)) and not runs.is_alive(root, owner)


def _built() -> tuple[int, int]:
    """Stand-ins, their bases and built images. Layers that several share count for each, as docker itself counts."""
    ids = sorted(set(query("image", "ls", "--quiet", "--filter", f"label={store.HASH}").stdout.split()))
    found = json.loads(query("image", "inspect", *ids).stdout or "[]") if ids else []
    return len(found), sum(one.get("Size", 0) for one in found)
