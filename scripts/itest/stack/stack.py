"""The handle of a stack that runs: where its services answer, what they say, and how a test takes one away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from itest import containers
from itest.compose import Project
from itest.containers import Container
from itest.errors import ItestError
from itest.stack.probes import Target, Unpublished
from itest.stack.ready import Readiness, wait_ready
from itest.suite import schema
from itest.suite.kinds import KINDS, SCOPE, Endpoint, postgres_dsn
from itest.suite.suite import Service, Suite

UNPUBLISHED = "unpublished"  # the cause of an error


@dataclass
class Stack:
    """A stack that runs, as one process sees it. Its methods are what the `stack` fixture offers to tests.

    slot: which of the processes that use it this one is. places: service -> its own database, logical database or
    virtual host there, where that isn't the stack's. own: the project of the services that this worker has for itself.
    sharers: how many processes use the stack at this moment.
    """

    suite: Suite
    project: Project
    slot: int = 0
    places: Mapping[str, str] = field(default_factory=dict)
    own: Project | None = None
    sharers: Callable[[], int] = lambda: 1
    containers: dict[str, Container] = field(default_factory=dict)
    readiness: dict[str, Readiness] = field(default_factory=dict)
    halted: set[str] = field(default_factory=set)  # services that a test took away and has not started again
    timings: dict[str, float] = field(default_factory=dict)  # seconds, by stage

    @property
    def name(self) -> str:
        """The compose project's name: `docker compose -p NAME ps`."""
        return self.project.name

    def endpoint(self, service: str, port: int | None = None) -> Endpoint:
        """Host and port where a service's container port answers; port: default is that of its kind.

        Raises ItestError: service where it doesn't run, usage where the port is not published.
        """
        try:
            return self._target(service).endpoint(port)
        except Unpublished as error:
            raise self._unreachable(service, str(error)) from error

    def url(self, service: str, path: str = "") -> str:
        """The base URL of an HTTP service, followed by path."""
        return "http://{}:{}".format(*self.endpoint(service)) + path

    def dsn(self, service: str, *, user: str = "", password: str = "") -> str:
        """The connection string of a store, as its own superuser unless a user is named, with that user's password.

        Raises ItestError (usage) for another user of PostgreSQL without a password, which only the layer knows.
        """
        kind, place = self._service(service).kind, self.places.get(service, "")
        if kind == "postgres":
            if not password:
                _refuse_no_password(service, user, self.env(service))
            return postgres_dsn(self.endpoint(service), self.env(service), place, user, password)
        return KINDS[kind].address(self.endpoint(service), self.env(service), place)

    def admin(self, service: str) -> str:
        """The URL at which a service is told what to do, such as a mock what to answer. Raises as `endpoint` does."""
        try:
            return self._target(service).admin
        except Unpublished as error:
            raise self._unreachable(service, str(error)) from error

    @property
    def scope(self) -> str:
        """By which a mock knows this worker's requests."""
        mocks = (name for name in self.suite.services if self.suite.services[name].kind == "mock")
        return next((self.places[name] for name in mocks if name in self.places), SCOPE)

    def env(self, service: str) -> Mapping[str, str]:
        """The environment that a service was started with, secrets included."""
        self._service(service)
        return self.containers[service].environment

    def logs(self, service: str) -> str:
        """What a service printed so far, with timestamps."""
        self._service(service)
        return containers.logs(self.containers[service])

    def state(self, service: str) -> str:
        """How docker sees a service at this moment: `healthy`, `running`, `paused`, `exited, code 3` …"""
        self._service(service)
        found = containers.inspect([self.containers[service].id])
        return found[0].summary if found else "removed"

    def kill(self, service: str) -> None:
        """End a service at once, as a crash would (SIGKILL)."""
        self._halt("kill", service)

    def pause(self, service: str) -> None:
        """Freeze a service: connections stay open and nothing answers. `start` thaws it."""
        self._halt("pause", service)

    def stop(self, service: str) -> None:
        """Ask a service to end (SIGTERM, then SIGKILL after its grace period)."""
        self._halt("stop", service)

    def start(self, service: str) -> None:
        """Start or thaw a service and wait until it is ready. Its ephemeral port may be another one afterwards."""
        self.refresh()
        paused = self._target(service).container.state["Paused"]
        self.project_of(service).act("unpause" if paused else "start", service)
        self.halted.discard(service)
        self.refresh()
        wait_ready([self._target(service)])

    def repoint(self, service: str, **variables: str) -> AbstractContextManager[None]:
        """Run a service with other values of variables that its layer reads, as long as the block does.

        `with stack.repoint("shop", POSTGRES_DB=clone): …`. Its port may be another one in the block, and after it.
        Raises ItestError: usage when no variable changes it or other processes use it, service when it gets not ready.
        """
        from itest.stack.repoint import repointed

        self._service(service)
        self.refuse_shared(f"stack.repoint({service!r})", service)
        return repointed(self, service, variables)

    def refresh(self) -> None:
        """Look at the containers again."""
        self.containers = self.project.containers() | (self.own.containers() if self.own else {})

    def project_of(self, service: str) -> Project:
        """The compose project that a service's container belongs to."""
        return self.own if self.own and service in self.suite.per_worker else self.project

    def stores(self) -> dict[str, str]:
        """Where all services that hold data are filled: connection strings, of a mock its admin port's URL."""
        stores = [service for service in self.suite.services.values() if service.stores]
        return {one.name: self.admin(one.name) if KINDS[one.kind].admin else self.dsn(one.name) for one in stores}

    def only(self, kind: str) -> str:
        """The one service of a kind. Raises ItestError (usage) when there is none, or more than one."""
        found = [service.name for service in self.suite.services.values() if service.kind == kind]
        if len(found) != 1:
            problem = f"suite {self.suite.name}: {len(found)} services of kind {kind}: {', '.join(found) or 'none'}"
            layers = f"add a layer of kind {kind} to COMPOSE_FILE in {self.suite.env_files[0]}"
            hint = "name the one you mean: stack.dsn(…), stack.url(…)" if found else layers
            raise ItestError("usage", problem, hint=hint, cause="config")
        return found[0]

    def discovery(self) -> dict[str, str]:
        """`ITEST_<SERVICE>_{HOST,PORT,URL,DSN}` for every service that publishes the port of its kind.

        Of a mock also `…_ADMIN_URL`, where it is told what to do.
        """
        found: dict[str, str] = {}
        for service in self.suite.services.values():
            container = self.containers.get(service.name)
            if container is None or service.port not in container.ports:
                continue
            prefix = f"ITEST_{service.name.upper().replace('-', '_')}"
            host, port = self.endpoint(service.name)
            where = Endpoint(host, port)
            place = self.places.get(service.name, "")
            address = KINDS[service.kind].address(where, container.environment, place) if service.kind else ""
            found |= {f"{prefix}_HOST": host, f"{prefix}_PORT": str(port)}
            if service.kind == "mock" and KINDS["mock"].admin in container.ports:
                found[f"{prefix}_ADMIN_URL"] = self.admin(service.name)
            if address:
                found[f"{prefix}_{'DSN' if service.stores and service.kind != 'mock' else 'URL'}"] = address
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

    def _halt(self, verb: str, service: str) -> None:
        self._service(service)
        self.refuse_shared(f"stack.{verb}({service!r})", service)
        self.project_of(service).act(verb, service)
        self.halted.add(service)

    def refuse_shared(self, call: str, service: str) -> None:
        """Taking away what a neighbour uses would fail the neighbour's tests. call: as the person wrote it.

        Raises ItestError (usage).
        """
        if service not in self.suite.per_worker and (sharers := self.sharers()) > 1:
            problem = f"{call}: {sharers} workers share service {service}"
            overlay = self.suite.files[-1].path
            hint = f"add {service} to per_worker in {overlay}: each worker then has its own; or run without -n"
            raise ItestError("usage", problem, hint=hint, cause="shared")

    def _service(self, name: str) -> Service:
        if name not in self.suite.services:
            hint = schema.nearest(name, self.suite.services)
            raise ItestError("usage", f"suite {self.suite.name}: no service {name}", hint=hint, cause="config")
        if name not in self.containers:
            problem, hint = f"service {name} of {self.name}: it has no container", f"make up SUITE={self.suite.name}"
            raise ItestError("service", problem, hint=hint, cause="missing")
        return self.suite.services[name]

    def _unreachable(self, name: str, words: str) -> ItestError:
        container = self.containers[name]
        if container.running:
            hint = "publish it on loopback, as compose/layers/ does"
            return ItestError("usage", f"service {name}: {words}", hint=hint, cause=UNPUBLISHED, service=name)
        problem, hint = f"service {name}: it does not run ({container.summary})", f"make up SUITE={self.suite.name}"
        return ItestError("service", problem, hint=f"{hint} starts it again", cause="exited", service=name)

    def _target(self, name: str) -> Target:
        return Target(self._service(name), self.containers[name], self.project_of(name))


def _refuse_no_password(service: str, user: str, environment: Mapping[str, str]) -> None:
    """A server that trusts every connection needs none, and the superuser's is known."""
    superuser = environment.get("POSTGRES_USER") or "postgres"
    if user in ("", superuser) or environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
        return
    named = (name for name in environment if user.upper() in name and "PASSWORD" in name)
    password = next((f"stack.env({service!r})[{name!r}]" for name in named), "…")
    call = f"stack.dsn({service!r}, user={user!r}"
    hint = f"{call}, password={password})"
    raise ItestError("usage", f"{call}): no password for {user}", hint=hint, cause="config")
