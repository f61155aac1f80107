"""One compose project, driven through python-on-whales: the same files and the same way as by hand.

Nothing here waits for readiness or decides anything; errors of compose become errors that a person can act on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itest import doors, refusals
from itest.containers import ENV_FILE_LABEL as ENV_FILE_LABEL
from itest.containers import PROJECT_LABEL as PROJECT_LABEL
from itest.containers import SERVICE_LABEL as SERVICE_LABEL
from itest.containers import Container, containers, docker, inspect
from itest.errors import Category

if TYPE_CHECKING:
    from python_on_whales import DockerClient

ONE_OFF_LABEL = "com.docker.compose.oneoff"  # of what `run` starts
WORKING_DIR_LABEL = "com.docker.compose.project.working_dir"


def scrub_environment() -> None:
    """Drop the caller's COMPOSE_* variables: they silently beat the suite's env file."""
    for name in [name for name in os.environ if name.startswith("COMPOSE_")]:
        del os.environ[name]


@dataclass(frozen=True)
class Project:
    """A compose project: its name and the env files that name its layers. Paths are absolute.

    variables: what its layers read beside the env files and this process's environment, over both.
    images: variables too, such as POSTGRES_IMAGE, for suites that start side by side in threads; never a secret.
    """

    name: str
    root: Path
    env_files: tuple[Path, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """The resolved configuration, as `docker compose config` prints it."""
        with self._run("usage", "config", f"the compose files of {self.name}"):
            config: dict[str, Any] = self._client.compose.config(return_json=True)
            return config

    def up(self, services: Sequence[str], *, dependencies: bool = True, start: bool = True) -> None:
        """Create and start services; returns as soon as they run, ready or not. start: False only creates them."""
        with self._run("service", "start", f"stack {self.name}"):
            self._client.compose.up(
                list(services),
                detach=start,
                start=start,
                quiet=True,
                no_build=True,
                pull="never",
                dependencies=dependencies,
            )

    def run(self, service: str, name: str) -> None:
        """Start a container of a service that is no part of the stack, under a name of its own; returns at once.

        It belongs to the project and goes with it (`down`), and `up` and `ps` know nothing of it.
        """
        with self._run("service", "start", f"container {name}"):
            self._client.compose.run(service, name=name, detach=True, tty=False, dependencies=False)

    def down(self, *, timeout: int = 1) -> None:
        """Stop and remove containers, networks and volumes of the project. timeout: grace in seconds."""
        with self._run("engine", "down", f"stack {self.name}"):
            self._client.compose.down(volumes=True, remove_orphans=True, timeout=timeout, quiet=True)

    def act(self, verb: str, service: str) -> None:
        """kill, pause, unpause, stop or start one service, and note it where the run looks for deaths that it must
        explain: this one was meant, from before it begins until the service runs again."""
        brings_back = verb in ("start", "unpause")
        if not brings_back:
            announce(verb, self.name, service)
        with self._run("service", verb, f"service {service} of {self.name}"):
            if verb == "start":  # compose would also run again the one-shots that it depends on
                self._client.container.start(self.containers()[service].id)
            else:
                getattr(self._client.compose, verb)(service)
        if brings_back:
            announce(verb, self.name, service)

    def execute(self, service: str, command: Sequence[str]) -> str:
        """Run a command inside a service and return what it printed. Raises DockerException when it fails."""
        with _inside(self.root), _reading(self.variables):
            return str(self._client.compose.execute(service, list(command), tty=False))

    def command(self, *arguments: str) -> list[str]:
        """The docker compose command line for this project, for a process that takes over the terminal."""
        return [str(part) for part in [*self._client.compose.docker_compose_cmd, *arguments]]

    def containers(self, *, one_off: bool = False) -> dict[str, Container]:
        """All containers of the project, also those that ended: service -> container. one_off: what `run` started."""
        found = containers({PROJECT_LABEL: self.name, ONE_OFF_LABEL: str(one_off)})
        return doors.through({one.service: one for one in found})

    @property
    def _client(self) -> DockerClient:
        from python_on_whales import DockerClient

        return DockerClient(
            compose_project_name=self.name,
            compose_env_files=list(self.env_files),
            # The environment of this process has one value of a variable; each suite has its own baked images.
            client_call=["env", *(f"{name}={value}" for name, value in self.images.items()), "docker"],
        )

    @contextmanager
    def _run(self, category: Category, cause: str, what: str) -> Iterator[None]:
        """Where compose runs: in the root of the repository. A failed command becomes an error with docker's words."""
        from python_on_whales.exceptions import DockerException

        try:
            with _inside(self.root), _reading(self.variables):
                yield
        except DockerException as error:
            profile = ",".join(path.stem for path in self.env_files[1:])
            suite = self.env_files[0].stem if self.env_files else "…"
            explained = refusals.explain(
                error, category, cause, what, profile=profile, project=self.name, among=self.containers, suite=suite
            )
            raise explained from error


