"""The wait budget: the fastest and the slowest way to healthy that the healthchecks of a stack allow.

How the engine looks: https://docs.docker.com/reference/dockerfile/#healthcheck, and `monitor` in daemon/health.go of
https://github.com/moby/moby. The first look comes after one interval, which is start_interval within start_period, and
`interval` after it or without one; failures within start_period don't count, after it `retries` in a row are the end.
Compose looks at the engine's answer twice a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

POLL = 0.5  # seconds between two looks of compose
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
DURATION = re.compile(r"([\d.]+)(h|ms|us|µs|ns|m|s)")
CHAINS_SHOWN = 20  # of a suite; a graph of many services may have thousands


@dataclass(frozen=True)
class Healthcheck:
    """How the engine looks whether a container is healthy; seconds, with the engine's own defaults."""

    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0

    @property
    def first_looks(self) -> float:
        """Seconds between two looks at a service that starts."""
        return self.start_interval if self.start_period else self.interval

    @property
    def fastest(self) -> float:
        """Seconds until one that answers at once is healthy."""
        return self.first_looks

    @property
    def slowest(self) -> float:
        """Seconds until one that isn't healthy by then is given up: the last look that may succeed takes its timeout,
        and so may one that began within start_period."""
        straddling = self.timeout if self.start_period else 0.0
        return self.start_period + straddling + self.retries * (self.interval + self.timeout)


@dataclass(frozen=True)
class Chain:
    """Services that wait for one another, first to last, and how long all take; seconds, slowest may be infinite."""

    services: tuple[str, ...]
    fastest: float
    slowest: float

    def __str__(self) -> str:
        slowest = "any time" if math.isinf(self.slowest) else f"{self.slowest:.0f} s"
        return f"{' → '.join(self.services)}: healthy after {self.fastest:.1f} s to {slowest}"


def healthcheck(service: Mapping[str, Any], image: Mapping[str, Any] | None) -> Healthcheck | None:
    """That of a resolved service, or of its image; None without any. What compose leaves out, the image's own says."""
    own = service.get("healthcheck") or {}
    inherited = (image or {}).get("Healthcheck") or {}
    test = own.get("test") or inherited.get("Test")
    if own.get("disable") or not test or test[0] == "NONE":
        return None
    retries = own.get("retries") or inherited.get("Retries") or Healthcheck.retries
    given = {_snake(key): value / 1e9 for key, value in inherited.items() if key not in ("Test", "Retries") and value}
    given |= {key: seconds(value) for key, value in own.items() if key not in ("test", "retries", "disable")}
    return replace(Healthcheck(retries=retries), **{key: value for key, value in given.items() if value})


def seconds(text: str) -> float:
    """A duration of compose: `250ms`, `1m30s`."""
    return sum(float(amount) * UNITS[unit] for amount, unit in DURATION.findall(text))


def chains(services: Mapping[str, Mapping[str, Any]], checks: Mapping[str, Healthcheck | None]) -> list[Chain]:
    """Every chain from a service that waits for none to one that none waits for, the slowest at its fastest first.

    services: resolved; checks: by service. They have no cycle: those are refused before.
    """
    awaited = {other for service in services.values() for other in service.get("depends_on") or {}}
    ends = [name for name in services if name not in awaited]
    paths = islice((path for name in ends for path in _paths(services, name)), CHAINS_SHOWN)
    return sorted((_chain(services, checks, path) for path in paths), key=lambda one: (-one.fastest, one.services))


def _paths(services: Mapping[str, Mapping[str, Any]], name: str) -> Iterator[tuple[str, ...]]:
    needed = [other for other in services[name].get("depends_on") or {} if other in services]
    for other in needed:
        yield from ((*path, name) for path in _paths(services, other))
    if not needed:
        yield (name,)


def _chain(
    services: Mapping[str, Mapping[str, Any]], checks: Mapping[str, Healthcheck | None], path: tuple[str, ...]
) -> Chain:
    fastest = slowest = 0.0
    for name, waiting in zip(path, (*path[1:], None), strict=True):
        condition = services[waiting]["depends_on"][name]["condition"] if waiting else "service_healthy"
        check = checks.get(name)
        if condition == "service_completed_successfully":
            fastest, slowest = fastest + POLL, math.inf
        elif condition == "service_healthy" and check:
            fastest += math.ceil(check.fastest / POLL) * POLL
            slowest += check.slowest + POLL
    return Chain(path, fastest, slowest)


def _snake(key: str) -> str:
    return re.sub(r"(?<=.)(?=[A-Z])", "_", key).lower()
