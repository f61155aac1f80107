"""What Toxiproxy's clients make: proxies, and their toxics, which are faults here.

A proxy named as its upstream, `postgres:5432`, is transparent: it is all the client's connections to there, it needs
neither to be made nor an address of its own. Any other listens where it is told to, as Toxiproxy's do.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from itest.toxics import kinds
from itest.toxics.api import Refused
from itest.toxics.connection import Destination
from itest.toxics.fault import Target
from itest.toxics.faults import Faults, lookup
from itest.toxics.kinds import Direction, Reset
from itest.toxics.relay import listen

STREAMS: dict[str, Direction] = {"upstream": "up", "downstream": "down"}
# Toxiproxy's type -> our kind, and its attributes -> our parameters, each with the factor between their units.
TYPES: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    "latency": ("latency", {"latency": ("ms", 1), "jitter": ("jitter", 1)}),
    "bandwidth": ("bandwidth", {"rate": ("kb_per_s", 1)}),
    "slow_close": ("slow_close", {"delay": ("ms", 1)}),
    "timeout": ("timeout", {"timeout": ("ms", 1)}),
    "reset_peer": ("reset", {"timeout": ("after_ms", 1)}),
    "slicer": (
        "slice",
        {"average_size": ("bytes", 1), "size_variation": ("variation", 1), "delay": ("delay_ms", 1e-3)},
    ),
    "limit_data": ("limit_data", {"bytes": ("bytes", 1)}),
}


@dataclass(frozen=True)
class Entry:
    """A toxic as its client knows it; attributes: all of its type's, those that weren't given are 0."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, float]


@dataclass
class Proxy:
    """listen: address and port; "" for a transparent one. toxics: by name, with the id of the fault that each is."""

    name: str
    upstream: str
    target: Target
    listen: str = ""
    listener: socket.socket | None = None
    refusing: str = ""  # the fault by which a transparent one is disabled
    toxics: dict[str, tuple[Entry, str]] = field(default_factory=dict)


