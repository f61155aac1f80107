"""What a run with chaos needs to be told, and what it can't be asked for."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from itest import pytesting
from itest.chaos.schedule import possible
from itest.errors import ItestError
from itest.settings import Settings
from itest.suite.suite import Suite

HIGHEST = 999_999  # of the seeds that are made up: easily typed again


def seeded(settings: Settings) -> Settings:
    """Settings with a seed: the one that was given, or else one that is made up."""
    return settings if settings.seed else replace(settings, seed=1 + secrets.randbelow(HIGHEST))


def check(chosen: Sequence[Suite], arguments: Sequence[str]) -> None:
    """Refuse what would be chaos in name only. Raises ItestError (usage) with the edit that mends it."""
    if pytesting.has_workers(arguments):
        problem = "chaos: with -n each worker has services of its own, which no fault would hit"
        raise ItestError("usage", problem, hint="leave out -n", cause="chaos")
    for suite in chosen:
        if not possible(suite):
            problem = f"chaos: suite {suite.name} has no store, and no service that depends on another"
            raise ItestError("usage", problem, hint="depends_on in a layer says who calls whom", cause="chaos")
