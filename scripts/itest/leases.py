"""Leases: whose a stack is, as its network says on the engine, and whether its owner is dead.

Where the owner's checkout is at hand, a lock tells (runs.py). Where it isn't, pid and start time do, which mean
something only on the same boot of the same host, in the same pid namespace. From elsewhere a lease holds until it
expires.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from itest import processes, runs
from itest.compose import PROJECT_LABEL
from itest.containers import docker

LEASE_LABEL, OWNER_LABEL = "itest.lease", "itest.owner"  # of a stack's network, see compose/base.yaml
HELD_FOR = 12 * 3600  # seconds: longer than a run takes, and than CI systems let one


@dataclass(frozen=True)
class Owner:
    """The process that owns a stack. started: clock ticks after boot; expires: seconds since the epoch."""

    pid: int
    started: int
    boot: str
    namespace: str
    host: str
    user: int
    checkout: str
    expires: float

    @property
    def place(self) -> tuple[str, str, int]:
        """Where its checkout's locks can be looked at."""
        return self.host, self.namespace, self.user


@dataclass(frozen=True)
class Lease:
    """What a stack's network says. kind: `run`, `keep` or `kept`; id: of whoever started it, see runs.alive."""

    project: str
    kind: str
    id: str
    owner: Owner | None


def own(root: Path) -> Owner:
    """This process as an owner."""
    pid = os.getpid()
    boot, namespace = processes.place()
    started = processes.started(pid) or 0
    return Owner(
        pid, started, boot, namespace, socket.gethostname(), os.getuid(), str(root), round(time.time()) + HELD_FOR
    )


def variables(root: Path, owner: str, *, keep: bool = False) -> dict[str, str]:
    """What compose/base.yaml reads to label what an owner starts. keep: the stack outlives its owner."""
    return {"ITEST_LEASE": f"{'keep' if keep else 'run'} {owner}", "ITEST_OWNER": json.dumps(asdict(own(root)))}


def on_engine() -> list[Lease]:
    """Every itest stack on the engine, one round trip. Raises ItestError (engine)."""
    fields = "\t".join(f'{{{{.Label "{name}"}}}}' for name in (PROJECT_LABEL, LEASE_LABEL, OWNER_LABEL))
    listing = docker("network", "ls", "--filter", f"label={LEASE_LABEL}", "--format", fields)
    return [_lease(*line.split("\t")) for line in listing.splitlines()]


def dead(root: Path, found: Sequence[Lease]) -> list[Lease]:
    """Those whose owner is dead as seen from this checkout; never a kept stack's."""
    if not any(lease.kind == "run" for lease in found):
        return []
    me, now = own(root), time.time()
    return [lease for lease in found if lease.kind == "run" and _is_dead(lease, me, now)]


def _is_dead(lease: Lease, me: Owner, now: float) -> bool:
    owner, here = lease.owner, Path(me.checkout)
    if owner is None:  # labelled by hand, or by an older version of this
        return runs.is_ours(here, lease.id) and not runs.is_alive(here, lease.id)
    if owner.place != me.place:
        return owner.expires < now
    for checkout in (here, Path(owner.checkout)):
        if runs.is_alive(checkout, lease.id):
            return False
        if runs.is_ours(checkout, lease.id):
            return True
    if owner.boot != me.boot or not owner.started:  # another machine of the same name, or one that doesn't tell
        return owner.expires < now
    return processes.started(owner.pid) != owner.started


def _lease(project: str, words: str, owner: str) -> Lease:
    kind, _, who = words.partition(" ")
    return Lease(project, kind, who, _owner(owner))


def _owner(text: str) -> Owner | None:
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError):
        return None
