"""Ports that a profile fixes, and who has them already."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from itest.containers import Container
from itest.doctor.finding import Finding
from itest.suite import PROFILES, envfile
from itest.suite.envfile import EnvFile

ANSWERS_WITHIN = 0.2  # seconds; on loopback


def examine(root: Path, containers: Iterable[Container]) -> Iterator[Finding]:
    """A finding for each port of each profile that is taken. containers: all that the engine has."""
    holders = {port: one.project or one.name for one in containers for _, port in one.ports.values()}
    for path in sorted((root / PROFILES).glob("*.env")):
        file = envfile.read(root, path.relative_to(root))
        for variable, port in _fixed(file):
            if _is_taken(port):
                yield _taken(file, variable, port, holders.get(port, ""))


def _fixed(file: EnvFile) -> Iterator[tuple[str, int]]:
    for variable, value in file.values.items():
        if variable.endswith("_PORT") and value.isdigit() and 0 < int(value) < 65536:
            yield variable, int(value)


def _taken(file: EnvFile, variable: str, port: int, holder: str) -> Finding:
    profile = file.path.stem
    who = f"by {holder}" if holder else "by a process of this machine"
    mend = f"make down SUITE={holder}" if holder else f"ss -ltnp 'sport = :{port}' shows by whom"
    return Finding(
        "note",
        "port-taken",
        file.where(variable),
        f"port {port} of PROFILE={profile} is taken {who}",
        f"`make up PROFILE={profile}` of a suite that publishes it fails; without the profile any free port serves",
        f"{mend}; or another {variable}",
    )


def _is_taken(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(ANSWERS_WITHIN)
        return one.connect_ex(("127.0.0.1", port)) == 0
