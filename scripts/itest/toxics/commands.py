"""The commands of the image: run, and what they said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """printed: its output; refused: what went wrong, "" for nothing."""

    printed: str
    refused: str = ""


async def run(*command: str, given: str = "") -> Said:
    """Run it to its end. given: for its stdin."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        return Said("", f"{command[0]}: {error.strerror}")
    out, errors = (text.decode(errors="replace") for text in await process.communicate(given.encode()))
    if not process.returncode:
        return Said(out)
    return Said(out, next(iter(errors.strip().splitlines()), f"{command[0]} ended with {process.returncode}"))
