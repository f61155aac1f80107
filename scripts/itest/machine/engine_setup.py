"""An engine of our own on a bare Debian or Ubuntu, for root: the distribution's packages, and the daemon started.

What is there stays as it is: only missing packages are installed, and a daemon that is merely stopped is only started.
Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from itest.errors import ItestError
from itest.machine import apt, daemon, distro
from itest.machine.diagnosis import Facts
from itest.machine.distro import Distro

LOCK = Path("/run/itest-engine.lock")
# Debian 12's own packages are too old (engine 20.10, Compose 1.29). The next release's run on its libc; the priority
# keeps every other package at 12's version, also where the next release has a newer one.
NEXT_RELEASE = "trixie"
PIN = f"Package: *\nPin: release n={NEXT_RELEASE}*\nPin-Priority: 100\n"


def can_mend(facts: Facts, cause: str) -> bool:
    """Whether mend() may: root on Debian or Ubuntu, unless somebody forbids it, chose an engine, or runs an old one."""
    allowed = facts.root and facts.apt and not facts.forbidden and not facts.chosen
    return allowed and cause in ("missing", "stopped", "compose")


def mend(facts: Facts, report: Callable[[str], None]) -> None:
    """Install what is missing, start the daemon, wait until it answers. The caller holds LOCK.

    Raises ItestError (engine) with cause unprivileged, install or start.
    """
    if not daemon.answers():
        daemon.check_privileges()
    if not (facts.docker and facts.dockerd and facts.compose):
        _install(_missing_packages(facts), report)
    if not daemon.answers():
        daemon.start(report)


def _missing_packages(facts: Facts) -> list[str]:
    """The packages to install: the engine and its tools, and mmdebstrap, which builds the stand-in images' base."""
    ubuntu = facts.system == "ubuntu"
    missing = {
        "docker.io": not facts.dockerd and not daemon.answers(),  # a container may be given the host's engine
        "docker.io" if ubuntu else "docker-cli": not facts.docker,
        "docker-compose-v2" if ubuntu else "docker-compose": not facts.compose,
        "docker-buildx": not facts.docker or not _has_buildx(facts.docker),
        "iptables": not shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin"),
        "mmdebstrap": not shutil.which("mmdebstrap"),
        "ca-certificates": not Path("/etc/ssl/certs/ca-certificates.crt").exists(),  # dockerd pulls over TLS
    }
    return [package for package, is_missing in missing.items() if is_missing]


def _has_buildx(docker: str) -> bool:
    return subprocess.run([docker, "buildx", "version"], capture_output=True, check=False).returncode == 0


def _install(packages: list[str], report: Callable[[str], None]) -> None:
    system = distro.read()
    if system.id != "debian" or system.version != "12":
        apt.install(packages, report)
        return
    new_source = _add_next_release(system, report)
    newer = [f"{name}/{NEXT_RELEASE}" if name.startswith("docker") else name for name in packages]
    apt.install(newer, report, refresh=new_source)


def _add_next_release(system: Distro, report: Callable[[str], None]) -> bool:
    """Tell apt of the next release, from this machine's own mirror; False where its owner already has."""
    if any(NEXT_RELEASE in source.suites for source in distro.apt_sources()):
        return False
    if not system.mirror:
        raise ItestError(
            "engine",
            f"apt sources: no Debian archive found in /etc/apt to take {NEXT_RELEASE}'s docker packages from",
            hint=f"add a source of {NEXT_RELEASE} to /etc/apt/sources.list.d, or install Docker Engine yourself",
            cause="install",
        )
    source = Path(f"/etc/apt/sources.list.d/itest-{NEXT_RELEASE}.list")
    report(f"Debian 12's docker is too old: adding {source} for {NEXT_RELEASE}'s, pinned so that nothing else changes")
    # The pin first: with the source alone, the next upgrade of this machine would be one to another release.
    Path(f"/etc/apt/preferences.d/itest-{NEXT_RELEASE}").write_text(PIN, encoding="ascii")
    source.write_text("\n".join([*system.sources(NEXT_RELEASE), ""]), encoding="utf-8")
    return True
