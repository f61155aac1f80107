"""One connection of the client's: both its ends, both directions, and the faults that act on it now."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from itest.toxics.fault import Fault
from itest.toxics.kinds import Direction
from itest.toxics.line import Stage
from itest.toxics.stream import Held, Stream, Ways

LINGER_NOT = struct.pack("ii", 1, 0)  # with SO_LINGER: close sends RST
MARK = 0x17E57  # what we send ourselves is known by it


@dataclass(frozen=True)
class Destination:
    """Where a connection goes. host: an address, or a name if it came through an explicit proxy, the one called so."""

    host: str
    port: int
    proxy: str = ""


class Connection:
    """Begins by connecting to the server. ended: called once, when both ends are closed."""

    def __init__(
        self, client: socket.socket, to: Destination, number: int, held: Held, ended: Callable[[Connection], None]
    ) -> None:
        self.client, self.to, self.number, self._ended = client, to, number, ended
        self.loop = asyncio.get_running_loop()
        self.opened = self.loop.time()
        self.server = socket.socket(socket.AF_INET6 if ":" in to.host else socket.AF_INET)
        for end in (self.client, self.server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = Ways(failed=self.reset, done=self._one_way_done, spent=self.close)
        self.streams: dict[Direction, Stream] = {
            "up": Stream(self.client, self.server, held, ways),
            "down": Stream(self.server, self.client, held, ways),
        }
        self.faults: Sequence[Fault] = ()
        self._stages: dict[tuple[str, Direction], Stage] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._directions_left = len(self.streams)
        self.open = True

    def connect(self, address: str) -> None:
        """As the client did; what refuses us refuses the client, by RST. address: of the server, no name."""
        if not self.open:
            return
        try:
            self.server.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            code = self.server.connect_ex((address, self.to.port))
        except OSError:
            return self.reset()
        if code == errno.EINPROGRESS:
            self.loop.add_writer(self.server, self._connected)
        else:
            self._connected()

    def change(self, faults: Sequence[Fault]) -> None:
        """These faults act from now on, those that did before go on as they were."""
        self.faults = faults
        known = self._stages
        self._stages = {
            (fault.id, direction): known.get((fault.id, direction)) or fault.toxic.stage(self._random(fault, direction))
            for fault in faults
            for direction in fault.directions
        }
        for timer in self._timers:
            timer.cancel()
        self._timers = [self._ending(fault, *ends) for fault in faults if (ends := fault.toxic.ends())]
        for direction, stream in self.streams.items():
            if self.open:
                stream.change([stage for (_, way), stage in self._stages.items() if way == direction])

    def reset(self) -> None:
        """End it by RST, both ways."""
        self._close(LINGER_NOT)

    def close(self) -> None:
        """End it as a server does that closes."""
        self._close(None)

    def as_data(self) -> Mapping[str, object]:
        """For JSON."""
        return {
            "to": f"[{self.to.host}]:{self.to.port}" if ":" in self.to.host else f"{self.to.host}:{self.to.port}",
            **({"proxy": self.to.proxy} if self.to.proxy else {}),
            "age_s": round(self.loop.time() - self.opened, 3),
            "sent": self.streams["up"].passed,
            "received": self.streams["down"].passed,
            "held": sum(stream.line.size for stream in self.streams.values()),
            "faults": [fault.id for fault in self.faults],
        }

    def _connected(self) -> None:
        self.loop.remove_writer(self.server)
        if self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.reset()
        for stream in self.streams.values():
            stream.start()

    def _random(self, fault: Fault, direction: Direction) -> Random:
        """The same seed and the same order of connections give the same numbers."""
        return Random(f"{fault.seed} {self.number - fault.first} {direction}")

    def _ending(self, fault: Fault, seconds: float, by_reset: bool) -> asyncio.TimerHandle:
        due = max(self.opened, fault.since) + seconds
        return self.loop.call_at(due, self.reset if by_reset else self.close)

    def _one_way_done(self) -> None:
        self._directions_left -= 1
        if not self._directions_left:
            self.close()

    def _close(self, linger: bytes | None) -> None:
        if not self.open:
            return
        self.open = False
        for timer in self._timers:
            timer.cancel()
        self.loop.remove_writer(self.server)
        for stream in self.streams.values():
            stream.stop()
        for end in (self.client, self.server):
            if linger:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.close()
        self._ended(self)
