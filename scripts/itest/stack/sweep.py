"""Removing what was left by owners that were killed before they could clean up, and only that.

First whatever still works for them: an orphaned `docker compose up` makes containers after a look found none. Then
containers, networks and volumes, again and again until a look finds nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from itest import compose, leases, processes, runs
from itest.errors import ItestError
from itest.faults import active
from itest.machine import scratch
from itest.stack import slots
from itest.stack.eventually import eventually
from itest.stack.worker import SUFFIX

LOOKS = 20  # a removal that docker refuses so often won't succeed
ENDS_WITHIN = 5.0  # seconds from SIGKILL to the end of a process


def sweep(root: Path, report: Callable[[str], None]) -> list[str]:
    """Remove the stacks whose owner is dead, heal what the dead did to others, and say so; returns the projects.

    Costs one question to the engine where nobody died. A kept stack, a run that still lives, another user's, host's or
    pid namespace's before its lease expires, and anything that isn't itest's are never touched.
    Raises ItestError (engine).
    """
    scratch.sweep()
    swept = _remove_left(root, report)
    active.heal_left(root, report)
    return swept


def _remove_left(root: Path, report: Callable[[str], None]) -> list[str]:
    found = leases.on_engine()
    owners = {lease.id for lease in leases.dead(root, found)} | set(runs.dead(root))
    if not owners:
        return []
    homes = {lease.project: lease.owner.checkout for lease in found if lease.owner}
    elsewhere = {project: f" in {home}" for project, home in homes.items() if home != str(root)}
    swept: set[str] = set()
    with ExitStack() as burying:
        ours = [one for one in sorted(owners) if burying.enter_context(runs.burying(root, one))]
        for _ in range(LOOKS):
            ended = _end(processes.left_by(ours))
            left = _left_by(ours)
            for project in sorted(left - swept):
                report(f"removing {project}, left by a run that was killed{elsewhere.get(project, '')}")
            swept |= left
            for project in sorted(left):
                compose.remove(project, insist=False)
            if not ended and not left:
                break
        else:
            problem = f"{', '.join(sorted(left)) or 'processes of a killed run'}: it does not go"
            raise ItestError("engine", problem, hint="docker ps --all shows what is left of it", cause="sweep")
        for one in ours:
            slots.forget(root, one)
    return sorted(swept)


def _left_by(owners: Collection[str]) -> set[str]:
    """Projects of these owners: by the leases of their networks, and what goes by their names without a network."""
    held = leases.on_engine()
    stay = {lease.project for lease in held if lease.kind != "run"}
    theirs = {lease.project for lease in held if lease.id in owners}
    return (theirs | {one for one in compose.projects() if _is_of(one, owners)}) - stay


def _is_of(project: str, owners: Iterable[str]) -> bool:
    """Whether a project is named after one of these owners: `itest-api-<run>`, its `_worker1`, a bake's own name."""
    stack = project.partition(SUFFIX)[0]
    return any(stack == one or stack.endswith(f"-{one}") for one in owners)


def _end(found: Collection[processes.Process]) -> bool:
    """End processes and wait until they have. Whether there were any."""
    processes.end(found)
    with suppress(AssertionError):  # the next look finds it again
        eventually(lambda: all(processes.started(one.pid) != one.started for one in found), timeout=ENDS_WITHIN)
    return bool(found)
