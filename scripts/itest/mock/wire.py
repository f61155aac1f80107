"""What only the wire can do: headers and bodies that come slowly or in part, broken connections, no answer at all.

mitmproxy sends a response in one piece, so these go past it: what its own HTTP and TLS layers make of a response is
taken from them bit by bit and written to the client's socket. This knows mitmproxy's inside, so compose/images/mock
pins its version.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mitmproxy import ctx
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.commands import SendData
from mitmproxy.proxy.layers import ClientTLSLayer
from mitmproxy.proxy.layers.http import HttpLayer, ResponseData, ResponseEndOfMessage, ResponseHeaders

from itest.mock.stubs import Effect

PIECES = 20  # that a slow header or body comes in, where it has so many bytes
RST = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: closing throws away what is unsent, and says reset


class Gone(Exception):
    """The client left before it had its answer."""


class Wire:
    """The way back to the client of one request. gone: set when its connection is."""

    def __init__(self, flow: HTTPFlow, gone: asyncio.Event) -> None:
        self.flow, self.gone = flow, gone
        self.handler = ctx.master.addons.get("proxyserver").connections[flow.client_conn.id]

    async def wait(self, seconds: float | None) -> None:
        """Time passes; None: for ever. Raises Gone if the client doesn't wait that long."""
        try:
            await asyncio.wait_for(self.gone.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise Gone

    async def spoil(self, effect: Effect) -> None:
        """Do to the response what an effect says. Afterwards mitmproxy has nothing left to send, with one exception:

        the headers of HTTP/2 are one frame, so slow ones are late ones, and it sends them itself. Raises Gone.
        """
        await asyncio.sleep(0)  # out of mitmproxy's own turn
        if effect.what == "slow_headers" and self.flow.request.is_http2:
            return await self.wait(effect.amount)
        if effect.what in ("slow_headers", "slow_body", "truncated"):
            await self.send(effect)
        elif effect.what == "never_answers":
            await self.wait(None)
        else:
            self.reset()
        self.leave()

    def reset(self) -> None:
        """The client sees ECONNRESET."""
        reset(self.handler)
        self.gone.set()

    def leave(self) -> None:
        """mitmproxy closes the connection, or, of HTTP/2, the stream if it isn't ended."""
        if self.flow.killable:
            self.flow.kill()

    async def send(self, effect: Effect) -> None:
        """The response, slowly or in part. HTTP/1 ends with it: mitmproxy doesn't know what was sent. Raises Gone."""
        response, stream = self.flow.response, stream_of(self.handler.layer.context.layers, self.flow)
        if response is None or stream is None:
            raise Gone
        http2, number, body = self.flow.request.is_http2, stream.stream_id, response.raw_content or b""
        if effect.what == "truncated":
            body = body[: int(len(body) * effect.amount)]
        if not http2:
            response.headers["connection"] = "close"
        slow = {effect.what: effect.amount}
        head = pieces(made(stream, ResponseHeaders(number, response, False)), slow.get("slow_headers"))
        await self.write(stream, head, slow.get("slow_headers", 0.0))
        data = [ResponseData(number, piece) for piece in pieces(body, slow.get("slow_body"))]
        await self.write(stream, data, slow.get("slow_body", 0.0))
        if http2 and effect.what != "truncated":
            await self.write(stream, [ResponseEndOfMessage(number)], 0.0)

    async def write(self, stream: Any, parts: Sequence[Any], seconds: float) -> None:
        """Bytes, or events that become bytes in their turn, through whatever TLS there is.

        seconds: until the last part. Raises Gone.
        """
        tls = [layer for layer in stream.context.layers if isinstance(layer, ClientTLSLayer)]
        for part in parts:
            if seconds:
                await self.wait(seconds / len(parts))
            transport = self.handler.transports.get(self.handler.client)
            if transport is None:
                raise Gone
            data = part if isinstance(part, bytes) else made(stream, part)
            for layer in reversed(tls):
                data = sent(layer.send_data(data))
            transport.writer.write(data)
            try:
                await transport.writer.drain()
            except ConnectionError as error:
                raise Gone from error


class Gathered:
    """A connection's writer that sends in one piece what comes at one time: mitmproxy writes head and body apart."""

    def __init__(self, writer: Any) -> None:
        self._writer, self._parts = writer, list[bytes]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            asyncio.get_running_loop().call_soon(self._send)
        self._parts.append(data)

    async def drain(self) -> None:
        self._send()
        await self._writer.drain()

    def write_eof(self) -> None:
        self._send()
        self._writer.write_eof()

    def close(self) -> None:
        self._send()
        self._writer.close()

    def _send(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._writer.is_closing():
            self._writer.write(b"".join(parts))


def reset(handler: Any) -> None:
    """Break a connection off, if it is still there. handler: mitmproxy's, of one client."""
    if io := handler.transports.get(handler.client):
        io.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        hang_up(io)


def hang_up(io: Any) -> None:
    """Close a connection, whether the client has more to say or not. io: mitmproxy's, of one."""
    io.writer.transport.abort()


def pieces(data: bytes, slow: float | None) -> list[bytes]:
    """Data in parts, or whole where there is no time to spend."""
    size = max(1, -(-len(data) // PIECES) if slow else len(data))
    return [data[start : start + size] for start in range(0, len(data), size)]


def made(stream: Any, event: Any) -> bytes:
    """What mitmproxy's HTTP/1 or HTTP/2 makes of an event."""
    http = next(layer for layer in reversed(stream.context.layers) if isinstance(layer, HttpLayer))
    return sent(http.connections[stream.flow.client_conn].handle_event(event))


def sent(commands: Iterable[Any]) -> bytes:
    return b"".join(command.data for command in commands if isinstance(command, SendData))


def stream_of(layers: Iterable[Any], flow: HTTPFlow) -> Any:
    """mitmproxy's stream of a flow, whose context knows all layers around it; None if it is gone.

    layers: of a connection; behind a CONNECT more of them are in its stream.
    """
    return next((stream for stream in streams(layers) if getattr(stream, "flow", None) is flow), None)


def streams(layers: Iterable[Any]) -> Iterator[Any]:
    for layer in layers:
        for stream in layer.streams.values() if isinstance(layer, HttpLayer) else ():
            yield stream
            inner = stream.context.layers
            yield from streams(inner[inner.index(stream) + 1 :])
