"""Processes of this machine as /proc shows them: when one started, which a dead run left, and how to end with a parent.

Linux only; elsewhere nothing is found and nothing ended, and the locks of runs.py alone tell who lives.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PR_SET_PDEATHSIG = 1  # prctl(2)
# Fields of proc_pid_stat(5), counted from the one after the name: who started it, and when.
PARENT, START = 4 - 3, 22 - 3


@dataclass(frozen=True)
class Process:
    """A process that can't be mistaken for a later one of the same number. started: clock ticks after boot."""

    pid: int
    started: int


def started(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None for one that is gone, or only waits to be reaped."""
    fields = _stat(pid)
    return int(fields[START]) if fields else None


def place() -> tuple[str, str]:
    """The boot and the pid namespace that this process's number belongs to; empty where there is no /proc."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return boot, str((PROC / "self/ns/pid").readlink())
    except OSError:
        return "", ""


def left_by(owners: Collection[str]) -> list[Process]:
    """The processes of this user that were started for one of these owners: compose, builds, what tests started.

    They are known by the lease in the environment that they inherited.
    """
    wanted = {f"ITEST_LEASE={kind} {owner}".encode() for kind in ("run", "keep") for owner in owners}
    return [found for found in _all() if wanted & _environment(found.pid)] if wanted else []


def descendants(pid: int) -> list[Process]:
    """What a process has started that still runs, and what that has started, and so on."""
    every = {one: int(fields[PARENT]) for one in _all() if (fields := _stat(one.pid))}
    found = [one for one, parent in every.items() if parent == pid]
    for known in found:  # which grows meanwhile
        found += [one for one, parent in every.items() if parent == known.pid]
    return found


def command(pid: int) -> str:
    """A process's command line; empty for one that is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal, and does not just die of it (proc_pid_status(5))."""
    try:
        status = (PROC / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return False
    caught = status.partition("SigCgt:")[2].split(maxsplit=1)
    return bool(caught) and bool(int(caught[0], 16) >> (number - 1) & 1)


def end(found: Collection[Process]) -> None:
    """End them at once (SIGKILL): whoever wanted something of them is dead, or has waited long enough."""
    for one in found:
        if started(one.pid) == one.started:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)


def end_with_parent() -> None:
    """Have this process killed when the thread that started it ends, however it does (PR_SET_PDEATHSIG)."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) after the name; none for one that is gone, or only waits to be reaped."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def _all() -> Iterator[Process]:
    numbers = (int(path.name) for path in PROC.glob("[0-9]*"))
    for pid in numbers:
        if pid != os.getpid() and (since := started(pid)) is not None:
            yield Process(pid, since)


def _environment(pid: int) -> set[bytes]:
    """Its variables, as it was started with them; none of another user's process."""
    folder = PROC / str(pid)
    try:
        return set((folder / "environ").read_bytes().split(b"\0")) if folder.stat().st_uid == os.getuid() else set()
    except OSError:
        return set()
