"""Toxiproxy's HTTP API, so that its clients work: https://github.com/Shopify/toxiproxy#http-api"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from itest.toxics.api import Answer, Refused
from itest.toxics.faults import Faults
from itest.toxics.proxies import Proxies, Proxy

PORT = 8474
VERSION = "2.12.0"  # the one whose API this is


class Toxiproxy:
    """Answers requests; what they change stays until it is changed again, or healed by `heal`."""

    def __init__(self, faults: Faults) -> None:
        self.proxies = Proxies(faults)

    async def handle(self, method: str, path: list[str], body: Any) -> Answer:
        """What a request gets. Raises Refused, ValueError."""
        method = "POST" if method == "PATCH" else method  # older clients update by POST
        match method, path:
            case "GET", ["version"]:
                return 200, {"version": VERSION}
            case "POST", ["reset"]:
                await self.proxies.reset()
                return 204, None
            case "GET", ["proxies"]:
                return 200, {name: self._as_data(proxy) for name, proxy in self.proxies.known.items()}
            case "POST", ["proxies"]:
                return 201, self._as_data(await self.proxies.create(body))
            case "POST", ["populate"]:
                return 201, {"proxies": [self._as_data(await self.proxies.replace(one)) for one in body]}
            case _, ["proxies", name, *rest]:
                return await self._of_proxy(method, await self.proxies.find(name), rest, body)
        raise Refused(404, f"no route {method} /{'/'.join(path)}")

    async def _of_proxy(self, method: str, proxy: Proxy, rest: list[str], body: Mapping[str, Any]) -> Answer:
        match method, rest:
            case "GET", []:
                return 200, self._as_data(proxy)
            case "POST", []:
                await self.proxies.update(proxy, body)
                return 200, self._as_data(proxy)
            case "DELETE", []:
                await self.proxies.delete(proxy)
                return 204, None
            case "GET", ["toxics"]:
                return 200, [asdict(entry) for entry in self.proxies.toxics(proxy)]
            case "POST", ["toxics"]:
                return 200, asdict(self.proxies.add(proxy, body))
            case _, ["toxics", name]:
                return await self._of_toxic(method, proxy, name, body)
        raise Refused(405, f"no route {method} /{'/'.join(('proxies', proxy.name, *rest))}")

    async def _of_toxic(self, method: str, proxy: Proxy, name: str, body: Mapping[str, Any]) -> Answer:
        entry = next((entry for entry in self.proxies.toxics(proxy) if entry.name == name), None)
        if not entry:
            raise Refused(404, "toxic not found")
        match method:
            case "GET":
                return 200, asdict(entry)
            case "POST":
                return 200, asdict(await self.proxies.change(proxy, entry, body))
            case "DELETE":
                await self.proxies.remove(proxy, entry)
                return 204, None
        raise Refused(405, f"no route {method} for a toxic")

    def _as_data(self, proxy: Proxy) -> Mapping[str, Any]:
        return {
            "name": proxy.name,
            "listen": proxy.listen,
            "upstream": proxy.upstream,
            "enabled": self.proxies.is_enabled(proxy),
            "toxics": [asdict(entry) for entry in self.proxies.toxics(proxy)],
        }
