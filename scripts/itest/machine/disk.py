"""The disk on which the engine keeps images, containers and volumes: whether it has room, and the words for a full one.

The engine itself says where that is: GET /info, https://docs.docker.com/reference/api/engine/. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from itest.errors import ItestError
from itest.machine.diagnosis import DEFAULT_HOST

NO_SPACE = "no space left on device"  # docker's words, ENOSPC of the Go runtime
LEAST = 200 * 10**6  # free bytes for a stack to start: its logs, a database that isn't in memory
FULL = 10**9  # free bytes, above which another disk, or one inside a container, was the full one
ANSWERS_WITHIN = 2.0  # seconds; some milliseconds are usual
UNIX = "unix://"
HINT = "docker system df shows what the engine keeps; then docker system prune, or make clean"


@dataclass(frozen=True)
class Room:
    """A file system by a folder on it. free: bytes that this user can still write."""

    folder: str
    free: int


def check(endpoint: str) -> None:
    """Refuse to start anything where the engine's disk has no room; 5 ms.

    endpoint: the engine's address. One of another machine isn't judged. Raises ItestError (engine, cause "disk").
    """
    room = of_engine(endpoint)
    if room and room.free < LEAST:
        problem = f"docker engine {endpoint}: its disk is full: {_megabytes(room)}, and a stack needs {LEAST / 1e6:.0f}"
        raise ItestError("engine", problem, hint=HINT, cause="disk")


def full(what: str, words: str) -> ItestError:
    """What a person sees when docker said `no space left on device`. what: was under way; words: docker's."""
    engine = of_engine(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
    return explained(what, words, [*([engine] if engine else []), _room(tempfile.gettempdir())])


def explained(what: str, words: str, rooms: Iterable[Room]) -> ItestError:
    """The same, of what is left on these: what failed was removed by then, so that there is some room again."""
    fullest = min(rooms, key=lambda room: room.free)
    told = f"disk full: {_megabytes(fullest)} by now" if fullest.free < FULL else words
    return ItestError("engine", f"{what}: {told}", hint=HINT, cause="disk")


def of_engine(endpoint: str) -> Room | None:
    """What an engine of this machine has; None where it can't be told."""
    folder = _root_folder(endpoint.removeprefix(UNIX)) if endpoint.startswith(UNIX) else ""
    return _room(folder) if folder and Path(folder).is_dir() else None  # Docker Desktop's is inside its own machine


def _room(folder: str) -> Room:
    return Room(folder, shutil.disk_usage(folder).free)


def _root_folder(path: str) -> str:
    connection = http.client.HTTPConnection("localhost", timeout=ANSWERS_WITHIN)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(ANSWERS_WITHIN)
        connection.sock.connect(path)
        connection.request("GET", "/info")
        return str(json.loads(connection.getresponse().read()).get("DockerRootDir", ""))
    except (OSError, ValueError, http.client.HTTPException):
        return ""  # whoever needs the engine says why it doesn't answer
    finally:
        connection.close()


def _megabytes(room: Room) -> str:
    return f"{room.free / 1e6:.0f} MB are free in {room.folder}"