class Proxies:
    """All of them. What is wrong with a request raises Refused, with Toxiproxy's status and words."""

    def __init__(self, faults: Faults) -> None:
        self.faults, self.relay = faults, faults.relay
        self.known: dict[str, Proxy] = {}

    async def find(self, name: str) -> Proxy:
        """A proxy by its name; a transparent one is there as soon as it is asked for."""
        if name in self.known:
            return self.known[name]
        if ":" in name:
            return await self.create({"name": name, "upstream": name})
        raise Refused(404, "proxy not found")

    async def create(self, body: Mapping[str, Any]) -> Proxy:
        for wanted in ("name", "upstream"):
            if not body.get(wanted):
                raise Refused(400, f"missing required field: {wanted}")
        name, upstream = str(body["name"]), str(body["upstream"])
        if name in self.known:
            raise Refused(409, "proxy already exists")
        (host, port), toxics = split(upstream), [entry_of(toxic) for toxic in body.get("toxics") or ()]
        if name == upstream:
            addresses = await lookup(host)
            if not addresses:
                raise Refused(404, f"proxy not found: no address of {host} is known here")
            proxy = Proxy(name, upstream, Target(host, frozenset(addresses), port))
        else:
            proxy = Proxy(name, upstream, Target(name, proxy=name), str(body.get("listen") or "127.0.0.1:0"))
        await self.enable(proxy, body.get("enabled", True))
        self.known[name] = proxy
        for entry in toxics:
            self._inject(proxy, entry)
        return proxy

    async def replace(self, body: Mapping[str, Any]) -> Proxy:
        """Make it, unless there is one that listens at the same address for the same upstream."""
        known = self.known.get(str(body.get("name")))
        if known and (known.listen, known.upstream) == (str(body.get("listen") or known.listen), body.get("upstream")):
            return known
        if known:
            await self.delete(known)
        return await self.create(body)

    async def update(self, proxy: Proxy, body: Mapping[str, Any]) -> None:
        """Other addresses, or enabled or not."""
        listen, upstream = str(body.get("listen") or proxy.listen), str(body.get("upstream") or proxy.upstream)
        enabled = body.get("enabled", self.is_enabled(proxy))
        if (listen, upstream) != (proxy.listen, proxy.upstream):
            split(upstream)
            if not proxy.listen:
                raise Refused(400, f"{proxy.name} is transparent; another name makes a proxy that listens")
            await self.enable(proxy, False)
            proxy.listen, proxy.upstream = listen, upstream
        await self.enable(proxy, enabled)

    async def delete(self, proxy: Proxy) -> None:
        await self.enable(proxy, False)
        await self.faults.remove(proxy.refusing, *(fault for _, fault in proxy.toxics.values()))
        del self.known[proxy.name]

    async def reset(self) -> None:
        """All enabled, and without toxics."""
        for proxy in self.known.values():
            await self.faults.remove(*(fault for _, fault in proxy.toxics.values()))
            proxy.toxics.clear()
            await self.enable(proxy, True)

    def is_enabled(self, proxy: Proxy) -> bool:
        return proxy.listener is not None if proxy.listen else proxy.refusing not in self.relay.faults

    async def enable(self, proxy: Proxy, enabled: object) -> None:
        """Let connections be, or refuse them and end those that there are."""
        if not isinstance(enabled, bool):
            raise Refused(400, f"bad request body: enabled is {enabled!r}")
        if proxy.listen:
            self._listen(proxy, enabled)
        elif enabled:
            await self.faults.remove(proxy.refusing)
        elif self.is_enabled(proxy):
            proxy.refusing = self.faults.inject("reset", Reset(), {}, proxy.target).id

    def toxics(self, proxy: Proxy) -> list[Entry]:
        """Those that nobody has healed behind its back."""
        proxy.toxics = {name: one for name, one in proxy.toxics.items() if one[1] in self.relay.faults}
        return [entry for entry, _ in proxy.toxics.values()]

    def add(self, proxy: Proxy, body: Mapping[str, Any]) -> Entry:
        entry = entry_of(body)
        if entry.name in (one.name for one in self.toxics(proxy)):
            raise Refused(409, "toxic already exists")
        self._inject(proxy, entry)
        return entry

    async def change(self, proxy: Proxy, entry: Entry, body: Mapping[str, Any]) -> Entry:
        """Other attributes or another toxicity; type and stream stay."""
        same = {"name": entry.name, "type": entry.type, "stream": entry.stream}
        attributes = {**entry.attributes, **(body.get("attributes") or {})}
        changed = entry_of({"toxicity": entry.toxicity, **body, **same, "attributes": attributes})
        before = proxy.toxics[entry.name][1]
        self._inject(proxy, changed)
        await self.faults.remove(before)
        return changed

    async def remove(self, proxy: Proxy, entry: Entry) -> None:
        await self.faults.remove(proxy.toxics.pop(entry.name)[1])

    def _inject(self, proxy: Proxy, entry: Entry) -> None:
        kind, names = TYPES[entry.type]
        given = {
            ours: entry.attributes[theirs] if factor == 1 else entry.attributes[theirs] * factor
            for theirs, (ours, factor) in names.items()
        }
        toxic = kinds.toxic(kind, given)
        rest: dict[str, Any] = {"directions": (STREAMS[entry.stream],), "toxicity": entry.toxicity}
        proxy.toxics[entry.name] = entry, self.faults.inject(kind, toxic, given, proxy.target, **rest).id

    def _listen(self, proxy: Proxy, enabled: bool) -> None:
        if enabled and not proxy.listener:
            host, port = split(proxy.listen)
            to = Destination(*split(proxy.upstream), proxy.name)
            try:
                proxy.listener = listen(host, port)
            except OSError as error:
                raise Refused(500, f"listen {proxy.listen}: {error.strerror}") from None
            self.relay.accept(proxy.listener, lambda _: to)
            shown = f"[{host}]" if ":" in host else host
            proxy.listen = f"{shown}:{proxy.listener.getsockname()[1]}"
        elif not enabled and proxy.listener:
            self.relay.unlisten(proxy.listener)
            proxy.listener = None
            self.relay.close(one for one in self.relay.connections if one.to.proxy == proxy.name)


def entry_of(body: Mapping[str, Any]) -> Entry:
    """A toxic as a request describes it, all that it leaves out filled in. Raises Refused."""
    kind, stream = body.get("type"), body.get("stream") or "downstream"
    if kind not in TYPES:
        raise Refused(400, "invalid toxic type")
    if stream not in STREAMS:
        raise Refused(400, "stream was invalid, can be either upstream or downstream")
    attributes = {**dict.fromkeys(TYPES[kind][1], 0), **(body.get("attributes") or {})}
    if unknown := attributes.keys() - TYPES[kind][1]:
        raise Refused(400, f"bad request body: {kind} has no {', '.join(sorted(unknown))}")
    toxicity = 1.0 if body.get("toxicity") is None else body["toxicity"]
    if isinstance(toxicity, bool) or not isinstance(toxicity, (int, float)) or not 0 <= toxicity <= 1:
        raise Refused(400, f"bad request body: toxicity is {toxicity!r}")
    return Entry(str(body.get("name") or f"{kind}_{stream}"), kind, stream, toxicity, attributes)


def split(address: str) -> tuple[str, int]:
    """Host and port. Raises Refused."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise Refused(400, f"bad request body: {address} is no host:port")
    return host.strip("[]") or "0.0.0.0", int(port)
