"""Faults that come and go by the clock while a test does what it does."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING

from itest.errors import ItestError
from itest.faults.fault import Fault

if TYPE_CHECKING:
    from typing_extensions import Self

Entry = tuple[float, float, Fault]  # from, until, in seconds since the block began


class Timeline:
    """`with faults.timeline((2.0, 5.0, fault), …): …`: each fault from its time to its time, from a thread.

    When the block ends, what is injected is healed and what is to come is left out. What went wrong in the thread, in
    which nothing more happens then, is raised there.
    """

    def __init__(self, *entries: Entry) -> None:
        """Raises ItestError (usage) for times that mean nothing."""
        for since, until, fault in entries:
            if not 0 <= since < until:
                problem = f"faults.timeline: {fault.describe()} from {since:g} s to {until:g} s"
                hint = "seconds since the block begins: (2.0, 5.0, fault)"
                raise ItestError("usage", problem, hint=hint, cause="fault")
        # What ends at a moment ends before what begins then.
        steps = [step for since, until, fault in entries for step in ((since, 1, fault), (until, 0, fault))]
        self._steps = sorted(steps, key=lambda step: step[:2])
        self._faults = [fault for _, _, fault in entries]
        self._left = Event()
        self._running: Future[None] = Future()

    @property
    def over(self) -> bool:
        """Whether nothing more will be injected or healed before the block ends."""
        return self._running.done()

    def __enter__(self) -> Self:
        for fault in self._faults:
            fault.use()
            fault.prepare()
        pool = ThreadPoolExecutor(1, "faults.timeline")
        self._running = pool.submit(self._run)
        pool.shutdown(wait=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        failed = self._running.exception()
        for fault in reversed(self._faults):
            fault.heal()
        if failed and (error is None or isinstance(error, Exception)):  # an interrupt stays one
            raise failed

    def _run(self) -> None:
        began = time.monotonic()
        for at, begins, fault in self._steps:
            if self._left.wait(max(0.0, began + at - time.monotonic())):
                return
            (fault.inject if begins else fault.heal)()
