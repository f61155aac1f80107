"""Ends what takes too long, so that a suite goes on to its end as ever: evidence, down, verdict.

When a deadline passes, the tracebacks of the processes involved are written down first, then what blocks is ended: a
stage's docker commands and, where that isn't enough, the containers that it talks to. pytest is ended by its own stage.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Timer

from itest import tracebacks
from itest.deadlines import CATEGORIES, Deadline, Limits
from itest.errors import ItestError
from itest.pytesting import TRACEBACKS
from itest.stack.unblock import unblock


@dataclass(frozen=True)
class Subject:
    """What is watched. name: `suite api`, or `run`; folder: of its evidence; projects: its compose projects.

    running: the tests under way, "" for none. before_killing: called before containers are killed, so that whoever
    waits for them goes on.
    """

    name: str
    folder: Path
    projects: Callable[[], Collection[str]]
    running: Callable[[], str] = str
    before_killing: Callable[[], None] = lambda: None


@dataclass
class _Stage:
    """A stage under way, and the thread that is in it. error: of the deadline for which it was ended."""

    name: str
    thread: int = field(default_factory=threading.get_ident)
    ended: Event = field(default_factory=Event)
    error: ItestError | None = None


class Timekeeper:
    """Keeps the time of a subject while entered, be it of the whole, of its stages or of the run that it is part of.

    error: of the first deadline that has passed, None while none has; passed: set once there is one.
    """

    def __init__(self, subject: Subject, limits: Limits) -> None:
        self.subject, self.limits = subject, limits
        self.error: ItestError | None = None
        self.passed = Event()
        self._stage: _Stage | None = None
        self._turn = Lock()

    def __enter__(self) -> Timekeeper:
        gone = time.monotonic() - self.limits.began
        self._timers = [self._arm(self.limits.of_suite(self.subject.name)), self._arm(self.limits.of_run, gone=gone)]
        return self

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage. What it raises because it was ended becomes the deadline's error."""
        stage = self._stage = _Stage(name)
        timer = self._arm(self.limits.of_stage(self.subject.name, name), stage)
        try:
            yield
        except Exception as error:
            if stage.error:
                raise stage.error from error
            raise
        finally:
            stage.ended.set()
            timer.cancel()
            self._stage = None

    def check(self) -> None:
        """Raise the error, if there is one: before a stage, or at the end of one that can end well all the same."""
        if self.error:
            raise self.error

    def _arm(self, deadline: Deadline, stage: _Stage | None = None, *, gone: float = 0) -> Timer:
        """Start a timer. gone: seconds of the deadline's that have passed already."""
        timer = Timer(max(deadline.seconds - gone, 0), self._end, (deadline, stage))
        timer.daemon, timer.name = True, f"deadline of {deadline.what.removesuffix(':')}"
        if deadline.seconds:
            timer.start()
        return timer

    def _end(self, deadline: Deadline, its: _Stage | None) -> None:
        """What a timer does. its: the stage that the deadline is of; None for one of the suite or of the run."""
        with self._turn:
            stage = self._stage
            if its and its.ended.is_set():
                return
            error = self._explain(deadline, stage)
            if its and its.ended.is_set():  # meanwhile, of itself
                return
            self.error = self.error or error
            if stage:
                stage.error = error
            self.passed.set()
        if stage and stage.name != "pytest":
            unblock(self.subject.projects, stage.ended, lambda: self._announce(error))

    def _explain(self, deadline: Deadline, stage: _Stage | None) -> ItestError:
        """Write the tracebacks, and tell the ends of those that matter."""
        subject = self.subject
        said = tracebacks.ask(subject.folder / TRACEBACKS, os.getpid())
        file = subject.folder / tracebacks.STACKS
        tracebacks.keep(file, said | {"itest": tracebacks.of_threads()})
        if stage is None:
            return deadline.passed("engine", where=tracebacks.shown(file))
        of_workers = {process: text for process, text in said.items() if process.startswith("gw")} or said
        frames = {process: tracebacks.current(text) for process, text in of_workers.items()}
        frames = frames or {"itest": tracebacks.of_thread(stage.thread)}
        lines = [
            f"{process.partition('.')[0]}: {one}" for process, of in frames.items() for one in tracebacks.telling(of)
        ]
        evidence = "\n".join(lines).replace(f"{Path.cwd()}/", "")
        return deadline.passed(CATEGORIES[stage.name], self._at(deadline, stage), evidence, tracebacks.shown(file))

    def _at(self, deadline: Deadline, stage: _Stage) -> str:
        """What it was at: `, suite api in stage pytest while tests/api/test_x.py::test_y ran`."""
        of = {self.limits.of_run: f", {self.subject.name} in stage {stage.name}"}
        of[self.limits.of_suite(self.subject.name)] = f", in stage {stage.name}"
        running = self.subject.running()
        return of.get(deadline, "") + (f" while {running} ran" if running else "")

    def _announce(self, error: ItestError) -> None:
        error.chain += ("its containers were killed, so that what waited for them ended",)
        self.subject.before_killing()
