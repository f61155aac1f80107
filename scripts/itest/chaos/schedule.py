"""Which fault hits what and when, made from a seed: the same seed and stack give the same schedule, on any machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from itest.suite.suite import Suite

CALM = (0.1, 0.5)  # seconds without any fault before each
LASTS = (0.2, 0.8)  # seconds
PAUSED = (0.05, 0.2)  # seconds: a client that gives up sooner does so in production too


@dataclass(frozen=True)
class Step:
    """One fault. calm: seconds from the end of the one before; lasts: seconds; words: of `make fault ARGS=…`."""

    calm: float
    lasts: float
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' '.join(self.words)} for {self.lasts:.1f} s"


def links(suite: Suite) -> list[tuple[str, str]]:
    """Who calls whom, (client, server), by what services say that they depend on; stores call nobody."""
    clients = (one for one in suite.services.values() if not one.stores)
    return sorted((one.name, server) for one in clients for server in one.depends_on if server in suite.services)


def possible(suite: Suite) -> tuple[str, ...]:
    """Kinds of faults that a suite's stack can be hit by. All delay and nothing is lost: its tests must pass them."""
    return (*(("latency", "bandwidth", "slice") if links(suite) else ()), *(("pause",) if suite.stores else ()))


def schedule(suite: Suite, seed: int) -> Iterator[Step]:
    """Steps without end."""
    chance = random.Random(f"itest chaos {seed}")  # a text: numbers near each other would begin alike
    kinds, pairs, stores = possible(suite), links(suite), sorted(suite.stores)
    while kinds:
        kind, calm, lasts = chance.choice(kinds), chance.uniform(*CALM), chance.uniform(*LASTS)
        if kind == "pause":
            yield _step(calm, chance.uniform(*PAUSED), kind, [chance.choice(stores)], {})
        else:
            yield _step(calm, lasts, kind, chance.choice(pairs), _amounts(kind, chance))


def _amounts(kind: str, chance: random.Random) -> Mapping[str, int]:
    if kind == "latency":
        ms = chance.randint(5, 60)
        return {"ms": ms, "jitter": chance.randint(0, ms // 2), "seed": chance.randint(1, 9999)}
    if kind == "bandwidth":
        return {"kb_per_s": chance.randint(64, 1024)}
    return {"bytes": chance.randint(64, 512), "delay_ms": chance.randint(0, 2)}


def _step(calm: float, lasts: float, kind: str, services: Sequence[str], amounts: Mapping[str, int]) -> Step:
    words = (kind, *services, *(f"{name}={value}" for name, value in amounts.items()))
    return Step(round(calm, 3), round(lasts, 3), words)