def announce(verb: str, project: str, service: str) -> None:
    """Tell a run what a test does to a service, so that it doesn't take it for a death. project: one worker's may be
    back while another's is gone."""
    if announced := os.environ.get("ITEST_ANNOUNCED"):
        with open(announced, "a", encoding="utf-8") as file:
            file.write(f"{verb} {project} {service}\n")


def project_labels(labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The projects that have a container with these labels, running or not, and for each compose's labels of one."""
    filters = [part for name, value in labels.items() for part in ("--filter", f"label={name}={value}")]
    wanted = (PROJECT_LABEL, WORKING_DIR_LABEL, ENV_FILE_LABEL)
    line = "\t".join(f'{{{{.Label "{name}"}}}}' for name in wanted)
    # One question: between a list of containers and a look at each, another run's may go.
    listing = docker("container", "ls", "--all", "--format", line, *filters).splitlines()
    found = (dict(zip(wanted, entry.split("\t"), strict=True)) for entry in listing)
    return {one[PROJECT_LABEL]: one for one in found}


def remove(project: str, *, insist: bool = True) -> None:
    """Remove all that carries a project's label, without its files: they may be other ones by now, or gone.

    insist: raise ItestError (engine) when docker refuses any of it, as it does while somebody else removes the same.
    """
    label = f"label={PROJECT_LABEL}={project}"
    # The network last: it holds the lease by which the next command finds what one that was killed has not got to.
    for kind, flags in (("container", ["--force", "--volumes"]), ("volume", ["--force"]), ("network", [])):
        if kind == "network":
            part(project)
        every = ["--all"] if kind == "container" else []
        if ids := docker(kind, "ls", *every, "--quiet", "--filter", label).split():
            docker(kind, "rm", *flags, *ids, check=insist)


def held(project: str) -> str:
    """What the engine holds of a project: `2 containers, 1 network`, or nothing."""
    label = f"label={PROJECT_LABEL}={project}"
    asked = ("container", "--all"), ("network",), ("volume",)
    counted = [(kind, len(docker(kind, "ls", *every, "--quiet", "--filter", label).split())) for kind, *every in asked]
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counted if count)


def projects() -> set[str]:
    """Every compose project of which the engine holds a container, a network or a volume."""
    asked = ("container", "ls", "--all"), ("network", "ls"), ("volume", "ls")
    line = f'{{{{.Label "{PROJECT_LABEL}"}}}}'
    listings = (docker(*one, "--filter", f"label={PROJECT_LABEL}", "--format", line) for one in asked)
    return {project for listing in listings for project in listing.split()}


def networks(project: str) -> dict[str, str]:
    """The networks of a project that exist: their name in the compose files -> their name in docker."""
    line = '{{.Label "com.docker.compose.network"}} {{.Name}}'
    listing = docker("network", "ls", "--filter", f"label={PROJECT_LABEL}={project}", "--format", line)
    return dict(entry.split(" ", 1) for entry in listing.splitlines())


def join(container: Container, network: str, aliases: Sequence[str]) -> None:
    """Let a container into one more network, where it is found by these names. Raises ItestError (engine)."""
    docker("network", "connect", *(f"--alias={alias}" for alias in aliases), network, container.id)


def part(project: str) -> None:
    """Take the containers of other projects out of a project's networks, which can't be removed before.

    One that is stopped, too: it could never start again.
    """
    for network in networks(project).values():
        members = docker("container", "ls", "--all", "--quiet", "--no-trunc", "--filter", f"network={network}").split()
        for one in inspect(members):
            if one.project != project:
                docker("network", "disconnect", "--force", network, one.id, check=False)  # it may be going too


def leases() -> dict[str, str]:
    """Every itest stack on the engine: project -> its lease, the label of its network (compose/base.yaml)."""
    line = '{{.Label "com.docker.compose.project"}} {{.Label "itest.lease"}}'
    listing = docker("network", "ls", "--filter", "label=itest.lease", "--format", line)
    return dict(entry.split(" ", 1) for entry in listing.splitlines())


@contextmanager
def _reading(variables: Mapping[str, str]) -> Iterator[None]:
    """Compose reads variables from this process's environment: on a command line everybody would see them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Compose resolves COMPOSE_FILE against the working folder, which for an IDE's pytest may be any."""
    before = Path.cwd()
    if before == folder:
        yield  # always so in the verbs, whose suites run in threads
        return
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
