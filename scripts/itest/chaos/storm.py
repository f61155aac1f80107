"""Faults while tests run: from the schedule, one after the other, each healed and the stack steady before the next.

Steady is what `x-itest` of the services says: every one answers its readiness probe, within its own deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread

from itest import pytesting
from itest.chaos.schedule import Step, schedule
from itest.errors import ItestError
from itest.faults import byhand
from itest.faults.book import Book, note
from itest.faults.fault import Unable
from itest.faults.faults import Faults
from itest.faults.network import Sidecars
from itest.stack.ready import wait_ready
from itest.stack.stack import Stack


@dataclass
class Storm:
    """One suite's. folder: of its evidence; note: tells a person a line; problem: why it was not steady, if so."""

    stack: Stack
    seed: int
    folder: Path
    note: Callable[[str], None]
    problem: ItestError | None = None
    told: list[str] = field(default_factory=list)  # every fault that there was, and each that this machine can't
    _over: Event = field(default_factory=Event)

    @contextmanager
    def blowing(self) -> Iterator[None]:
        """While tests run. Raises nothing for what it finds: `problem` has it."""
        thread = Thread(target=self._blow, name="chaos", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._tell()

    def _blow(self) -> None:
        stack = replace(self.stack, containers={})  # the suite's thread uses the other meanwhile
        book = Book(stack, f"chaos of seed {self.seed}")
        try:
            with self._steady(stack, "before the first fault"):
                pass
            with closing(Sidecars(stack, self.note)) as sidecars:
                self._inject(stack, Faults(book, sidecars))
        except ItestError as error:
            self.problem = error
        for period in book.periods:
            note(period, str(self.folder / pytesting.INJECTED))

    def _inject(self, stack: Stack, faults: Faults) -> None:
        for step in schedule(stack.suite, self.seed):
            if self._over.wait(step.calm):
                return
            with self._steady(stack, f"after {step}"):
                self._take(step, faults)

    def _take(self, step: Step, faults: Faults) -> None:
        try:
            with byhand.asked(faults, step.words):
                self.told.append(str(step))
                self._over.wait(step.lasts)
        except Unable as error:  # the schedule goes on as it would elsewhere
            self.told.append(f"{step}: not here: {error.message}")

    @contextmanager
    def _steady(self, stack: Stack, when: str) -> Iterator[None]:
        """After the block all are ready again. Raises ItestError (service) where one isn't in time."""
        try:
            yield
            stack.refresh()
            wait_ready(stack.targets(tuple(stack.suite.services)))
        except ItestError as error:
            raise error.followed_by([f"the stack was not steady {when}, in chaos of seed {self.seed}"]) from None

    def _tell(self) -> None:
        suite, number = self.stack.suite.name, len(self.told)
        how = "not steady any more" if self.problem else "steady before, after each and at the end"
        for line in self.told:
            self.note(f"{suite}: chaos: {line}")
        self.note(f"{suite}: chaos of seed {self.seed}: {number} fault{'s' * (number != 1)}, {how}")
