"""What a fault may be asked for: services that there are, that nobody else needs, and amounts that mean something."""

from __future__ import annotations

import math

from itest.containers import Container
from itest.errors import ItestError
from itest.stack.stack import Stack
from itest.suite import schema


def known(stack: Stack, call: str, *services: str) -> None:
    """Refuse a service that the suite doesn't have. call: as the person wrote it. Raises ItestError (usage)."""
    for service in services:
        if service not in stack.suite.services:
            problem, hint = f"has no service {service}", schema.nearest(service, stack.suite.services)
            if owner := next((one.service for one in stack.containers.values() if service in _names(one)), ""):
                problem, hint = f"knows {service} as another name of service {owner}", f"name the service: {owner}"
            problem = f"{call}: suite {stack.suite.name} {problem}"
            raise ItestError("usage", problem, hint=hint, cause="fault")


def _names(container: Container) -> set[str]:
    """By which others in its networks find it."""
    return {name for names in container.aliases.values() for name in names}


def apart(call: str, client: str, server: str) -> None:
    """Refuse what is between a service and itself. Raises ItestError (usage)."""
    if client == server:
        hint = "name who connects, then what it connects to"
        raise ItestError("usage", f"{call}: {client} does not reach itself by network", hint=hint, cause="fault")


def amount(call: str, name: str, value: float, *, zero: bool = True, most: float = math.inf) -> None:
    """Refuse a number that is none, too small or too large. zero: whether that may be. Raises ItestError (usage)."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (0 < value <= most or (zero and value == 0)) and value < math.inf:
        return
    wanted = ("0 or more" if zero else "more than 0") + ("" if most == math.inf else f", at most {most:g}")
    kind = "text" if isinstance(value, str) else type(value).__name__
    problem = f"{call}: {name}={value!r} " + (f"must be {wanted}" if is_number else f"is {kind}, not a number")
    raise ItestError("usage", problem, hint=f"such as {name}=100", cause="fault")
