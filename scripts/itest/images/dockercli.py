"""The docker command line where python-on-whales doesn't serve.

That is a long command whose lines are watched while it runs, and which ends when the caller is interrupted; and queries
on the hot path, where the import (0.2 s) would cost twenty times as much as they do.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import IO

from itest.errors import ItestError

GRACE = 5.0  # seconds for a command to end after it was asked to
POLL = 0.1  # seconds between two looks at `stop` while a command prints nothing


class Silent(Exception):
    """The command printed nothing for as long as the caller was ready to wait for its first line."""


def query(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a short docker command to its end; exit code and output are the caller's to judge."""
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ItestError("engine", "docker: command not found", hint="make engine", cause="missing") from error


def watch(
    command: Sequence[str],
    on_line: Callable[[str], None],
    stop: Event,
    *,
    environment: Mapping[str, str] | None = None,
    first_line_within: float | None = None,
) -> int:
    """Run a command and hand over each line that it prints, on either stream, as it comes; its exit code.

    environment: variables on top of this process's own. first_line_within: seconds.
    Raises ItestError (interrupted) once `stop` is set, Silent when no line came in time; the command is ended first.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A thread of its own reads, so that silence is noticed too.
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        _hand_over(lines, on_line, stop, first_line_within)
        return process.wait()
    finally:
        _end(process)
        reader.join()


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _hand_over(
    lines: queue.SimpleQueue[str | None], on_line: Callable[[str], None], stop: Event, first_line_within: float | None
) -> None:
    deadline = None if first_line_within is None else time.monotonic() + first_line_within
    while not stop.is_set():
        try:
            line = lines.get(timeout=POLL)
        except queue.Empty:
            if deadline and time.monotonic() > deadline:
                raise Silent from None
            continue
        if line is None:
            return
        deadline = None
        on_line(line.rstrip("\n"))
    raise ItestError("interrupted", "images: interrupted", hint="run it again: what is done stays done")


def _end(process: subprocess.Popen[str]) -> None:
    """Asked politely, docker tells its engine to stop the work too; nothing to do where it has ended by itself."""
    process.terminate()
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
