"""How many suites run side by side when nobody says: from cores, free memory, and the runs that are on already."""

from __future__ import annotations

import os

from itest import compose

MEMORY_PER_SUITE = 512 * 1024 * 1024  # bytes: PostgreSQL, Redis, an application and pytest, as measured, rounded up


def jobs(suites: int) -> int:
    """At least 1, at most the number of suites."""
    if suites < 2:
        return 1
    others = sum(lease.startswith("run ") for lease in compose.leases().values())
    return max(1, min(suites, _cores() - others, _free_memory() // MEMORY_PER_SUITE))


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
