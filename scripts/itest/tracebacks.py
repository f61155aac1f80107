"""Where the threads of a process are at this moment, for whoever has to say why it doesn't end.

A pytest process answers SIGUSR1 with the tracebacks of its threads, even while it is deep in C code: faulthandler
writes them without the interpreter's help.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from itest import processes

STACKS = "stacks.txt"  # file in the folder of a suite or a run
FRAMES = 8  # of a thread, in the evidence; the file has all
ANSWERS_WITHIN = 2.0  # seconds from the signal to the last line
CURRENT = "Current thread "  # as faulthandler titles the one that the signal came to: the main thread


def of_threads(*, but: Collection[int] = ()) -> str:
    """The tracebacks of this process's threads, most recent call last, but for some of them, which idents name."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
        if ident not in but
    )


def of_thread(ident: int) -> list[str]:
    """The frames of one of this process's threads, most recent call first, as faulthandler writes them."""
    frame = sys._current_frames().get(ident)
    return [f'File "{one.filename}", line {one.lineno} in {one.name}' for one in traceback.extract_stack(frame)[::-1]]


def answer(folder: Path, name: str) -> None:
    """From now on write to a file in folder where this process's threads are, whenever SIGUSR1 comes."""
    if not hasattr(signal, "SIGUSR1"):
        return
    file = (folder / f"{name}.{os.getpid()}").open("a")  # as long as the process lives
    faulthandler.register(signal.SIGUSR1, file=file)


def ask(folder: Path, ancestor: int) -> dict[str, str]:
    """What every process below another says that promised an answer in folder: its name -> its threads' tracebacks."""
    from itest.stack.eventually import eventually

    said: dict[Path, str] = {}
    below = {one.pid for one in processes.descendants(ancestor) if processes.catches(one.pid, signal.SIGUSR1)}
    asked = {path: pid for path in folder.glob("*.*") if (pid := int(path.suffix[1:])) in below}
    for pid in asked.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)

    def all_have_said() -> bool:
        before = dict(said)
        said.update((path, path.read_text(errors="replace")) for path in asked)
        return all(said.values()) and said == before

    with suppress(AssertionError):  # one that is stopped, or has just ended, says nothing
        eventually(all_have_said, timeout=ANSWERS_WITHIN)
    return {path.name: text for path, text in sorted(said.items()) if text}


def current(text: str) -> list[str]:
    """Of what a process said, the main thread's frames, most recent call first."""
    _, _, after = text.partition(CURRENT)
    return re.findall(r"^  (File .+)$", after.partition("\n\n")[0], re.MULTILINE)


def telling(frames: Sequence[str]) -> list[str]:
    """Of a thread's frames, most recent call first, those of a test, without pytest below it; else the last few."""
    return list(takewhile(lambda frame: "/_pytest/" not in frame, frames))[:FRAMES] or list(frames[:FRAMES])


def keep(file: Path, said: Mapping[str, str]) -> None:
    """Add to a file what processes said of their threads."""
    with file.open("a", encoding="utf-8") as text:
        text.write("".join(f"=== {process}\n\n{threads}\n\n" for process, threads in said.items()))


def shown(file: Path) -> str:
    """As the run's own folder has it: build/itest/<run>/<suite>/stacks.txt."""
    return str(Path(*file.parts[file.parts.index("build") :])) if "build" in file.parts else str(file)
