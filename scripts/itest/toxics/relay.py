"""All connections of the client's and all faults that are active, and which of these act on which of those."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from random import Random

from itest.toxics.connection import Connection, Destination
from itest.toxics.fault import Fault
from itest.toxics.stream import Held

BACKLOG = 4096
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and ip6_tables.h


class Relay:
    """Accepts what the redirect brings, and what comes to an explicit proxy."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.faults: dict[str, Fault] = {}
        self.held = Held()
        self._met: set[str] = set()  # the faults that have acted on a connection
        self._ids = count(1)
        self._numbers = count(1)
        self._next = 1
        self._looking: set[asyncio.Task[None]] = set()
        # Two descriptors a connection; the usual soft limit of 1,024 is for programs that use select().
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def accept(self, listener: socket.socket, where: Callable[[socket.socket], Destination | None]) -> None:
        """Accept from now on, also what waits there already. where: to which a connection goes, None for nowhere."""
        self.loop.add_reader(listener, self._accept, listener, where)

    def unlisten(self, listener: socket.socket) -> None:
        """Accept no more there; what is open stays."""
        self.loop.remove_reader(listener)
        listener.close()

    def add(self, fault: Fault) -> Fault:
        """Make a fault active, at once. Returns it as it is known from now on: with its id and its beginning."""
        fault = replace(fault, id=fault.id or f"f{next(self._ids)}", since=self.loop.time(), first=self._next)
        self.faults[fault.id] = fault
        self._apply([connection for connection in self.connections if self._concerned(fault, connection)])
        return fault

    def remove(self, ids: Iterable[str]) -> bool:
        """These are over; what they held goes on its way. Returns whether there was a connection for each."""
        gone = {one for one in ids if self.faults.pop(one, None)}
        self._apply([one for one in self.connections if any(fault.id in gone for fault in one.faults)])
        met = gone <= self._met
        self._met -= gone
        return met

    def spread(self, one: str, addresses: Iterable[str]) -> bool:
        """A fault concerns these addresses too. Returns whether it is still active."""
        if not (fault := self.faults.get(one)):
            return False
        target = replace(fault.target, addresses=fault.target.addresses | set(addresses))
        self.faults[one] = fault = replace(fault, target=target)
        self._apply([connection for connection in self.connections if self._concerned(fault, connection)])
        return True

    def close(self, connections: Iterable[Connection]) -> None:
        """End connections, as the server would."""
        for connection in list(connections):
            connection.close()

    def _apply(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            if connection.open:
                acting = [fault for fault in self.faults.values() if self._concerned(fault, connection)]
                self._met |= {fault.id for fault in acting}
                connection.change(acting)

    def _concerned(self, fault: Fault, connection: Connection) -> bool:
        to = connection.to
        if not fault.target.is_for(to.host, to.port, to.proxy):
            return False
        drawn = Random(f"{fault.id} {fault.seed} {connection.number}").random()
        return drawn < fault.toxicity

    def _accept(self, listener: socket.socket, where: Callable[[socket.socket], Destination | None]) -> None:
        for _ in range(BACKLOG):
            try:
                client, _address = listener.accept()
            except OSError:  # no more of them; or it is gone already, or there are no descriptors left
                return
            if (to := where(client)) is None:
                client.close()
                continue
            self._next = (number := next(self._numbers)) + 1
            connection = Connection(client, to, number, self.held, self.connections.discard)
            self.connections.add(connection)
            self._apply([connection])
            if to.proxy:
                self._looking.add(task := self.loop.create_task(self._look_up(connection)))
                task.add_done_callback(self._looking.discard)
            else:
                connection.connect(to.host)

    async def _look_up(self, connection: Connection) -> None:
        """A name is looked up for each connection, as its server may have been replaced."""
        try:
            found = await self.loop.getaddrinfo(connection.to.host, None, family=socket.AF_INET)
        except OSError:
            return connection.reset()
        connection.connect(str(found[0][4][0]))


def listen(host: str, port: int) -> socket.socket:
    """A listener at an address, "::" for IPv4 too, and a port, 0 for any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    listener.setblocking(False)
    return listener


def original(client: socket.socket) -> Destination:
    """Where a redirected connection was going. Raises OSError for one that was not redirected."""
    if client.family == socket.AF_INET6:
        _, port, _, packed = struct.unpack("!HHI16s4x", client.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28))
    else:
        _, port, packed = struct.unpack("!HH4s8x", client.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
    return Destination(socket.inet_ntop(client.family, packed), port)
