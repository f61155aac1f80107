"""The engine's containers, through the docker command line: one or two round trips however many they are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from itest.errors import ItestError

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ENV_FILE_LABEL = "com.docker.compose.project.environment_file"


@dataclass(frozen=True)
class Container:
    """One container of a project, as `docker inspect` tells it."""

    id: str
    project: str
    service: str
    image: str
    environment: Mapping[str, str]
    ports: Mapping[int, tuple[str, int]]  # container port -> (host, host port), only published ones
    state: Mapping[str, Any]  # docker's own State: Status, ExitCode, OOMKilled, Health …
    restarts: int
    name: str = ""
    env_files: Sequence[str] = ()  # with which compose started it
    memory: int = 0  # its limit in bytes, 0 for none
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)  # network -> how others in it find this one
    addresses: Mapping[str, str] = field(default_factory=dict)  # network -> its address there, while it runs

    @property
    def running(self) -> bool:
        return bool(self.state["Status"] == "running")

    @property
    def health(self) -> str:
        """ "starting", "healthy", "unhealthy", or "" without a healthcheck."""
        return str((self.state.get("Health") or {}).get("Status", ""))

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state["Status"] == "exited" and self.state["ExitCode"] == 0 and not self.state.get("OOMKilled")

    @property
    def summary(self) -> str:
        """`healthy`, `running`, `paused`, `exited, code 1` or `exited, code 137, OOM-killed`."""
        status = str(self.state["Status"])
        if status != "exited":
            return self.health if self.running and self.health else status
        return f"exited, code {self.state['ExitCode']}" + (", OOM-killed" if self.state.get("OOMKilled") else "")

    @property
    def health_log(self) -> list[str]:
        """What the last health checks said, oldest first."""
        entries = (self.state.get("Health") or {}).get("Log") or []
        return [f"exit {entry['ExitCode']}: {entry['Output'].strip()}" for entry in entries]


def containers(labels: Mapping[str, str]) -> list[Container]:
    """All containers with these labels, running or not; two round trips however many there are."""
    filters = [part for name, value in labels.items() for part in ("--filter", f"label={name}={value}")]
    ids = docker("container", "ls", "--all", "--quiet", "--no-trunc", *filters).split()
    return inspect(ids)


def inspect(ids: Sequence[str]) -> list[Container]:
    """These containers, one round trip. One that is gone is left out."""
    if not ids:
        return []
    found = subprocess.run(["docker", "container", "inspect", *ids], capture_output=True, text=True, check=False)
    return [_container(raw) for raw in json.loads(found.stdout or "[]")]


def logs(container: Container, *, tail: int | None = None, timestamps: bool = True, since: float | None = None) -> str:
    """What a container printed so far, both streams. tail: only so many lines of the end.

    since: only what it printed from then on, in seconds since the epoch.
    """
    # Not `docker compose logs`, which writes terminal control sequences even into a pipe.
    last = [] if tail is None else ["--tail", str(tail)]
    when = ["--timestamps"] if timestamps else []
    later = [] if since is None else ["--since", f"{since:.6f}"]
    command = ["docker", "container", "logs", *when, *last, *later, container.id]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace")


def moment(text: str) -> float:
    """A time as docker writes it, `2026-01-09T10:00:00.123456789Z`, in seconds since the epoch; 0 for never.

    Those of health checks have the zone of the engine's machine, `…+01:00`.
    """
    if text.startswith("0001-"):
        return 0.0
    fraction = text[19:].removesuffix("Z").partition("+")[0].partition("-")[0]
    zone = text[19 + len(fraction) :].replace("Z", "+00:00")
    return datetime.fromisoformat(f"{text[:19]}{zone}").timestamp() + float(fraction or 0)


def docker(*arguments: str, check: bool = True) -> str:
    """A docker command's standard output. Raises ItestError (engine), unless a failure doesn't matter."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        command = f"docker {' '.join(arguments[:2])}"
        raise ItestError("engine", f"{command}: {done.stderr.strip()}", hint="make engine", cause="engine")
    return done.stdout


def _container(raw: dict[str, Any]) -> Container:
    labels = raw["Config"]["Labels"] or {}
    published = {
        int(port.split("/")[0]): (bindings[0]["HostIp"] or "127.0.0.1", int(bindings[0]["HostPort"]))
        for port, bindings in (raw["NetworkSettings"]["Ports"] or {}).items()
        if bindings
    }
    return Container(
        id=raw["Id"],
        project=labels.get(PROJECT_LABEL, ""),
        service=labels.get(SERVICE_LABEL, ""),
        image=raw["Config"]["Image"],
        environment=dict(entry.split("=", 1) for entry in raw["Config"]["Env"] or [] if "=" in entry),
        ports=published,
        state=raw["State"],
        restarts=raw["RestartCount"],
        name=raw["Name"].removeprefix("/"),
        env_files=labels.get(ENV_FILE_LABEL, "").split(","),
        memory=raw["HostConfig"]["Memory"],
        aliases={name: one["Aliases"] or [] for name, one in raw["NetworkSettings"]["Networks"].items()},
        addresses={name: one["IPAddress"] for name, one in raw["NetworkSettings"]["Networks"].items()},
    )
