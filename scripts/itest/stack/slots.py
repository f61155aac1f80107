"""Slots: which pytest processes use a stack at the same time, each by a number that no other one has.

A number is a lock on a file of build/itest/slots, held for as long as its process lives. The kernel lets go of it
however the process ends, so the number of one that was killed is free at once.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

from itest import runs

SLOTS = runs.RUNS / "slots"
LOCK = "lock"  # of the folder, held while a number is looked for


@contextmanager
def claimed(root: Path, project: str) -> Iterator[int]:
    """Hold the lowest free slot of a stack, from 0. project: the stack's name."""
    with turn(root, LOCK):
        number, file = next(_free(root, project))
    try:
        yield number
    finally:
        with turn(root, LOCK):  # nobody may have opened the file that goes
            _path(root, project, number).unlink(missing_ok=True)
            file.close()


def holders(root: Path, project: str) -> dict[int, str]:
    """The slots of a stack that are held, this process's too: number -> who, such as `pid 4242`."""
    with turn(root, LOCK):
        paths = [path for path in (root / SLOTS).glob(f"{project}.*") if path.suffix[1:].isdigit()]
        held = {int(path.suffix[1:]): path.read_text(encoding="utf-8") for path in paths if path.stem == project}
        return {number: held[number] for number in sorted(held) if not _is_free(_path(root, project, number))}


def forget(root: Path, owner: str) -> None:
    """Remove the files of an owner that was killed: the slots of its stacks, and its notes on which they are."""
    with turn(root, LOCK):
        for path in (root / SLOTS).glob(f"*{owner}*"):
            path.unlink(missing_ok=True)


@contextmanager
def turn(root: Path, name: str) -> Iterator[None]:
    """Wait for a lock of that name, and hold it while the block runs; nothing of it stays."""
    path = root / SLOTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_still(path, file):
                continue  # the one before has removed it meanwhile, and somebody may hold its successor
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _free(root: Path, project: str) -> Iterator[tuple[int, IO[str]]]:
    """The slots that nobody holds, each with its file, locked."""
    for number in count():
        file = _path(root, project, number).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        file.truncate(0)
        file.write(f"pid {os.getpid()}")
        file.flush()
        yield number, file


def _is_free(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _is_still(path: Path, file: IO[str]) -> bool:
    """Whether an open file is the one that has the path now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _path(root: Path, project: str, number: int) -> Path:
    return root / SLOTS / f"{project}.{number}"
