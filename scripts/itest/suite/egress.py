"""`egress:` of a suite's x-itest, what a sealed stack (PROFILE=sealed) lets out, and its doors, checked beforehand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from itest import doors
from itest.suite import schema
from itest.suite.resolved import Config, Layers
from itest.suite.schema import wrong
from itest.suite.yamlfile import Keys, YamlFile

HOST = re.compile(r"(?P<name>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]+)(?::(?P<port>\d{1,5}))?")
WEB = (80, 443)  # the ports of a host that is named without one


@dataclass(frozen=True)
class Egress:
    """allow: names and ports that a sealed stack lets its services reach. fail: any other attempt fails the suite."""

    allow: tuple[tuple[str, int], ...] = ()
    fail: bool = False


def read(file: YamlFile, keys: Keys, value: Any) -> Egress:
    """`egress: [host, host:port]`, or `egress: {allow: […], fail: true}`. Raises ItestError (usage)."""
    given = schema.mapping(file, keys, value, ("allow", "fail")) if isinstance(value, dict) else {"allow": value}
    where = (*keys, "allow") if isinstance(value, dict) else keys
    fail = given.get("fail", False)
    if not isinstance(fail, bool):
        raise wrong(file, (*keys, "fail"), f"`fail` must be true or false, not {schema.described(fail)}")
    hosts = schema.strings(file, where, given.get("allow", []))
    return Egress(tuple(pair for host in hosts for pair in _pairs(file, where, host)), fail)


def check(layers: Layers, config: Config) -> None:
    """Where there is a door, it leads to every port, and nothing leads past it. Raises ItestError (usage)."""
    if door := config["services"].get(doors.DOOR):
        _refuse_ways_past(layers, config)
        _refuse_ports_without(layers, config, door)


def _refuse_ways_past(layers: Layers, config: Config) -> None:
    """A service that is on another network too is not sealed, and names that the door isn't asked for go unseen."""
    for name, service in config["services"].items():
        if name == doors.DOOR:
            continue
        mode = service.get("network_mode", "none")
        if mode != "none" and not mode.startswith("service:"):
            hint = "remove network_mode, or run this suite without the profile"
            raise layers.wrong(("services", name, "network_mode"), f"`{name}` would not be sealed: {mode}", hint)
        for network in service.get("networks") or {}:
            if not config["networks"][network].get("internal"):
                problem = f"`{name}` would not be sealed: it is on network `{network}` too"
                raise layers.wrong(("services", name, "networks"), problem, f"make `{network}` `internal: true`")
        if "network_mode" not in service and not service.get("dns"):
            problem = f"`{name}` doesn't ask the door for names, so nobody would see what it wants outside"
            hint = "add `extends: {file: defaults.yaml, service: defaults}`, or `dns: ${DOOR_ADDRESS:-127.0.0.1}`"
            raise layers.wrong(("services", name), problem, hint)


def _refuse_ports_without(layers: Layers, config: Config, door: Config) -> None:
    keys: Keys = ("services", doors.DOOR, "environment", doors.DOORS)
    try:
        table = doors.leads_to((door.get("environment") or {}).get(doors.DOORS) or "")
    except ValueError as error:
        raise layers.wrong(
            keys, f"`{doors.DOORS}` is not understood: {error}", "a line is 5432=postgres:5432"
        ) from error
    published = {port["target"] for port in door.get("ports") or []}
    for name, service in config["services"].items():
        for port in [port["target"] for port in service.get("ports") or [] if name != doors.DOOR]:
            mine = table.get((name, port))
            if mine is None:
                free = port if port not in published else next(n for n in range(20000, 65536) if n not in published)
                hint = f'add the line {free}={name}:{port} to it, and "127.0.0.1::{free}" to the ports below'
                raise layers.wrong(keys, f"port {port} of `{name}` has no door, so nobody could reach it", hint)
            if mine not in published:
                hint = f'add "127.0.0.1::{mine}"'
                raise layers.wrong(("services", doors.DOOR, "ports"), f"`door` does not publish port {mine}", hint)


def _pairs(file: YamlFile, keys: Keys, host: str) -> Iterator[tuple[str, int]]:
    """A host's name with each of its ports."""
    found = HOST.fullmatch(host.lower())
    if found is None or _is_address(found["name"]) or not 0 <= int(found["port"] or 0) <= 65535:
        problem = f"`{keys[-1]}: {host}` is no name of a host"
        raise wrong(
            file, keys, problem, "such as api.example.com, or mail.example.com:25; a name leads out, no address"
        )
    yield from ((found["name"], port) for port in ((int(found["port"]),) if found["port"] else WEB))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
