"""Just enough HTTP/1.1 for an API of JSON: a request, its answer, the next one on the same connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, Any]  # status, and what becomes JSON; None for no body
Handler = Callable[[str, list[str], Any], Awaitable[Answer]]  # method, the path's segments, the body's JSON
MOST = 1 << 20  # bytes of a body


class Refused(Exception):
    """What a client gets in place of an answer. status: HTTP's; message: what was wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


async def serve(host: str, port: int, handle: Handler) -> asyncio.Server:
    """Answer there. handle may raise Refused. Raises OSError."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(await _exchange(reader, head, handle))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(client, host, port)


async def _exchange(reader: asyncio.StreamReader, head: bytes, handle: Handler) -> bytes:
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        size = int(headers.get("content-length") or 0)
        if size > MOST or "transfer-encoding" in headers:
            raise Refused(413, f"a body has a Content-Length of {MOST} at most")
        body = await reader.readexactly(size)
        if headers.get("user-agent", "").startswith("Mozilla/"):
            raise Refused(403, "User agent not allowed")  # a page somewhere must not break this machine's stacks
        method, path = first.split(" ")[:2]
        segments = [unquote(part) for part in path.partition("?")[0].split("/") if part]
        status, said = await handle(method, segments, json.loads(body) if body.strip() else {})
    except Refused as refused:
        status, said = refused.status, {"error": refused.message, "status": refused.status}
    except (ValueError, TypeError, AttributeError) as error:  # the body is of another shape than it should be
        status, said = 400, {"error": f"bad request body: {error}", "status": 400}
    return _response(status, said)


def _response(status: int, said: Any) -> bytes:
    body = b"" if said is None else json.dumps(said).encode() + b"\n"
    kind = "" if said is None else "Content-Type: application/json\r\n"
    length = "" if status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{kind}{length}\r\n".encode() + body
