"""Faults of containers, noted so that they outlive whoever injected them: a test that is killed can heal nothing.

A note is a file of build/itest/faults, locked by its process for as long as that lives. The kernel lets go of the lock
however the process ends, and the next command undoes what the note says. A fault by hand is nobody's: it stays.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from itest import leases, runs
from itest.containers import Container, docker, inspect, moment
from itest.errors import ItestError
from itest.machine.exclusive import taken
from itest.stack.eventually import eventually

FAULTS = runs.RUNS / "faults"
TAKES_EFFECT_WITHIN = 6.0  # seconds, from its note on: a service that is stopped has a grace period
# What undoes a fault, and in which state of the container there is anything left to undo.
DUE: dict[str, Callable[[Container], bool]] = {
    "unpause": lambda one: bool(one.state["Paused"]),
    "start": lambda one: one.state["Status"] == "exited",
    "exec": lambda one: one.running or bool(one.state["Paused"]),  # what was in its memory went with it
    "run": lambda one: True,
}


@dataclass(frozen=True)
class Standing:
    """A fault that stands until it is undone. fault: in words, `pause redis`; container: its id.

    undo: docker's arguments that heal it; kept: by hand, so it has no owner; began: seconds since the epoch.
    place: host, pid namespace and user whose locks tell whether its owner lives.
    """

    fault: str
    project: str
    service: str
    container: str
    undo: tuple[str, ...]
    kept: bool
    began: float
    place: tuple[str, str, int]


@dataclass(frozen=True)
class Note:
    """The note of a fault, which its process holds. A kept one is held by nobody."""

    standing: Standing
    path: Path
    file: IO[str]

    def strike(self) -> None:
        """The fault is healed: nobody needs to look after it."""
        self.path.unlink(missing_ok=True)
        self.file.close()


def note(root: Path, fault: str, container: Container, undo: tuple[str, ...], *, kept: bool = False) -> Note:
    """Note a fault before it is injected, so that there is no moment at which nobody would heal it."""
    project, service = container.project, container.service
    one = Standing(fault, project, service, container.id, undo, kept, time.time(), leases.own(root).place)
    path = root / FAULTS / f"{project}.{service}.{secrets.token_hex(4)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    unnamed = path.with_name(f".{path.name}")
    file = unnamed.open("w", encoding="utf-8")
    if not kept:
        fcntl.flock(file, fcntl.LOCK_EX)
    file.write(json.dumps(asdict(one)))
    file.flush()
    unnamed.rename(path)  # only now: without its lock it would look like a dead one's
    return Note(one, path, file)


def standing(root: Path, project: str) -> list[Standing]:
    """The faults of a stack's containers, the oldest first: those that processes hold, and those by hand."""
    found = (one for one in _noted(root).values() if one.project == project)
    return sorted(found, key=lambda one: one.began)


def heal(root: Path, one: Standing) -> None:
    """Undo a fault, and forget it. Raises ItestError (engine) where docker refuses."""
    undo(one)
    for path, other in _noted(root).items():
        if other == one:
            path.unlink(missing_ok=True)


def heal_left(root: Path, report: Callable[[str], None]) -> None:
    """Heal what dead processes left, and say so; forget what went with its container.

    Costs one question to the engine where any fault stands, else none. What docker refuses is said, and tried again by
    the next command: an error would keep everybody from taking the stack down.
    """
    here = leases.own(root).place
    notes = {path: one for path, one in _noted(root).items() if one.place == here}
    exist = {one.id for one in inspect([one.container for one in notes.values()])}
    for path, one in sorted(notes.items(), key=lambda pair: -pair[1].began):  # as a test would: the newest first
        with _burying(path) as unheld:
            if unheld and one.container not in exist:
                path.unlink()
            elif unheld and not one.kept:
                report(f"healing {one.project}: {one.fault}, left by a process that was killed")
                try:
                    _await_effect(one)
                    undo(one)
                    path.unlink()
                except ItestError as error:
                    report(f"{error.message}; {error.hint}")


def undo(one: Standing) -> None:
    """Make good what a fault did, whoever did it; nothing where its container, or the fault, is gone by itself.

    Raises ItestError (engine) where docker refuses.
    """
    found = inspect([one.container])
    if not found or not DUE[one.undo[0]](found[0]):
        return
    try:
        docker(*one.undo)
    except ItestError as error:
        hint = f"docker compose -p {one.project} down --volumes removes the stack"
        problem = f"fault {one.fault} of {one.project}: it can't be healed: {error.message}"
        raise ItestError("engine", problem, hint=hint, cause="fault", service=one.service) from error


def _await_effect(one: Standing) -> None:
    """Let docker end what the dead had asked of it just before: undone any earlier, it would come to stand for good."""

    def has_come() -> bool:
        found = inspect([one.container])
        return not found or DUE[one.undo[0]](found[0]) or moment(found[0].state["StartedAt"]) > one.began

    left = one.began + TAKES_EFFECT_WITHIN - time.time()
    if left > 0:
        with suppress(AssertionError):
            eventually(has_come, timeout=left)


@contextmanager
def _burying(path: Path) -> Iterator[bool]:
    """Hold a note that no process holds, so that only one command heals it. False where one does, or it is gone."""
    with taken(path) as got:
        yield bool(got) and path.exists()  # another command may have healed it before this one got the lock


def _noted(root: Path) -> dict[Path, Standing]:
    found: dict[Path, Standing] = {}
    for path in sorted((root / FAULTS).glob("[!.]*")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # healed meanwhile
            continue
        found[path] = Standing(**raw | {"undo": tuple(raw["undo"]), "place": tuple(raw["place"])})
    return found
