"""A fault that is active: what, against whom, since when, and whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itest.toxics.kinds import Direction, Toxic


@dataclass(frozen=True)
class Target:
    """Whom a fault concerns: a service and its addresses, one port of them or any (0), or an explicit proxy."""

    name: str
    addresses: frozenset[str] = frozenset()
    port: int = 0
    proxy: str = ""

    def is_for(self, address: str, port: int, proxy: str) -> bool:
        if self.proxy or proxy:
            return proxy == self.proxy
        return address in self.addresses and self.port in (0, port)


@dataclass(frozen=True)
class Fault:
    """owner: the session that heals it when it ends, "" for none; since: the loop's clock, seconds.

    toxicity: the share of connections that it acts on; first: the number of the first connection that could be.
    """

    id: str
    kind: str
    target: Target
    given: Mapping[str, Any]
    toxic: Toxic
    directions: Sequence[Direction]
    since: float
    first: int
    owner: str = ""
    seed: int = 0
    toxicity: float = 1.0

    def as_data(self, now: float) -> Mapping[str, object]:
        """For JSON."""
        return {
            "id": self.id,
            "kind": self.kind,
            "to": {"name": self.target.name, "addresses": sorted(self.target.addresses)},
            "with": dict(self.given),
            "keep": not self.owner,
            "age_s": round(now - self.since, 3),
        }
