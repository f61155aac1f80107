"""The door of a sealed stack, as those outside see it: where it publishes what the services themselves can't.

A container that is only on an internal network publishes nothing. compose/profiles/sealed.yaml says which port of the
door leads to which of theirs, so a service's ports are found there, and nobody else needs to know that there is a door.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from itest.containers import Container

DOOR = "door"  # the service
DOORS = "DOORS"  # its variable: a line `<port of the door>=<service>:<port>` for each
NETWORK = "default"  # the stack's own network, where the door is the others' DNS server

Port = tuple[str, int]  # a service and its container port


def leads_to(doors: str) -> dict[Port, int]:
    """What DOORS says: a service's port -> the port of the door. Raises ValueError for a line that says nothing."""
    found: dict[Port, int] = {}
    for line in doors.split():
        mine, _, there = line.partition("=")
        service, _, port = there.rpartition(":")
        found[service, int(port)] = int(mine)
    return found


def through(containers: Mapping[str, Container]) -> dict[str, Container]:
    """The containers of a project, with the ports that its door publishes for them, where it has one."""
    found = dict(containers)
    if door := containers.get(DOOR):
        for (service, port), mine in leads_to(door.environment.get(DOORS, "")).items():
            if service in found and mine in door.ports:
                one = found[service]
                found[service] = replace(one, ports={**one.ports, port: door.ports[mine]})
    return found


def address(containers: Mapping[str, Container]) -> dict[str, str]:
    """The variable by which the other services find the door as their DNS server; nothing without a door."""
    door = containers.get(DOOR)
    inside = door.addresses.get(f"{door.project}_{NETWORK}", "") if door else ""
    return {"DOOR_ADDRESS": inside} if inside else {}
