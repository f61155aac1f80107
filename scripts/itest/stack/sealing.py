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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from threading import Thread

from itest.containers import docker

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

    None where it can't be told. why: in words for a person, "" where both hold.
    """

    plain: bool | None
    sealed: bool | None
    why: str = ""


def can_enforce(image: str) -> Enforcement:
    """Try it. image: one that the engine holds, with Python in it, such as the door's. Raises ItestError (engine)."""
    with _listening() as (port, peers), ExitStack() as networks:
        plain = networks.enter_context(_network("plain", PLAIN))
        sealed = networks.enter_context(_network("sealed", SEALED))
        own = [gateway for network in (plain, sealed) if (gateway := network[1])]
        targets = [(host, port) for host in (*own, *_addresses(), DESKTOP)]
        if not _reached(plain[0], image, targets):
            return Enforcement(None, None, "containers can't reach this machine, so there is nothing to tell by")
        # To the host itself nothing is ever translated, unless by an engine that translates everything.
        kept = any(ip_address(peer) in ip_network(plain[2]) for peer in peers)
        out = _reached(sealed[0], image, targets)
    problems = [] if kept else ["the engine translates addresses, so the outside answers a default stack"]
    problems += [f"a sealed stack reaches this machine at {', '.join(out)}"] if out else []
    return Enforcement(kept, not out, "; ".join(problems))


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
def _network(name: str, options: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """A network of docker's while the block runs: its name, its gateway and its subnet."""
    full = f"itest-doctor-{os.getpid()}-{name}"
    docker("network", "create", *options, full)
    try:
        inspected: list[Mapping[str, str]] = json.loads(
            docker("network", "inspect", "--format", "{{json .IPAM.Config}}", full)
        )
        yield full, inspected[0].get("Gateway", ""), inspected[0]["Subnet"]
    finally:
        docker("network", "rm", full, check=False)


def _reached(network: str, image: str, targets: Sequence[tuple[str, int]]) -> list[str]:
    """Those of some addresses that a container on a network reaches."""
    run = ["run", "--rm", "--pull=never", f"--network={network}", f"--add-host={DESKTOP}:host-gateway"]
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
