"""The life of one stack: stores up, ready, data, the rest up, ready, … until its `down`.

Sits under both the runner and the pytest plugin.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from threading import Thread
from typing import Protocol

from itest import data
from itest.doors import DOOR
from itest.faults import sidecar
from itest.stack import deaths, door, startup
from itest.stack.ready import started_before, wait_ready
from itest.stack.stack import Stack


class Line(Protocol):
    """Where a stage says how far it is."""

    def detail(self, text: str) -> None: ...
    def update(self, text: str) -> None: ...


class Quiet:
    """A line that nobody reads."""

    def detail(self, text: str) -> None:
        pass

    update = detail


StageOpener = Callable[[str], AbstractContextManager[Line]]


def quiet(_stage: str) -> AbstractContextManager[Line]:
    """Stages without output."""
    return nullcontext(Quiet())


def start(stack: Stack, opener: StageOpener = quiet, *, factor: float = 1.0) -> startup.Course:
    """Bring a stack from nothing to migrated, seeded and ready. factor: multiplies readiness deadlines.

    Returns what took how long. Raises ItestError (service or data); what was started by then stays, for the evidence,
    until `stack.down()`.
    """
    plan = data.plan(stack.suite)
    Thread(target=_warm_imports, daemon=True).start()
    batches: list[startup.Batch] = []

    def reach(services: tuple[str, ...]) -> None:
        began = time.time()
        _up(stack, services, opener)
        _ready(stack, services, opener, factor)
        batches.append(startup.observed(stack.targets(services), stack.readiness, began, time.time()))

    _fill(stack, plan, reach, opener)
    return startup.Course(batches, time.time())


def settle(stack: Stack, opener: StageOpener = quiet, *, factor: float = 1.0) -> str:
    """Bring a stack whose containers run to migrated, seeded and ready: what `start` does, without the starting.

    Plain compose leaves the database empty, a restart of a PostgreSQL on tmpfs empties it again, and a pytest that was
    killed leaves it in disorder. Says what that took, or "". Raises ItestError (service or data).
    """
    plan = data.plan(stack.suite)
    fill = data.reseed if plan.sealed else data.prepare

    def reach(services: tuple[str, ...]) -> None:
        with started_before(stack.suite.name):
            _ready(stack, services, opener, factor)

    said = _fill(stack, plan, reach, opener, fill)
    return "" if said in data.UNEVENTFUL else said


def _fill(
    stack: Stack,
    plan: data.Plan,
    reach: Callable[[tuple[str, ...]], None],
    opener: StageOpener,
    fill: Callable[[data.Plan, Mapping[str, str]], str] = data.prepare,
) -> str:
    """Stores first, then data, then the rest: an application may not get ready before it finds its tables.

    Returns what the data stage said.
    """
    said = ""
    first = stack.suite.stores
    rest = tuple(name for name in stack.suite.services if name not in first)
    if first:
        reach(first)
        with opener("data") as line, stack.timed("data"):
            said = fill(plan, stack.stores())
            line.detail(said)
    if rest:
        reach(rest)
    return said


def _up(stack: Stack, services: tuple[str, ...], opener: StageOpener) -> None:
    with opener("up") as line, stack.timed("up"):
        line.detail(", ".join(services))
        if DOOR in services:
            stack.project = door.opened(stack.suite, stack.project)
        # What they depend on is up and ready by now; compose would only wait for its own, slower health checks.
        stack.project.up(services, dependencies=False)
        stack.refresh()
        sidecar.place_all(stack, services)


def _ready(stack: Stack, services: tuple[str, ...], opener: StageOpener, factor: float) -> None:
    with opener("ready") as line, stack.timed("ready"):
        ready = wait_ready(stack.targets(services), factor=factor, report=line.detail, needed=deaths.needed(stack))
        stack.readiness.update(ready)


def _warm_imports() -> None:
    """Import what the probes and the data stage need while compose works, instead of after it."""
    for module in ("tenacity", "psycopg", "redis", "requests"):
        importlib.import_module(module)
