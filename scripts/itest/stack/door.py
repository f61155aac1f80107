"""Opening the door of a sealed stack, before anything else of it starts: the others are told its address, as their DNS
server, and it is told where the hosts are that the suite lets out."""

from __future__ import annotations

import socket
from dataclasses import replace

from itest import doors
from itest.compose import Project
from itest.doors import DOOR
from itest.errors import ItestError
from itest.suite.suite import Suite


def opened(suite: Suite, project: Project) -> Project:
    """Start the door of a project, if it has one. Returns the project for what starts next.

    Raises ItestError: service when the door doesn't start, engine for a host under `egress` that nobody here knows.
    """
    if DOOR not in suite.services:
        return project
    project = replace(project, images={**project.images, "EGRESS_HOSTS": " ".join(_found(suite))})
    project.up([DOOR], dependencies=False)
    return replace(project, images={**project.images, **doors.address(project.containers())})


def of_each_worker(suite: Suite) -> Suite:
    """The suite as its workers see it: who has services of its own has a door of its own, which leads to them."""
    if DOOR not in suite.services or not suite.per_worker:
        return suite
    return replace(suite, per_worker=(*suite.per_worker, DOOR))


def resolved(name: str) -> str:
    """The IPv4 address that a name has on this machine. Raises OSError."""
    return str(socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])


def _found(suite: Suite) -> list[str]:
    """`name:port=address` for each. The door asks no name itself, or it would ask for those of stopped services too."""
    found = []
    for name, port in suite.egress.allow:
        try:
            address = resolved(name)
        except OSError as error:
            overlay = suite.files[-1].path
            problem = f"suite {suite.name}: egress to {name}: this machine finds no address for it: {error.strerror}"
            hint = f"`getent hosts {name}` tries; correct the name in x-itest of {overlay}, or mock it"
            raise ItestError("engine", problem, hint=hint, cause="egress") from error
        found.append(f"{name}:{port}={address}")
    return found
