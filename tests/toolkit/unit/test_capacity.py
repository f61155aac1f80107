"""How many suites run at a time on a machine, and what it is that keeps it from being more."""

from __future__ import annotations

import pytest

from itest.stack import capacity
from itest.stack.capacity import Jobs

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "others", "memory", "jobs"),
    [
        (2, 0, 8 * GIB, Jobs(2, "2 cores")),
        (2, 1, 8 * GIB, Jobs(1, "2 cores, 1 taken by other runs")),
        (1, 3, 8 * GIB, Jobs(1, "1 core, 3 taken by other runs")),
        (8, 0, int(1.2 * GIB), Jobs(2, "1.2 GiB of memory free, 0.5 for each")),
        (8, 0, 0, Jobs(1, "0.0 GiB of memory free, 0.5 for each")),
    ],
)
def test_what_there_is_least_of_decides_and_is_named(cores: int, others: int, memory: int, jobs: Jobs) -> None:
    assert capacity.judge(3, cores, others, memory) == jobs


def test_there_are_never_more_jobs_than_suites() -> None:
    assert capacity.judge(3, 16, 0, 64 * GIB).number == 3
    assert capacity.jobs(1) == Jobs(1)
