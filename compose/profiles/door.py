"""The door of a sealed stack (PROFILE=sealed), its only container that has a way out. Standard library only.

Published ports: it listens where docker publishes, and passes connections on to the service inside.
Names of the outside: it is the stack's DNS server, answers at once that there is no such name, and prints who asked, as
a line of JSON. Names under EGRESS_HOSTS lead to the door itself, which connects to the address that was given for them.
A connection to a bare address never gets here: there is no route, so it fails in the service, at once and unrecorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path

A, AAAA = 1, 28  # https://www.iana.org/assignments/dns-parameters
ANSWER, NO_SUCH_NAME = 0x8180, 0x8183  # response, recursion desired and available; the latter with code 3, NXDOMAIN
CHUNK, HELLO = 65536, 16384  # bytes at a time; of a connection's beginning that may name a host
PATIENCE = 5.0  # seconds to connect, and for a client to say which host it means

Address = tuple[str, int]


async def main() -> None:
    """Open everything, then stay."""
    inside, outside = socket.gethostbyname("door-inside"), socket.gethostbyname("door-outside")
    for line in os.environ["DOORS"].split():
        port, _, service = line.partition("=")
        await listen(outside, int(port), {"": address(service)})
    hosts: dict[str, dict[int, Address]] = defaultdict(dict)
    ports: dict[int, dict[str, Address]] = defaultdict(dict)
    for line in os.environ["EGRESS_HOSTS"].split():
        wanted, _, found = line.partition("=")
        name, port = address(wanted)
        hosts[name][port] = ports[port][name] = (found, port)
    for port, targets in ports.items():
        await listen(inside, port, targets)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Names(inside, set(hosts)), (inside, 53))
    Path("/tmp/open").touch()
    say("the door is open")
    await asyncio.Event().wait()


def say(text: str) -> None:
    """A line of the container's log, which is read from there."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def address(text: str) -> Address:
    """`name:port`."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def listen(host: str, port: int, targets: dict[str, Address]) -> None:
    """Pass on what comes to a port. targets: by the name that a client says it means, where there are several."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, target = await choose(reader, targets)
            there, onwards = await asyncio.wait_for(asyncio.open_connection(*target), PATIENCE)
        except (OSError, LookupError, asyncio.TimeoutError):
            return writer.transport.abort()
        onwards.write(first)
        try:
            await asyncio.gather(copy(reader, onwards), copy(there, writer))
        except OSError:
            pass  # one side broke the connection, so the other sees it broken too
        finally:
            writer.close()
            onwards.close()

    await asyncio.start_server(connected, host, port)


async def choose(reader: asyncio.StreamReader, targets: dict[str, Address]) -> tuple[bytes, Address]:
    """Where a connection leads, and what was read to know it. Raises LookupError for a host that isn't open.

    Several hosts share a port: TLS and HTTP say in clear which one they mean, in the first bytes (SNI, RFC 6066; Host).
    """
    if len(targets) == 1:
        return b"", next(iter(targets.values()))
    first = await asyncio.wait_for(reader.read(HELLO), PATIENCE)
    named = [name for name in targets if name.encode() in first.lower()]
    return first, targets[max(named, key=len, default="")]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction of a connection, to its end."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class Names(asyncio.DatagramProtocol):
    """A DNS server (RFC 1035) for which there is nothing but the open hosts, at the door's own address."""

    def __init__(self, inside: str, hosts: set[str]) -> None:
        self.inside, self.hosts = inside, hosts
        self.services: dict[str, str] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Address) -> None:
        try:
            name, kind, end = question(data)
        except (IndexError, struct.error, UnicodeDecodeError):
            return  # no question
        opened = name in self.hosts
        record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 0, 4) + socket.inet_aton(self.inside)
        answers = [record] if opened and kind == A else []
        header = struct.pack(">HHHHH", ANSWER if opened else NO_SUCH_NAME, 1, len(answers), 0, 0)
        self.transport.sendto(data[:2] + header + data[12:end] + b"".join(answers), sender)
        # A name of one word is a service that is stopped, and asking whose an address is leads nowhere.
        if kind in (A, AAAA) and "." in name and not name.endswith(".arpa"):
            task = asyncio.ensure_future(self.record(sender[0], name, kind, opened))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def record(self, sender: str, host: str, kind: int, opened: bool) -> None:
        when = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        if sender not in self.services:
            self.services[sender] = await asyncio.to_thread(service_at, sender)
        what = {"egress": "opened" if opened else "refused", "service": self.services[sender], "host": host}
        say(json.dumps({**what, "when": when, "ipv6": kind == AAAA}))


def question(data: bytes) -> tuple[str, int, int]:
    """Name and type that a query asks for, and where its question ends."""
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    (kind,) = struct.unpack_from(">H", data, at + 1)
    return ".".join(labels), kind, at + 5


def service_at(sender: str) -> str:
    """The service that has an address: docker knows `<project>-<service>-<number>.<project>_<network>`, or an alias."""
    try:
        name, _, network = socket.gethostbyaddr(sender)[0].partition(".")
    except OSError:
        return sender
    project = network.rpartition("_")[0]
    return name.removeprefix(f"{project}-").rpartition("-")[0] if name.startswith(f"{project}-") else name


if __name__ == "__main__":
    asyncio.run(main())
