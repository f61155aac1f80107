"""What of the engine or the machine keeps a run from starting, or makes it fail by chance: pure, on what was seen."""

from __future__ import annotations

from collections.abc import Iterator

from itest.doctor.finding import MACHINE, Finding, Severity, refusal
from itest.doctor.machine import Disk, Machine
from itest.machine.disk import LEAST
from itest.stack.capacity import MEMORY_PER_SUITE

MB, GB = 10**6, 10**9
DISK = (LEAST, 3 * GB)  # free bytes below which a run is refused, and below which it may fail
TEMPORARY = (20 * MB, 200 * MB)  # the same where only small files go
FILES = 10_000  # that can still be made
NETWORKS = 8  # left: a run takes one a suite, with `-n 4` four more
SKEW = 1.0  # seconds


def examine(machine: Machine) -> Iterator[Finding]:
    """Findings about engine and machine."""
    if machine.problem:
        yield refusal("engine", machine.problem, "no suite can start")
    for folder in machine.not_ours:
        what, mend = f"{folder}/ belongs to somebody else", f"sudo chown -R $USER {folder}"
        yield _finding("error", "permission", what, "a run writes its evidence there", mend)
    for disk in machine.disks:
        yield from _disk(disk, DISK if disk.folder == machine.root_folder else TEMPORARY)
    if machine.free is not None and machine.free < MEMORY_PER_SUITE:
        what = f"{machine.free / MB:.0f} MB of memory are free"
        why = f"a suite takes about {MEMORY_PER_SUITE / MB:.0f} MB: services are killed, or everything is slow"
        yield _finding("warning", "memory", what, why, "make down ALL=1, and end what else runs; then JOBS=1")
    if not machine.problem:
        yield from _engine(machine)


def _engine(machine: Machine) -> Iterator[Finding]:
    if machine.ignored:
        what = f"the engine ignores {' and '.join(machine.ignored)} limits"
        why = "a leak in a service takes the whole machine, and `PROFILE=ci` tests nothing"
        mend = "rootless: cgroup v2 with delegation, see the README; else the kernel's options (docker info warns)"
        yield _finding("warning", "limits-ignored", what, why, mend)
    left, total = machine.networks
    if left < NETWORKS:
        what = f"the engine can make {left} more networks, of {total}"
        why = "each suite that runs takes one; without, its stack doesn't start"
        mend = "docker network prune removes those that nobody uses; default-address-pools in the engine's"
        mend += " daemon.json makes room for hundreds"
        yield _finding("warning" if left else "error", "networks", what, why, mend)
    if abs(machine.skew) > SKEW:
        what = (
            f"the engine's clock is {abs(machine.skew):.1f} s {'ahead of' if machine.skew > 0 else 'behind'} this one's"
        )
        why = "what a test makes with its own time (tokens, created_at) is expired, or not yet valid, for a service"
        yield _finding("warning", "clock-skew", what, why, "synchronise both clocks; Docker Desktop: restart it")


def _disk(disk: Disk, floors: tuple[int, int]) -> Iterator[Finding]:
    low, tight = floors
    mend = "docker system df shows what the engine keeps; docker system prune, make clean"
    why = "containers, images and logs need it: writes fail in the midst of tests"
    if disk.free < tight:
        what = f"{disk.free / MB:.0f} MB are free in {disk.folder}"
        yield _finding("error" if disk.free < low else "warning", "disk", what, why, mend)
    if disk.files is not None and disk.files < FILES:
        what = f"only {disk.files} more files can be made in {disk.folder}"
        yield _finding("warning", "inodes", what, why, mend)


def _finding(severity: Severity, id: str, what: str, why: str, mend: str) -> Finding:
    return Finding(severity, id, MACHINE, what, why, mend, category="engine")
