"""How many suites run side by side when nobody says: from cores, free memory, and the runs that are on already."""

from __future__ import annotations

import os
from dataclasses import dataclass

from itest import compose

MEMORY_PER_SUITE = 512 * 1024 * 1024  # bytes: PostgreSQL, Redis, an application and pytest, as measured, rounded up


@dataclass(frozen=True)
class Jobs:
    """So many suites at a time, at least 1, and what keeps it from being more."""

    number: int
    why: str = ""


def jobs(suites: int) -> Jobs:
    """At most the number of suites."""
    if suites < 2:
        return Jobs(1)
    others = sum(lease.startswith("run ") for lease in compose.leases().values())
    return judge(suites, _cores(), others, _free_memory())


def judge(suites: int, cores: int, others: int, memory: int) -> Jobs:
    """A core and MEMORY_PER_SUITE for each suite. others: runs that are on, a core each; memory: free bytes."""
    by_memory = memory // MEMORY_PER_SUITE
    number = max(1, min(suites, cores - others, by_memory))
    if by_memory < cores - others:
        return Jobs(number, f"{memory / 2**30:.1f} GiB of memory free, {MEMORY_PER_SUITE / 2**30:.1f} for each")
    taken = f", {others} taken by other runs" if others else ""
    return Jobs(number, f"{cores} core{'' if cores == 1 else 's'}{taken}")


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # macOS: Docker Desktop's own limit is what counts there
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
