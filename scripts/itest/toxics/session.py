"""`docker exec -i <sidecar> python -m itest.toxics.session`: JSON lines in, one JSON line out for each.

What is added here is healed when stdin ends, so whoever holds the other end may die as they like.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

SOCKET = "/run/itest-faults"
STARTS_WITHIN = 10.0  # seconds: the sidecar listens once it is placed, and ends where it can't be
LOOK_AGAIN = 0.02  # seconds


def main() -> int:
    """Carry bytes between stdin, stdout and the sidecar's process until one of them ends. Returns the exit code."""
    control = socket.socket(socket.AF_UNIX)
    try:
        connect(control, time.monotonic() + STARTS_WITHIN)
    except OSError as error:
        print(f'{{"error": "the sidecar does not answer at {SOCKET}: {error.strerror}"}}', flush=True)
        return 1
    ends = {sys.stdin.fileno(): control.fileno(), control.fileno(): sys.stdout.fileno()}
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    while True:
        for end, _ in poll.poll():
            data = os.read(end, 1 << 16)
            if end == sys.stdin.fileno() and not data:
                poll.unregister(end)
                control.shutdown(socket.SHUT_WR)  # the last answer is still to come
            elif not data:
                return 0
            while data:
                data = data[os.write(ends[end], data) :]


def connect(control: socket.socket, until: float) -> None:
    """Reach a sidecar that may just have been started. until: on the monotonic clock. Raises OSError."""
    while True:
        try:
            return control.connect(SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > until:
                raise
        select.select([], [], [], LOOK_AGAIN)


if __name__ == "__main__":
    sys.exit(main())
