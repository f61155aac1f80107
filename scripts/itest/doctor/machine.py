"""What the engine and this machine say of themselves, all asked side by side."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itest.containers import moment
from itest.errors import ItestError
from itest.images.dockercli import query
from itest.machine import diagnosis, engine
from itest.machine.diagnosis import Facts

Network = ipaddress.IPv4Network
# Of an engine without default-address-pools: localScopeDefaultNetworks in libnetwork's ipamutils,
# https://github.com/moby/moby. A base network and the length of the prefix that each network gets.
BUILT_IN_POOLS = (
    *((f"172.{second}.0.0/16", 16) for second in (17, 18, 19)),
    *((f"172.{second}.0.0/14", 16) for second in (20, 24, 28)),
    ("192.168.0.0/16", 20),
)
LIMITS = {"MemoryLimit": "memory", "CpuCfsQuota": "CPU", "PidsLimit": "process"}


@dataclass(frozen=True)
class Disk:
    """A file system by a folder on it. free: bytes; files: that can still be made, None where there is no telling."""

    folder: str
    free: int
    files: int | None


@dataclass(frozen=True)
class Machine:
    """What was seen. problem: why no engine is usable; then nothing below endpoint is known of it.

    memory: of the engine's machine, free: of this one; bytes, None where there is no telling. ignored: the limits that
    the engine doesn't enforce; translates: it may translate addresses whatever a network says, being rootless or in a
    virtual machine; networks: left, of how many; skew: seconds that the engine's clock is ahead of this
    one's, as far as that is certain; not_ours: folders that this user can't write to.
    """

    problem: ItestError | None = None
    server: str = ""
    compose: str = ""
    endpoint: str = ""
    root_folder: str = ""
    cores: int = 0
    memory: int | None = None
    free: int | None = None
    cgroup: str = ""
    ignored: tuple[str, ...] = ()
    translates: bool = False
    networks: tuple[int, int] = (0, 0)
    skew: float = 0.0
    disks: tuple[Disk, ...] = ()
    not_ours: tuple[str, ...] = ()


def look(root: Path) -> Machine:
    """Ask the engine and look at this machine. root: of the repository."""
    with ThreadPoolExecutor(3) as pool:
        observed, asked, subnets = pool.submit(engine.observe), pool.submit(_ask), pool.submit(_subnets)
        facts, (info, skew) = observed.result(), asked.result()
        return seen(facts, info, skew, subnets.result(), root)


def seen(facts: Facts, info: Mapping[str, Any], skew: float, subnets: Iterable[Network], root: Path) -> Machine:
    """info: what `docker info` knows; empty where it failed."""
    folder = str(info.get("DockerRootDir") or "")
    folders = [one for one in (folder, tempfile.gettempdir(), str(root)) if one and Path(one).is_dir()]
    pools = [
        (Network(one["Base"]), int(one["Size"])) for one in info.get("DefaultAddressPools") or [] if "." in one["Base"]
    ]
    built_in = [(Network(base), size) for base, size in BUILT_IN_POOLS]
    return Machine(
        problem=diagnosis.diagnose(facts),
        server=facts.server,
        compose=facts.compose,
        endpoint=facts.endpoint,
        root_folder=folder,
        cores=int(info.get("NCPU") or 0),
        memory=info.get("MemTotal"),
        free=_free_memory(),
        cgroup=str(info.get("CgroupVersion") or ""),
        ignored=tuple(name for key, name in LIMITS.items() if info.get(key) is False),
        translates="rootless" in str(info.get("SecurityOptions")) or info.get("OperatingSystem") == "Docker Desktop",
        networks=networks_left(pools or built_in, subnets),
        skew=skew,
        disks=tuple(_disk(one) for one in dict.fromkeys(folders)),
        not_ours=tuple(one for one in ("build", "build/itest") if _is_not_ours(root / one)),
    )


def networks_left(pools: Iterable[tuple[Network, int]], subnets: Iterable[Network]) -> tuple[int, int]:
    """How many networks the engine can still make, and of how many. subnets: of those that it has."""
    left = total = 0
    taken = list(subnets)
    for base, size in pools:
        slots = 2 ** max(0, size - base.prefixlen)
        inside = [one for one in taken if one.overlaps(base)]
        used = sum(2 ** max(0, size - max(one.prefixlen, base.prefixlen)) for one in inside)
        left, total = left + max(0, slots - used), total + slots
    return left, total


def _ask() -> tuple[dict[str, Any], float]:
    """`docker info`, and how far the engine's clock is off: certain beyond the time that the question took."""
    asked = time.time()
    done = query("info", "--format", "{{json .}}") if shutil.which("docker") else None
    answered = time.time()
    info: dict[str, Any] = json.loads(done.stdout) if done and done.stdout.startswith("{") else {}
    if not info.get("SystemTime"):
        return info, 0.0
    told = moment(str(info["SystemTime"]))
    return info, told - answered if told > answered else min(0.0, told - asked)


def _subnets() -> list[Network]:
    """Of every network that the engine has."""
    ids = query("network", "ls", "--quiet").stdout.split() if shutil.which("docker") else []
    found = json.loads(query("network", "inspect", *ids).stdout or "[]") if ids else []
    configs = [one for network in found for one in (network.get("IPAM") or {}).get("Config") or []]
    return [Network(one["Subnet"], strict=False) for one in configs if "." in one.get("Subnet", "")]


def _disk(folder: str) -> Disk:
    at = os.statvfs(folder)
    return Disk(folder, at.f_bavail * at.f_frsize, at.f_favail if at.f_files else None)


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # macOS, where the engine's own machine is what counts
        return None
    available = next((line for line in lines if line.startswith("MemAvailable:")), "")
    return int(available.split()[1]) * 1024 if available else None


def _is_not_ours(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK)
