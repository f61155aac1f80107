"""A worker's stack: the stores that all share, each with a place of its own, and own instances of what can't be shared.

The services under `per_worker` run once more, as a project `<stack>_worker<slot>` in a network of its own, which the
shared services join under their usual names: `postgres` resolves there, and no worker's service sees another worker's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from itest import compose, containers, data
from itest.containers import Container
from itest.errors import ItestError
from itest.faults import sidecar
from itest.stack import asstarted, door, places, slots, volumes
from itest.stack.ready import wait_ready
from itest.stack.stack import Stack
from itest.suite import workers

# Docker publishes a container's ports through the first of its networks by name. With `-1` for `_worker1` a worker's
# network would become the first, and the ports of shared stores would change under everybody's feet.
SUFFIX = "_worker"


@contextmanager
def entered(stack: Stack, slot: int, owner: str, *, factor: float = 1.0, stays: bool = False) -> Iterator[Stack]:
    """The stack as the process of a slot sees it. Slot 0 has the stack as it is.

    owner: who removes the worker's own services should this process be killed. stays: leave them to the owner anyway,
    who wants their logs. Raises ItestError (usage, service or data).
    """
    stack = replace(stack, suite=door.of_each_worker(stack.suite))
    mine = replace(stack, slot=slot, sharers=_sharers(stack))
    if not slot or not workers.apart(stack.suite):
        yield mine
        return
    mine.places = places.names(stack, slot)
    if stack.suite.per_worker:
        variables = workers.variables(stack.suite, mine.places) | {"ITEST_LEASE": f"run {owner}"}
        variables |= asstarted.free_ports(stack)
        mine.own = asstarted.project(stack, f"{stack.name}{SUFFIX}{slot}", **variables)
    try:
        _start(stack, mine, factor)
        yield mine
    finally:
        if mine.own and not stays:
            compose.remove(mine.own.name)
        places.drop(mine)


def of(stack: Stack) -> list[Stack]:
    """What the workers of a stack have for themselves at this moment: a handle for each that has anything."""
    found = []
    for project in compose.leases() if stack.suite.per_worker else ():
        slot = project.removeprefix(f"{stack.name}{SUFFIX}")
        if slot != project and slot.isdigit():
            one = Stack(stack.suite, stack.suite.project(project), slot=int(slot))
            one.refresh()
            found.append(one)
    return found


def remove_all(stack: Stack) -> None:
    """Remove what workers have for themselves, be they done, or killed before they could."""
    if found := [one.name for one in of(stack)]:
        with ThreadPoolExecutor(len(found)) as pool:
            list(pool.map(compose.remove, found))


def _start(stack: Stack, mine: Stack, factor: float) -> None:
    """Places and containers side by side; own stores are filled before the services that need them start."""
    own = mine.own
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(places.make, stack, mine.places)
        if own:
            if compose.networks(own.name):
                compose.remove(own.name)  # of a worker that was killed
            volumes.share(stack, own.name)  # before compose starts anything of it, and makes empty ones
            own = mine.own = door.opened(mine.suite, own)
            own.up(stack.suite.per_worker, dependencies=False, start=False)
            _join(stack, own.name)
        making.result()
    _tell_mocks(mine)  # before a service of this worker can send a request
    stores = tuple(name for name in stack.suite.stores if name in stack.suite.per_worker)
    _up(mine, stores, factor)
    data.reseed(data.plan(stack.suite), mine.stores())
    _up(mine, tuple(name for name in stack.suite.per_worker if name not in stores), factor)


def _up(mine: Stack, services: tuple[str, ...], factor: float) -> None:
    if mine.own and services:
        mine.own.up(services, dependencies=False)
        mine.refresh()
        sidecar.place_all(mine, services)
        wait_ready(mine.targets(services), factor=factor)


def _join(stack: Stack, project: str) -> None:
    """Let the shared services into a worker's networks, under the names that they have at home."""
    networks = compose.networks(project)
    for service, container in stack.containers.items():
        if service in stack.suite.per_worker:
            continue
        for home, aliases in container.aliases.items():
            network = networks.get(home.removeprefix(f"{stack.name}_"))
            if network:
                _refuse_first(service, network, container)
                compose.join(container, network, sorted({service, *aliases} - {container.name, container.id[:12]}))


def _tell_mocks(mine: Stack) -> None:
    """What comes in through this worker's network is in this worker's scope."""
    from itest.mocking.admin import Admin

    for service in (name for name in mine.places if mine.own and mine.suite.services[name].kind == "mock"):
        with Admin(mine.admin(service)) as admin:
            admin.know(addresses(mine, service))


def addresses(mine: Stack, service: str) -> dict[str, str]:
    """A shared mock's addresses in a worker's own networks, each with the worker's scope."""
    found = containers.inspect([mine.containers[service].id])
    own = f"{mine.own.name}_" if mine.own else ""
    here = found[0].addresses if own and found else {}
    return {address: mine.places[service] for network, address in here.items() if network.startswith(own) and address}


def _refuse_first(service: str, network: str, container: Container) -> None:
    if network < min(container.aliases):
        problem = f"service {service}: its network {min(container.aliases)} comes after the workers' {network} by name"
        hint = "docker would publish its ports anew: give the network a name that begins with a to v"
        raise ItestError("usage", problem, hint=hint, cause="workers")


def _sharers(stack: Stack) -> Callable[[], int]:
    def count() -> int:
        announced = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))  # some may not have come yet, or be gone
        return max(announced, len(slots.holders(Path(stack.suite.root), stack.name)))

    return count
