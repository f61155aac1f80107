"""Start the Docker daemon of this machine, by systemd where that runs, else by hand and detached. Needs root.

/etc/docker/daemon.json is read, never written. Standard library only.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from itest.errors import ItestError

SYSTEMD = Path("/run/systemd/system")
STARTS_WITHIN = 30.0  # seconds; 2 to 3 are usual
LOOK_EVERY = 0.1
LINES_SHOWN = 12
CAP_SYS_ADMIN = 1 << 21  # linux/capability.h

# dockerd's default pools hold about 30 networks, each of these 256. Two are used; the others are there in case a route
# of this machine, a VPN's say, already covers some.
POOLS = ("10.213.0.0/16", "10.214.0.0/16", "172.30.0.0/16", "172.29.0.0/16", "192.168.128.0/17")
POOLS_USED = 2


@dataclass(frozen=True)
class Daemon:
    """Where the daemon lives that is started by hand. options: further ones for dockerd."""

    socket: str = "/var/run/docker.sock"
    pid_file: Path = Path("/run/docker.pid")
    log: Path = Path("/var/log/itest-dockerd.log")
    configuration: Path = Path("/etc/docker/daemon.json")
    options: tuple[str, ...] = ()


def program() -> str:
    """Path of dockerd, which an ordinary user's PATH may leave out; "" where it is not installed."""
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def answers(path: str = Daemon.socket) -> bool:
    """Whether an engine answers on a socket: GET /_ping of the Engine API."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def check_privileges() -> None:
    """Raise ItestError (engine, cause "unprivileged") where root is one of a container that can't run containers."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if not effective & CAP_SYS_ADMIN:
        raise ItestError(
            "engine",
            "docker engine: none can run here: this is a container without CAP_SYS_ADMIN",
            hint="give it the host's engine (-v /var/run/docker.sock:/var/run/docker.sock), or run it --privileged",
            cause="unprivileged",
        )


def start(report: Callable[[str], None]) -> None:
    """Start the daemon and wait until it answers. Raises ItestError (engine, cause "start") with its last words."""
    if SYSTEMD.is_dir():
        _start_by_systemd(report)
    else:
        start_by_hand(Daemon(), report)


def _start_by_systemd(report: Callable[[str], None]) -> None:
    """`systemctl start` returns when dockerd says that it is ready (Type=notify)."""
    report("starting the docker service …")
    done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
    if done.returncode:
        journal = subprocess.run(
            ["journalctl", "--unit=docker", f"--lines={LINES_SHOWN}", "--output=cat", "--no-pager"],
            capture_output=True,
            text=True,
            check=False,
        )
        raise _failed(f"systemctl: {done.stderr.strip()}", journal.stdout, "journalctl -u docker")


def start_by_hand(daemon: Daemon, report: Callable[[str], None]) -> None:
    """Start dockerd in a session of its own, which outlives the terminal and this program, and wait until it answers.

    One that runs but doesn't answer yet, because a package's own script just started it, is only waited for.
    Raises ItestError (engine, cause "start").
    """
    started = time.monotonic()
    process = None if _runs(daemon.pid_file) else _spawn(daemon, report)
    look = f"less {daemon.log}"
    while not answers(daemon.socket):
        if process and process.poll() is not None:
            raise _failed(f"dockerd exited with {process.returncode}", _text(daemon.log), look)
        if time.monotonic() - started > STARTS_WITHIN:
            raise _failed(f"dockerd does not answer after {STARTS_WITHIN:.0f} s", _text(daemon.log), look)
        time.sleep(LOOK_EVERY)  # bounded by STARTS_WITHIN; tenacity, the one retry policy, is not installed yet
    report(f"dockerd answers after {time.monotonic() - started:.1f} s")


def _spawn(daemon: Daemon, report: Callable[[str], None]) -> subprocess.Popen[bytes]:
    report(f"starting dockerd detached, as no systemd runs here; its log is {daemon.log}")
    with daemon.log.open("wb") as log:
        return subprocess.Popen(
            [program(), f"--pidfile={daemon.pid_file}", *_pool_options(daemon.configuration), *daemon.options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def _runs(pid_file: Path) -> bool:
    """Whether the process of a pid file is a living dockerd: after a reboot the number may be anybody's."""
    pid = _text(pid_file).strip()
    return pid.isdigit() and _text(Path("/proc", pid, "comm")).strip() == "dockerd"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _failed(what: str, log: str, look: str) -> ItestError:
    """The last lines of the log, without the many that only tell progress."""
    lines = [line for line in log.strip().splitlines() if "level=info" not in line]
    return ItestError(
        "engine",
        "\n".join([f"docker engine: it does not start: {what}", *lines[-LINES_SHOWN:]]),
        hint=f"mend what its log says ({look}), then: make engine",
        cause="start",
    )


def _pool_options(configuration: Path) -> list[str]:
    """Room for some 500 networks, unless the owner configured pools: dockerd refuses a setting given twice."""
    if "default-address-pools" in _text(configuration):
        return []
    routes = _routes(_text(Path("/proc/net/route")).splitlines())
    return [f"--default-address-pool=base={pool},size=24" for pool in free_pools(routes)]


def free_pools(routes: Iterable[ipaddress.IPv4Network]) -> list[str]:
    """The first of POOLS that no route of the machine overlaps; the default route, to everywhere, doesn't count."""
    taken = [route for route in routes if route.prefixlen]
    free = [pool for pool in POOLS if not any(ipaddress.IPv4Network(pool).overlaps(route) for route in taken)]
    return free[:POOLS_USED]


def _routes(lines: Iterable[str]) -> Iterator[ipaddress.IPv4Network]:
    """The networks of /proc/net/route (fib_route_seq_show in Linux's net/ipv4/fib_trie.c): hex, in host byte order."""
    for fields in [line.split() for line in lines][1:]:
        destination, mask = (int(fields[column], 16).to_bytes(4, sys.byteorder) for column in (1, 7))
        yield ipaddress.IPv4Network((destination, bin(int.from_bytes(mask, "big")).count("1")))
