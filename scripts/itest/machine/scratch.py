"""Temporary folders that go however their process ends: a killed one's are removed with the next that is made.

Standard library only, like all of this folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """An empty folder of this user alone, locked while the block runs. name: what is in it, for whoever finds it."""
    place = Path(tempfile.gettempdir(), f"itest-{os.getuid()}", "scratch")
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    sweep()
    hidden = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=place))
    descriptor = os.open(hidden, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        made = hidden.rename(hidden.with_name(hidden.name[1:]))  # only now: without its lock it would look abandoned
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
    finally:
        os.close(descriptor)


def sweep() -> None:
    """Remove the folders of this user's dead processes."""
    for path in Path(tempfile.gettempdir(), f"itest-{os.getuid()}", "scratch").glob("[!.]*"):
        with suppress(FileNotFoundError):  # another process removes it too
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
