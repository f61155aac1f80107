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
from pathlib import Path

from itest.errors import ItestError

SYSTEMD = Path("/run/systemd/system")
SOCKET = "/var/run/docker.sock"
PID_FILE = Path("/run/docker.pid")
LOG = Path("/var/log/itest-dockerd.log")
CONFIGURATION = Path("/etc/docker/daemon.json")
STARTS_WITHIN = 30.0  # seconds; 2 to 3 are usual
LOOK_EVERY = 0.1
LINES_SHOWN = 12
CAP_SYS_ADMIN = 1 << 21  # linux/capability.h

# dockerd's default pools hold about 30 networks, each of these 256. Two are used; the others are there in case a route
# of this machine, a VPN's say, already covers some.
POOLS = ("10.213.0.0/16", "10.214.0.0/16", "172.30.0.0/16", "172.29.0.0/16", "192.168.128.0/17")
POOLS_USED = 2


def program() -> str:
    """Path of dockerd, which an ordinary user's PATH may leave out; "" where it is not installed."""
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def answers() -> bool:
    """Whether an engine answers on this machine's own socket: GET /_ping of the Engine API."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(SOCKET)
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
        _start_by_hand(report)


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


def _start_by_hand(report: Callable[[str], None]) -> None:
    """Wait until dockerd answers, having started it unless a package's own script just did."""
    started = time.monotonic()
    process = None if _runs() else _spawn(report)
    while not answers():
        if process and process.poll() is not None:
            raise _failed(f"dockerd exited with {process.returncode}", _text(LOG), f"less {LOG}")
        if time.monotonic() - started > STARTS_WITHIN:
            raise _failed(f"dockerd does not answer after {STARTS_WITHIN:.0f} s", _text(LOG), f"less {LOG}")
        time.sleep(LOOK_EVERY)  # bounded by STARTS_WITHIN; tenacity, the one retry policy, is not installed yet
    report(f"dockerd answers after {time.monotonic() - started:.1f} s")


def _spawn(report: Callable[[str], None]) -> subprocess.Popen[bytes]:
    """Start dockerd in a session of its own, which outlives the terminal and this program."""
    report(f"starting dockerd detached, as no systemd runs here; its log is {LOG}")
    with LOG.open("wb") as log:
        return subprocess.Popen(
            [program(), f"--pidfile={PID_FILE}", *_pool_options()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            # It serves everybody: with the lease of whoever happened to start it, it would be taken for that one's.
            env={name: value for name, value in os.environ.items() if not name.startswith("ITEST_")},
        )


def _runs() -> bool:
    """Whether the process of the pid file is a living dockerd: after a reboot the number may be anybody's."""
    pid = _text(PID_FILE).strip()
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


def _pool_options() -> list[str]:
    """Room for some 500 networks, unless the owner configured pools: dockerd refuses a setting given twice."""
    if "default-address-pools" in _text(CONFIGURATION):
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
