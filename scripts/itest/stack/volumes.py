"""Volumes that a worker's own services have in common with those that all share, such as a mock's certificates.

Compose gives every project its own, and a worker's would be empty, so it is led to the stack's before compose looks.
"""

from __future__ import annotations

from itest.compose import PROJECT_LABEL
from itest.containers import docker
from itest.stack.stack import Stack
from itest.suite.suite import Suite

VOLUME_LABEL = "com.docker.compose.volume"


def share(stack: Stack, project: str) -> None:
    """Lead the volumes of a worker's project to the stack's, where both use them. Raises ItestError (engine)."""
    if not (names := common(stack.suite)):
        return
    line = f'{{{{.Label "{VOLUME_LABEL}"}}}} {{{{.Mountpoint}}}}'
    listing = docker("volume", "ls", "--filter", f"label={PROJECT_LABEL}={stack.name}", "--format", line)
    places = dict(entry.split(" ", 1) for entry in listing.splitlines())
    for name in names & places.keys():
        labels = (f"--label={PROJECT_LABEL}={project}", f"--label={VOLUME_LABEL}={name}")
        bind = ("--opt=type=none", "--opt=o=bind", f"--opt=device={places[name]}")
        docker("volume", "create", *labels, *bind, f"{project}_{name}")


def common(suite: Suite) -> set[str]:
    """The volumes that a service under `per_worker` mounts and another one, too."""
    of_workers, of_all = set[str](), set[str]()
    for name, service in suite.config["services"].items():
        mounts = service.get("volumes") or []
        mounted = {mount["source"] for mount in mounts if mount["type"] == "volume" and mount.get("source")}
        (of_workers if name in suite.per_worker else of_all).update(mounted)
    return of_workers & of_all
