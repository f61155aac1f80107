"""The life of one stack: stores up, ready, data, the rest up, ready, … down; and the handle by which tests reach it.

Sits under both the runner and the pytest plugin.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Thread
from typing import Protocol

from itest import compose, data
from itest.compose import Container, Project
from itest.errors import ItestError
from itest.stack.probes import Target
from itest.stack.ready import Readiness, wait_ready
from itest.suite import schema
from itest.suite.kinds import KINDS, Endpoint, postgres_dsn
from itest.suite.suite import Service, Suite


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


@dataclass
class Stack:
    """A stack that runs. Its methods are what the `stack` fixture offers to tests."""

    suite: Suite
    project: Project
    containers: dict[str, Container] = field(default_factory=dict)
    readiness: dict[str, Readiness] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)  # seconds, by stage

    @property
    def name(self) -> str:
        """The compose project's name: `docker compose -p NAME ps`."""
        return self.project.name

    def endpoint(self, service: str, port: int | None = None) -> Endpoint:
        """Host and port where a service's container port answers; port: default is that of its kind."""
        return self._target(service).endpoint(port)

    def url(self, service: str, path: str = "") -> str:
        """The base URL of an HTTP service, followed by path."""
        return "http://{}:{}".format(*self.endpoint(service)) + path

    def dsn(self, service: str, *, user: str = "", password: str = "") -> str:
        """The connection string of a store, as its own superuser unless a user is named."""
        if self._service(service).kind == "postgres":
            return postgres_dsn(self.endpoint(service), self.env(service), user, password)
        return self._target(service).address

    def env(self, service: str) -> Mapping[str, str]:
        """The environment that a service was started with, secrets included."""
        self._service(service)
        return self.containers[service].environment

    def logs(self, service: str) -> str:
        """What a service printed so far, with timestamps."""
        self._service(service)
        return compose.logs(self.containers[service])

    def kill(self, service: str) -> None:
        """End a service at once, as a crash would (SIGKILL)."""
        self.project.act("kill", service)

    def pause(self, service: str) -> None:
        """Freeze a service: connections stay open and nothing answers. `start` thaws it."""
        self.project.act("pause", service)

    def stop(self, service: str) -> None:
        """Ask a service to end (SIGTERM, then SIGKILL after its grace period)."""
        self.project.act("stop", service)

    def start(self, service: str) -> None:
        """Start or thaw a service and wait until it is ready. Its ephemeral port may be another one afterwards."""
        paused = self.project.containers()[service].state["Paused"]
        self.project.act("unpause" if paused else "start", service)
        self.refresh()
        wait_ready([self._target(service)])

    def refresh(self) -> None:
        """Look at the containers again."""
        self.containers = self.project.containers()

    def stores(self) -> dict[str, str]:
        """The connection strings of all services that hold data."""
        return {name: self.dsn(name) for name, service in self.suite.services.items() if service.stores}

    def only(self, kind: str) -> str:
        """The one service of a kind. Raises ItestError (usage) when there is none, or more than one."""
        found = [service.name for service in self.suite.services.values() if service.kind == kind]
        if len(found) != 1:
            problem = f"suite {self.suite.name}: {len(found)} services of kind {kind}: {', '.join(found) or 'none'}"
            raise ItestError("usage", problem, hint="name the one you mean: stack.dsn(…), stack.url(…)", cause="config")
        return found[0]

    def discovery(self) -> dict[str, str]:
        """`ITEST_<SERVICE>_{HOST,PORT,URL,DSN}` for every service that publishes the port of its kind."""
        found: dict[str, str] = {}
        for service in self.suite.services.values():
            container = self.containers.get(service.name)
            if container is None or service.port not in container.ports:
                continue
            prefix = f"ITEST_{service.name.upper().replace('-', '_')}"
            host, port = self.endpoint(service.name)
            address = KINDS[service.kind].address(Endpoint(host, port), container.environment) if service.kind else ""
            found |= {f"{prefix}_HOST": host, f"{prefix}_PORT": str(port)}
            if address:
                found[f"{prefix}_{'DSN' if service.stores else 'URL'}"] = address
        return found

    def down(self) -> None:
        """Remove everything of this stack."""
        self.project.down()

    def targets(self, services: Iterable[str]) -> list[Target]:
        """The services as readiness probes see them. Raises ItestError (service) for one without a container."""
        return [self._target(name) for name in services]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage's timing."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.timings[stage] = self.timings.get(stage, 0.0) + time.monotonic() - started

    def _service(self, name: str) -> Service:
        if name not in self.suite.services:
            hint = schema.nearest(name, self.suite.services)
            raise ItestError("usage", f"suite {self.suite.name}: no service {name}", hint=hint, cause="config")
        if name not in self.containers:
            raise ItestError("service", f"service {name} of {self.name}: it has no container", cause="missing")
        return self.suite.services[name]

    def _target(self, name: str) -> Target:
        return Target(self._service(name), self.containers[name], self.project)


def start(stack: Stack, opener: StageOpener = quiet, *, factor: float = 1.0) -> None:
    """Bring a stack from nothing to migrated, seeded and ready. factor: multiplies readiness deadlines.

    Raises ItestError (service or data); what was started by then stays, for the evidence, until `stack.down()`.
    """
    suite = stack.suite
    plan = data.plan(suite)
    Thread(target=_warm_imports, daemon=True).start()
    first = suite.stores
    rest = tuple(name for name in suite.services if name not in first)
    if first:
        _up(stack, first, opener, factor)
        with opener("data") as line, stack.timed("data"):
            line.detail(data.prepare(plan, stack.stores()))
    if rest:
        _up(stack, rest, opener, factor)


def attach(suite: Suite, project: str) -> Stack:
    """The handle of a stack that runs already. Raises ItestError (service) when it doesn't."""
    stack = Stack(suite, suite.project(project))
    stack.refresh()
    if not stack.containers:
        hint = f"make up SUITE={suite.name}"
        raise ItestError("service", f"stack {project}: it is not running", hint=hint, cause="missing")
    return stack


def kept(suite: Suite) -> list[str]:
    """Projects of this suite and checkout that somebody keeps: started by hand, or left by a run with KEEP=1.

    The stack of a run that is still going on is never among them.
    """
    env_file = str(suite.root / suite.env_files[0])
    leases = compose.leases()
    found = compose.project_labels({compose.WORKING_DIR_LABEL: str(suite.root / "compose")})
    ours = {project for project, labels in found.items() if labels.get(compose.ENV_FILE_LABEL, "").startswith(env_file)}
    return sorted(project for project in ours if leases.get(project) == "kept" or _finished(suite, leases.get(project)))


def _finished(suite: Suite, lease: str | None) -> bool:
    """Whether a run that keeps its stacks has written its summary, and so is over."""
    keeper, _, run = (lease or "").partition(" ")
    return keeper == "keep" and (suite.root / "build" / "itest" / run / "summary.json").is_file()


def _up(stack: Stack, services: tuple[str, ...], opener: StageOpener, factor: float) -> None:
    with opener("up") as line, stack.timed("up"):
        line.detail(", ".join(services))
        # What they depend on is up and ready by now; compose would only wait for its own, slower health checks.
        stack.project.up(services, dependencies=False)
        stack.refresh()
    with opener("ready") as line, stack.timed("ready"):
        ready = wait_ready(stack.targets(services), factor=factor, report=line.detail)
        stack.readiness.update(ready)


def _warm_imports() -> None:
    """Import what the probes and the data stage need while compose works, instead of after it."""
    for module in ("tenacity", "psycopg", "redis", "requests"):
        importlib.import_module(module)
