"""Faults as they are asked for: by name, checked, resolved, in the streams or in the packet filter, and healed."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from itest.errors import ItestError
from itest.toxics import kinds, rules
from itest.toxics.fault import Fault, Target
from itest.toxics.kinds import Direction, Timeout, Toxic
from itest.toxics.relay import Relay

FOLLOWED = 0.5  # seconds between two looks for other addresses
# A partition where the packet filter has no way to lose packets: streams stall, each the way that is cut.
CUT: dict[str, tuple[Direction, ...]] = {"": ("up", "down"), "out": ("up",), "in": ("down",)}


class Faults:
    """can: by kind, why this machine cannot, "" if it can; families: of IP, which the client has."""

    def __init__(self, relay: Relay, families: Sequence[rules.Family]) -> None:
        self.relay, self.families = relay, families
        self.can: Mapping[str, str] = {}
        self._packets: dict[str, rules.Packets] = {}
        self._changing = asyncio.Lock()  # of the packet filter

    async def add(self, asked: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
        """Make what a session asks for active. Raises ItestError for what cannot be, ValueError for nonsense."""
        kind, given = str(asked.get("kind")), asked.get("with") or {}
        if kind in rules.PACKETS:
            return await self._lose(rules.packets(kind, given), given, await resolved(asked.get("to")), owner)
        if kind not in kinds.KINDS:
            raise ValueError(f"no fault is called {kind}; there are {', '.join((*kinds.KINDS, *rules.PACKETS))}")
        toxic = kinds.toxic(kind, given)
        return {"id": self.inject(kind, toxic, given, await resolved(asked.get("to")), owner).id}

    def inject(
        self, kind: str, toxic: Toxic, given: Mapping[str, Any], target: Target, owner: str = "", **rest: Any
    ) -> Fault:
        """Make a fault of streams active. rest: more fields of Fault."""
        fields = {"directions": toxic.directions, "seed": int(given.get("seed", 0)), "id": "", **rest}
        return self.relay.add(
            Fault(kind=kind, target=target, given=given, toxic=toxic, since=0.0, first=0, owner=owner, **fields)
        )

    async def remove(self, *ids: str) -> bool:
        """Heal these, of which somebody else may have healed some. Raises ItestError.

        Returns whether each may have met a connection: nobody knows whose packets the packet filter has lost.
        """
        met = self.relay.remove(ids)
        if gone := [one for one in ids if self._packets.pop(one, None)]:
            await self._rewrite(f"healing {', '.join(gone)}")
        return met or bool(gone)

    async def heal(self, owner: str | None = None) -> None:
        """Heal all of one owner's, or all of everybody's."""
        await self.remove(*(one.id for one in self.relay.faults.values() if owner is None or one.owner == owner))

    def as_data(self) -> Mapping[str, Any]:
        """For JSON."""
        now = self.relay.loop.time()
        return {
            "faults": [fault.as_data(now) for fault in self.relay.faults.values()],
            "connections": [connection.as_data() for connection in self.relay.connections],
        }

    async def follow(self) -> None:
        """Servers that were replaced have other addresses; a fault goes with the name. Never returns."""
        while True:
            await asyncio.sleep(FOLLOWED)
            for fault in [one for one in self.relay.faults.values() if not one.target.proxy]:
                found = await lookup(fault.target.name)
                if found - fault.target.addresses and self.relay.spread(fault.id, found):
                    try:
                        await self._rewrite(f"following {fault.target.name}")
                    except ItestError as error:
                        print(error, file=sys.stderr)

    async def _lose(
        self, packets: rules.Packets, given: Mapping[str, Any], target: Target, owner: str
    ) -> Mapping[str, Any]:
        kind = packets.name
        if not (why_not := self.can[kind]):
            fault = self.inject(kind, Toxic(), given, target, owner)
            self._packets[fault.id] = packets
            try:
                await self._rewrite(kind)
            except ItestError:
                del self._packets[fault.id]
                self.relay.remove([fault.id])
                raise
            return {"id": fault.id}
        if not isinstance(packets, rules.Partition):
            raise ItestError("engine", f"{kind} cannot be here: {why_not}", cause="faults")
        fault = self.inject(kind, Timeout(), given, target, owner, directions=CUT[packets.one_way])
        return {"id": fault.id, "instead": f"streams stall, and connects succeed, as {why_not}"}

    async def _rewrite(self, what: str) -> None:
        """The packet filter as it has to be now. Raises ItestError."""
        async with self._changing:
            lines = [
                line
                for one, packets in self._packets.items()
                for address in sorted(self.relay.faults[one].target.addresses)
                for line in packets.rules(address)
            ]
            if said := await rules.lose(self.families, lines):
                raise ItestError("engine", f"{what}: {said}", cause="faults")


async def resolved(to: Any) -> Target:
    """Whom a request means: a name, addresses, or {"name", "addresses"}. Raises ItestError, ValueError."""
    if isinstance(to, str):
        name, addresses = to, set[str]()
    elif isinstance(to, list):
        name, addresses = "", _addresses(to)
    elif isinstance(to, Mapping):
        name, addresses = str(to.get("name") or ""), _addresses(to.get("addresses") or ())
    else:
        raise ValueError('"to" is a name, a list of addresses, or both: {"name": …, "addresses": […]}')
    found = await _soon(lookup(name)) if addresses else await lookup(name)
    if not found | addresses:
        raise ItestError("usage", f"no address of {name or 'anybody'} is known here", cause="faults")
    return Target(name or ", ".join(sorted(addresses)), frozenset(found | addresses))


def _addresses(given: Iterable[object]) -> set[str]:
    return {str(ip_address(str(one))) for one in given}


async def _soon(looking: Awaitable[set[str]]) -> set[str]:
    """None where a lookup takes long, as it does for a name that nobody knows; `follow` looks again."""
    try:
        return await asyncio.wait_for(looking, 0.5)
    except asyncio.TimeoutError:
        return set()


async def lookup(name: str) -> set[str]:
    """The addresses of a name, of the families that are in use here; none where it has none, or is none."""
    if not name:
        return set()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except OSError:
        return set()
    return {str(address[0]) for *_, address in found}
