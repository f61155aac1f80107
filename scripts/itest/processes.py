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
START = 22 - 3  # field of proc_pid_stat(5) that holds the start time, counted from the one after the name


@dataclass(frozen=True)
class Process:
    """A process that can't be mistaken for a later one of the same number. started: clock ticks after boot."""

    pid: int
    started: int


def started(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None for one that is gone, or only waits to be reaped."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[START])


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


def end(found: Collection[Process]) -> None:
    """End them at once (SIGKILL): their owner is dead, and what they have begun goes anyway."""
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
