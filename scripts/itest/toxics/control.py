"""What a session may ask for: JSON lines over a unix socket, each session's faults healed when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from itest.errors import ItestError
from itest.toxics.faults import Faults


class Control:
    """Serves sessions, one request and one answer at a time each."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._owners = count(1)

    async def serve(self, path: str) -> asyncio.Server:
        """Raises OSError."""
        return await asyncio.start_unix_server(self._session, path)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        owner = f"session {next(self._owners)}"
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line, owner)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass  # gone without a farewell, which is as good as one
        finally:
            await self.faults.heal(owner)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, owner: str) -> Mapping[str, Any]:
        try:
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise ValueError('a request is an object, {"op": …}')
            return {"ok": await self._do(asked, owner)}
        except ItestError as error:
            return {"error": error.message}
        except (ValueError, TypeError) as error:  # of another shape than it should be
            return {"error": f"{line.decode(errors='replace').strip()}: {error}"}

    async def _do(self, asked: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
        match asked.get("op"):
            case "add":
                return await self.faults.add(asked, "" if asked.get("keep") else owner)
            case "remove":
                return {"met": await self.faults.remove(str(asked.get("id")))}
            case "list":
                return self.faults.as_data()
            case "heal":
                await self.faults.heal()
                return {}
            case "can":
                return self.faults.can
        raise ValueError("op is add, remove, list, heal or can")
