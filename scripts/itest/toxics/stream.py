"""One direction of one connection: bytes from a source to a sink, through a line where faults act, else at once.

On bare sockets: through asyncio's protocols a round trip takes 50 µs more, by a loop of our own only 2 µs less.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from itest.toxics.line import Line, Stage

CHUNK = 1 << 16  # bytes
ALONE = 8 << 20  # bytes: what faults may hold back of one direction: 40 MB/s go through a latency of 200 ms
TOGETHER = 64 << 20  # bytes: what they may of all together; beyond that, and where no fault acts, a chunk each


@dataclass
class Held:
    """Bytes held back by all lines together."""

    size: int = 0


@dataclass(frozen=True)
class Ways:
    """What a stream tells its connection. failed: one end is gone, by RST or worse; done: the sender has ended, and
    all has been passed on; spent: a fault lets no more bytes through."""

    failed: Callable[[], None]
    done: Callable[[], None]
    spent: Callable[[], None]


class Stream:
    """Reads while there is room. `start` once both ends are connected, `stop` before either is closed."""

    def __init__(self, source: socket.socket, sink: socket.socket, held: Held, ways: Ways) -> None:
        self.source, self.sink, self.held, self.ways = source, sink, held, ways
        self.loop = asyncio.get_running_loop()
        self.line = Line()
        self.passed = 0  # bytes
        self._started = self._reading = self._writing = self._ended = self._stopped = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._started = True
        self.release()

    def stop(self) -> None:
        """Nothing is read or written any more."""
        self._stopped = True
        self._read(False)
        self._write(False)
        self._wake(inf)
        self.held.size -= self.line.size
        self.line = Line()

    def change(self, stages: Sequence[Stage]) -> None:
        """These faults apply from now on, and to what waits."""
        self.line.change(stages, self.loop.time())
        self.release()

    def readable(self) -> None:
        try:
            data = self.source.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            return self.ways.failed()
        if not self.line.pieces and not self.line.stages and data:
            sent = self._send(data)  # no faults, nothing waits: the usual case
            if sent == len(data):
                return
            data = data[sent:]
        if self._stopped:
            return
        if not data:
            self._ended = True
        self.held.size += len(data)
        self.line.put(data, self.loop.time())
        self.release()

    def release(self) -> None:
        """Send what is due, and be back when more is."""
        now = self.loop.time()
        while not self._writing and (data := self.line.head(now)) is not None:
            if not data:
                return self._end()
            sent = self._send(data)
            if self._stopped:
                return
            self.held.size -= sent
            if sent:
                self.line.left(sent)
        if self._stopped:
            return
        self._wake(self.line.pieces[0].due if self.line.pieces and not self._writing else inf)
        more = bool(self.line.stages) and self.held.size < TOGETHER
        room = self.line.size < (ALONE if more else CHUNK)
        self._read(room and self._started and not self._ended)

    def _send(self, data: bytes) -> int:
        try:
            sent = self.sink.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.ways.failed()
            return 0
        self.passed += sent
        if sent < len(data):
            self._write(True)
        return sent

    def _end(self) -> None:
        """The head of the line is its end, or a fault's limit has been reached."""
        if self.line.pieces[0].data:
            return self.ways.spent()
        self.line.left(0)
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:
            return self.ways.failed()
        self._read(False)
        self.ways.done()

    def _writable(self) -> None:
        self._write(False)
        self.release()

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading:
            self._reading = wanted
            if wanted:
                self.loop.add_reader(self.source, self.readable)
            else:
                self.loop.remove_reader(self.source)

    def _write(self, wanted: bool) -> None:
        if wanted is not self._writing:
            self._writing = wanted
            if wanted:
                self.loop.add_writer(self.sink, self._writable)
            else:
                self.loop.remove_writer(self.sink)

    def _wake(self, due: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None if due == inf else self.loop.call_at(due, self.release)
