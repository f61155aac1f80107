"""A Docker engine that answers, with Compose: the one that docker itself would use; on a bare Debian or Ubuntu our own.

DOCKER_HOST, contexts and rootless engines count as docker counts them, because docker is what is asked. Standard
library only: `make engine` needs no virtual environment.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itest.machine import daemon, disk, distro, engine_setup
from itest.machine.diagnosis import DEFAULT_HOST, Facts, diagnose
from itest.machine.exclusive import exclusive

ANSWER_WITHIN = 15.0  # seconds; an engine behind ssh, or one that naps, takes a few


@dataclass(frozen=True)
class Engine:
    """A usable engine. host: its address as docker spells it (unix:///var/run/docker.sock, tcp://…, ssh://…)."""

    server_version: str
    compose_version: str
    host: str


def ensure(report: Callable[[str], None]) -> Engine:
    """The engine to use; 60 ms where one answers. Elsewhere root on Debian or Ubuntu gets one installed and started.

    report: told what is about to happen, a line each. ITEST_ENGINE=off forbids installing and starting.
    Raises ItestError (engine) with a cause of diagnose(), of engine_setup.mend(), or "disk".
    """
    facts = observe()
    problem = diagnose(facts)
    if problem and engine_setup.can_mend(facts, problem.cause):
        report(f"{problem.message}; being root, itest sets it up (ITEST_ENGINE=off forbids that)")
        waiting = "another process sets the engine up; waiting for it …"
        with exclusive(engine_setup.LOCK, waiting=lambda: report(waiting)):
            facts = observe()
            problem = diagnose(facts)
            if problem and engine_setup.can_mend(facts, problem.cause):
                engine_setup.mend(facts, report)
                facts = observe()
                problem = diagnose(facts)
    if problem:
        raise problem
    disk.check(facts.endpoint)
    return Engine(facts.server, facts.compose, facts.endpoint)


def observe() -> Facts:
    """Ask docker and its compose plugin, side by side, and look at the machine around them. Raises nothing."""
    docker = shutil.which("docker") or ""
    answer, server_complaint, compose, compose_complaint = _ask(docker) if docker else ({}, "", "", "")
    client, server = answer.get("Client") or {}, answer.get("Server") or {}
    context = client.get("Context") or os.environ.get("DOCKER_CONTEXT", "")
    return Facts(
        system="macos" if sys.platform == "darwin" else distro.os_release().get("ID", ""),
        docker=docker,
        podman=bool(docker) and _is_podman(Path(docker), client, server),
        host=os.environ.get("DOCKER_HOST", ""),
        context=context,
        endpoint=_endpoint(docker, context),
        server=server.get("Version", ""),
        server_complaint=server_complaint,
        compose=compose,
        compose_complaint=compose_complaint,
        dockerd=daemon.program(),
        systemd=daemon.SYSTEMD.is_dir(),
        wsl="WSL_DISTRO_NAME" in os.environ,
        root=os.geteuid() == 0,
        group=_in_docker_group(),
        forbidden=os.environ.get("ITEST_ENGINE") == "off",
    )


def _ask(docker: str) -> tuple[dict[str, Any], str, str, str]:
    """What `docker version` knows and its complaint, Compose's version and its complaint."""
    # `json` as a format is newer than clients that are to be told they are old; the template is not.
    version = _spawn(docker, "version", "--format", "{{json .}}")
    compose = _spawn(docker, "compose", "version", "--short")
    answer, complaint = _hear(version)
    compose_version, compose_complaint = _hear(compose)
    found = json.loads(answer) if answer.startswith("{") else {}
    return found, complaint, "" if compose_complaint else compose_version, compose_complaint


def _spawn(*argv: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, errors="replace")


def _hear(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command printed, and where it failed its complaint, which warnings may precede and advice may follow."""
    try:
        said, complaint = process.communicate(timeout=ANSWER_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "", f"no answer within {ANSWER_WITHIN:.0f} s"
    lines = [line for line in complaint.splitlines() if line.strip() and not line.startswith("WARNING:")]
    return said.strip(), (lines or [f"exit code {process.returncode}"])[0] if process.returncode else ""


def _endpoint(docker: str, context: str) -> str:
    """The address that docker talks to: DOCKER_HOST, else the current context's."""
    chosen = os.environ.get("DOCKER_HOST") or (DEFAULT_HOST if context in ("", "default") else "")
    if chosen:
        return chosen
    return _hear(_spawn(docker, "context", "inspect", context, "--format", "{{.Endpoints.docker.Host}}"))[0]


def _is_podman(docker: Path, client: Mapping[str, Any], server: Mapping[str, Any]) -> bool:
    """Podman's `docker` links to it or is a script that calls it; its service has its name, its JSON its spelling."""
    program = docker.resolve()
    with program.open("rb") as file:
        start = file.read(4096)
    by_file = "podman" in program.name or (start.startswith(b"#!") and b"podman" in start)
    by_service = any("podman" in part.get("Name", "").lower() for part in server.get("Components") or [])
    return by_file or by_service or "APIVersion" in client


def _in_docker_group() -> bool:
    """Whether the user belongs to group docker by now, even if this session started before."""
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return False
    return os.environ.get("USER", "") in group.gr_mem
