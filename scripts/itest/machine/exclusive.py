"""One process at a time: a lock on a file, released by the kernel however its holder dies.

Standard library only: it guards the set-up that runs before the virtual environment exists.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def taken(path: Path) -> Iterator[bool | None]:
    """Take the lock of a file, without waiting: True with it, False where another process has it, None with no file."""
    try:
        file = path.open()
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def exclusive(path: Path, *, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of `path`, which is created with its folder and stays: removing it would let two in.

    waiting: called once, before the wait, when another process holds the lock. Waits as long as that one lives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
