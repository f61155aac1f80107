"""Whether this engine keeps what base.yaml and `PROFILE=sealed` promise, found out by trying, in about two seconds.

A container on a network like those of the stacks connects to a listener of this process, at every address by which it
could reach this machine. No privileges, and no packet to anybody else.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from threading import Thread

from itest import leases
from itest.containers import PROJECT_LABEL, docker

OPTION = "com.docker.network.bridge."
PLAIN = [f"--opt={OPTION}enable_ip_masquerade=false"]  # as compose/base.yaml
SEALED = [*PLAIN, "--internal", f"--opt={OPTION}inhibit_ipv4=true"]  # as compose/profiles/sealed.yaml
DESKTOP = "host.docker.internal"  # the host's name where the engine is in a virtual machine
TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(target):
    try:
        with socket.create_connection(target, 1.5) as connection:
            return connection.recv(16) == b"itest"
    except OSError:
        return False
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps([target[0] for target, ok in zip(targets, pool.map(reached, targets)) if ok]))
"""


@dataclass(frozen=True)
class Enforcement:
    """What the engine enforces. plain: nothing outside answers a default stack. sealed: nothing leaves a sealed one.

    None where it can't be told. ways_out: addresses at which a sealed stack reaches this machine.
    """

    plain: bool | None
    sealed: bool | None
    ways_out: tuple[str, ...] = ()


def can_enforce(image: str, root: Path) -> Enforcement:
    """Try it. image: one that the engine holds, with Python in it, such as the door's; root: of the checkout that owns
    what this makes until it returns. Raises ItestError (engine)."""
    labels = _labels(root)
    with _listening() as (port, peers), ExitStack() as networks:
        plain = networks.enter_context(_network("plain", PLAIN, labels))
        sealed = networks.enter_context(_network("sealed", SEALED, labels))
        own = [gateway for network in (plain, sealed) if (gateway := network[1])]
        targets = [(host, port) for host in (*own, *_addresses(), DESKTOP)]
        with ThreadPoolExecutor(2) as pool:  # an address that doesn't answer takes each its time
            trying = partial(_reached, image=image, targets=targets, labels=labels)
            inside, out = pool.map(trying, (plain[0], sealed[0]))
    if not inside:
        return Enforcement(None, None)  # a sealed one that reaches nothing proves nothing
    # To the host itself nothing is ever translated, unless by an engine that translates everything.
    kept = any(ip_address(peer) in ip_network(plain[2]) for peer in peers)
    return Enforcement(kept, not out, tuple(out))


def _labels(root: Path) -> list[str]:
    """Flags that make what this leaves, should it be killed, a dead owner's: the next command sweeps it."""
    owner = f"doctor-{os.getpid()}"
    told = {leases.LEASE_LABEL: f"run {owner}", leases.OWNER_LABEL: json.dumps(asdict(leases.own(root)))}
    return [f"--label={name}={value}" for name, value in (told | {PROJECT_LABEL: f"itest-{owner}"}).items()]


@contextmanager
def _listening() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine that says `itest` to whoever comes, and the addresses of those who came."""
    peers: list[str] = []
    with socket.create_server(("", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, peer = server.accept()
                except OSError:
                    return  # closed
                peers.append(peer[0])
                with connection:
                    connection.sendall(b"itest")

        Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1], peers
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def _network(name: str, options: Sequence[str], labels: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """A network of docker's while the block runs: its name, its gateway and its subnet."""
    full = f"itest-doctor-{os.getpid()}-{name}"
    docker("network", "create", *options, *labels, full)
    try:
        inspected: list[Mapping[str, str]] = json.loads(
            docker("network", "inspect", "--format", "{{json .IPAM.Config}}", full)
        )
        yield full, inspected[0].get("Gateway", ""), inspected[0]["Subnet"]
    finally:
        docker("network", "rm", full, check=False)


def _reached(network: str, image: str, targets: Sequence[tuple[str, int]], labels: Sequence[str]) -> list[str]:
    """Those of some addresses that a container on a network reaches."""
    run = ["run", "--rm", "--pull=never", f"--network={network}", f"--add-host={DESKTOP}:host-gateway", *labels]
    words = ["--entrypoint=python3", image, "-c", TRY, json.dumps(targets)]
    reached: list[str] = json.loads(docker(*run, *words))
    return reached


def _addresses() -> list[str]:
    """This machine's own addresses, as far as `ip` tells."""
    try:
        listed = subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []  # no Linux, or a small one
    found = [one["local"] for link in json.loads(listed) for one in link["addr_info"]]
    return [address for address in found if not ip_address(address).is_loopback][:8]
