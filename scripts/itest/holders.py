"""Who holds what there is no more of: a port of this machine, the engine's networks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itest.containers import PROJECT_LABEL, containers, docker

LEASED = "itest.lease"  # label of every network of ours
LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp, see proc_pid_net(5)


@dataclass(frozen=True)
class Holder:
    """Who has it, and what makes it let go; both empty where that can't be told."""

    name: str = ""
    hint: str = ""


def of_port(port: int) -> Holder:
    """Who has a TCP port of this machine: a stack of ours, another container, or a process."""
    having = [one for one in containers({}) if port in {published for _, published in one.ports.values()}]
    ours = _projects()
    for one in having:
        if one.project in ours:
            return Holder(f"stack {one.project}", f"make down SUITE={one.project}")
        return Holder(f"container {one.name}", f"docker stop {one.name}")
    for pid, name in _listening(port):
        return Holder(f"{name} (pid {pid})", f"stop it: ps -fp {pid} shows what it is")
    return Holder()


def of_networks() -> Holder:
    """Who has the engine's networks, each of which takes a subnet of its address pools."""
    networks = len(docker("network", "ls", "--quiet", "--filter", "type=custom").split())
    ours = sorted(_projects())
    some = (
        f", {len(ours)} of them of itest stacks ({', '.join(ours[:3])}{' …' if len(ours) > 3 else ''})" if ours else ""
    )
    down = "`make down ALL=1` in the checkouts that keep stacks; " if ours else ""
    unused = "`docker network ls --filter dangling=true` lists those that nothing uses; "
    more = "default-address-pools in the engine's daemon.json makes room for more"
    return Holder(f"{networks} networks{some}", f"{down}{unused}{more}")


def _projects() -> set[str]:
    """The projects that have a network of ours."""
    line = f'{{{{.Label "{PROJECT_LABEL}"}}}}'
    return set(docker("network", "ls", "--filter", f"label={LEASED}", "--format", line).split())


def _listening(port: int) -> Iterator[tuple[int, str]]:
    """Number and name of the processes that listen on a port, told by their files, where this user may see them."""
    wanted = {f"socket:[{inode}]" for inode in _sockets(port)}
    for process in Path("/proc").glob("[0-9]*") if wanted else ():
        try:
            if any(os.readlink(file) in wanted for file in (process / "fd").iterdir()):  # noqa: PTH115  # a str
                yield int(process.name), (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # another user's, or gone
            continue


def _sockets(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
