"""What runs and people left on the engine: kept stacks, stacks of dead runs, bakes and images with their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itest import compose, leases
from itest.bake import shelf
from itest.doctor.finding import MACHINE, Finding
from itest.images import store
from itest.images.dockercli import query


@dataclass(frozen=True)
class Leftovers:
    """kept: stacks of this checkout; dead: whose owner was killed, as seen from here; others: stacks of anybody else's.

    bakes: of this checkout, how many and bytes; images: how many the toolkit built, stand-ins and their bases included;
    superseded: names of those that newer ones have replaced, and that containers used then.
    """

    kept: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    others: int = 0
    bakes: tuple[int, int] = (0, 0)
    images: int = 0
    superseded: tuple[str, ...] = ()

    def __str__(self) -> str:
        stacks = f"stacks: {len(self.kept)} kept, {self.others} of others"
        return f"{stacks}; bakes: {self.bakes[0]}, {self.bakes[1] / 1e6:.0f} MB; images built: {self.images}"


def look(root: Path) -> Leftovers:
    """Ask the engine. Raises ItestError (engine) where it doesn't answer."""
    found = leases.on_engine()
    dead = {one.project for one in leases.dead(root, found)}
    here = set(compose.project_labels({compose.WORKING_DIR_LABEL: str(root / "compose")}))
    baked = [one for one in shelf.everything() if one.checkout == shelf.checkout_of(root)]
    return Leftovers(
        tuple(sorted(one.project for one in found if one.kind != "run" and one.project in here)),
        tuple(sorted(dead)),
        len({one.project for one in found} - here - dead),
        (len(baked), sum(one.size for one in baked)),
        len(set(query("image", "ls", "--quiet", "--filter", f"label={store.HASH}").stdout.split())),
        tuple(store.superseded()),
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
    if left.superseded:
        what = f"superseded: {', '.join(left.superseded)}"
        why = "a container used the image when a newer one was built; since then nothing starts it"
        mend = "make down, or make clean: it goes with the container"
        yield Finding("note", "superseded-image", MACHINE, what, why, mend)
