"""A client's sidecar: a container in the client's own network, through which all goes that the client sends.

What it is, compose/faults.yaml says. It belongs to the client's compose project and goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from itest import containers, images
from itest.compose import Project
from itest.containers import PROJECT_LABEL, Container, docker, moment
from itest.errors import EXIT_CODES, ItestError
from itest.faults.fault import Unable
from itest.faults.session import Session
from itest.images import ImageNeed
from itest.stack import slots

if TYPE_CHECKING:
    from itest.stack.stack import Stack
    from itest.suite.suite import Suite

FILE = Path("compose/faults.yaml")
SERVICE = "faults"  # its name there
ERROR = "itest: error: "  # how what it ends with begins
NOBODY = "none"  # in the place of a client, where only the image matters


def place(project: Project, client: Container, report: Callable[[str], None]) -> Container:
    """The sidecar of a client that runs, placed now unless it is there already: all goes through it from then on.

    report: gets a line where that takes an image first, and of what placing it did to the client. Raises ItestError:
    service where the client does not run or the sidecar does not start, image, engine; Unable where this machine can't.
    """
    if not client.state["Running"]:
        problem, hint = f"faults of {client.service}: it does not run ({client.summary})", "start it before"
        raise ItestError("service", problem, hint=hint, cause="exited", service=client.service)
    name = f"{project.name}-{SERVICE}-{client.service}"
    with slots.turn(project.root, f"{name}.place"):
        found = containers.inspect([name])
        if found and serves(found[0], client):
            return found[0]
        if found:
            docker("container", "rm", "--force", name)
        described = _described(project, f"container:{client.id}")
        described = replace(described, images={**described.images, **_image(described, report)})
        described.run(SERVICE, name)
        return _ready(name, client.service, report)


def serves(sidecar: Container, client: Container) -> bool:
    """Whether it is in the client's network: one that the client had before it was started anew is nobody's."""
    since, clients = moment(sidecar.state["StartedAt"]), moment(client.state["StartedAt"])
    return sidecar.running and bool(client.state["Running"]) and since >= clients  # a paused one is running, too


def left(sidecar: Container, client: Container) -> bool:
    """Whether it has ended before its client, which reaches nobody then: all that it sends is still led there."""
    since, clients = moment(sidecar.state["StartedAt"]), moment(client.state["StartedAt"])
    return sidecar.state["Status"] in ("exited", "dead") and bool(client.state["Running"]) and since >= clients


def place_all(stack: Stack, services: Collection[str]) -> None:
    """Those of services with which the suite wants its stack to start; what they send goes through these from now on.

    Raises ItestError like `place`.
    """

    clients = [stack.containers[name] for name in stack.suite.faults if name in services]
    if clients:
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(lambda one: place(stack.project_of(one.service), one, _silently), clients))


def of(project: str) -> dict[str, Container]:
    """The sidecars of a project's services, also those that ended: client -> sidecar."""
    prefix = f"{project}-{SERVICE}-"
    found = containers.containers({PROJECT_LABEL: project})
    return {one.name.removeprefix(prefix): one for one in found if one.name.startswith(prefix)}


def needs(suite: Suite, *, anyway: bool = False) -> list[ImageNeed]:
    """The image of the sidecars that a suite's stack starts with; none where it says no `faults`, unless anyway."""
    return _needs(_described(suite.project(suite.kept_name), NOBODY))[0] if suite.faults or anyway else []


def _silently(_line: str) -> None:
    """Of an image that is there, nothing is told."""


def _ready(name: str, client: str, report: Callable[[str], None]) -> Container:
    """Wait until it answers. Raises ItestError."""
    try:
        with closing(Session(name, client)) as session:
            session.ask(op="can")
    except ItestError as error:
        ended = containers.inspect([name])[0]
        if ended.running:
            raise
        said = _said(ended)
        why = next((line.removeprefix(ERROR) for line in said if line.startswith(ERROR)), said[-1])
        if ended.state["ExitCode"] == EXIT_CODES["engine"]:
            raise Unable(f"faults of {client}", why) from error
        problem = f"faults of {client}: its sidecar did not start: {why}"
        raise ItestError("service", problem, hint=f"docker logs {name}", cause="fault") from error
    placed = containers.inspect([name])[0]
    for line in _said(placed):
        report(f"itest: faults of {client}: {line}")
    return placed


def _said(sidecar: Container) -> list[str]:
    return containers.logs(sidecar, timestamps=False).splitlines() or [sidecar.summary]


def _described(project: Project, network: str) -> Project:
    """The same compose project, with nothing in it but this. network: as compose's network_mode has it."""
    return replace(project, images={**project.images, "COMPOSE_FILE": str(FILE), "FAULTS_CLIENT": network})


def _image(described: Project, report: Callable[[str], None]) -> dict[str, str]:
    """Make the image present, as it is from the start where a suite says `faults`. Returns its variable."""
    wanted, chosen = _needs(described)
    images.ensure(wanted, report)
    return chosen


def _needs(described: Project) -> tuple[list[ImageNeed], dict[str, str]]:
    """The image, under a name that tells its content, and the variable that chooses it."""
    config = described.config()
    chosen = images.pin(config, [(described.root / FILE).read_text(encoding="utf-8")])
    return images.needs_of(config), chosen
