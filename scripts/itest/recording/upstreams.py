"""The real services of a recording as the mock needs them: with address and authorities, which it can't find itself."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from itest.errors import ItestError
from itest.images.build import ca_bundle
from itest.recording.rules import Named, Rules

PORTS = {"http": 80, "https": 443}
CONNECTS_WITHIN = 5.0  # seconds; what swallows packets would let every request of the tests wait for longer


def resolved(rules: Rules, root: Path) -> list[dict[str, Any]]:
    """For the mock's admin port. Raises ItestError: usage for an unknown host, test for one that can't be reached."""
    return [_resolved(one, rules, root) for one in rules.upstreams]


def _resolved(one: Named, rules: Rules, root: Path) -> dict[str, Any]:
    where = urlsplit(one.url)
    try:
        # IPv4, which is what the network has that leads out.
        port = where.port or PORTS[where.scheme]
        found = socket.getaddrinfo(where.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        problem = f"{rules.where}: upstream {one.name}: {where.hostname}: {error.strerror}"
        raise ItestError(
            "usage", problem, hint="correct its url, or this machine's name server", cause="dns"
        ) from error
    _reach(one, rules, found[0][4])
    said: dict[str, Any] = {"name": one.name, "url": one.url, "address": found[0][4][0], "every": one.every}
    return said | ({"ca": _authorities(one, root)} if where.scheme == "https" else {})


def _reach(one: Named, rules: Rules, address: Any) -> None:
    """Connect to a real service once, before a stack starts for it. address: IP address and port."""
    try:
        socket.create_connection(address, CONNECTS_WITHIN).close()
    except OSError as error:
        problem = f"{rules.where}: upstream {one.name}: {one.url} can't be reached: {error.strerror or error}"
        hint = "correct its url, or what keeps this machine from it: a firewall, a VPN, the service itself"
        raise ItestError("test", problem, hint=hint, cause="unreachable") from error


def _authorities(one: Named, root: Path) -> str:
    """PEM. Raises ItestError (usage)."""
    path = str(root / one.ca) if one.ca else ca_bundle()
    if not path:
        problem = f"upstream {one.name}: nothing here says whom to trust"
        raise ItestError("usage", problem, hint="ITEST_CA_BUNDLE=<file>, or `ca:` in record.yaml", cause="tls")
    return Path(path).read_text(encoding="utf-8", errors="replace")


def told(rules: Iterable[Named]) -> str:
    """Which hosts lead where."""
    return ", ".join(f"{one.name} → {one.url}" for one in rules)
