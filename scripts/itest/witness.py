"""What happens to a suite's stack while its tests run, who is to blame where it fails, and the evidence of that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from itest import pytesting
from itest.containers import Container
from itest.doors import DOOR
from itest.errors import ItestError
from itest.stack import deaths, egress, standins, worker
from itest.stack.egress import Attempt
from itest.stack.stack import Stack
from itest.stack.watch import SHOWN, Happened, Watch
from itest.verdict import atomic, capsule, evidence
from itest.verdict.capsule import Given, Seen
from itest.verdict.mask import Masker
from itest.verdict.results import SuiteResult

GRACE = 10.0  # seconds that the test under way has to end, once a service has died


@dataclass
class Witness:
    """Sees one suite's stack through its run. arguments: pytest's; note: tells a person a line."""

    stack: Stack
    folder: Path
    watch: Watch
    masker: Masker
    versions: Mapping[str, str]
    given: Given
    arguments: Sequence[str]
    note: Callable[[str], None]
    workers: list[Stack] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)  # masked; see evidence.keep_logs
    faults: list[Happened] = field(default_factory=list)  # that tests injected
    tried: list[Attempt] = field(default_factory=list)  # what a sealed stack wanted from outside
    death: ItestError | None = None  # the first that was noticed while tests ran
    died_at: float = 0.0  # seconds since the epoch

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While tests run: what dies without their doing ends them soon, as they would all fail for it."""
        with self.watch.calling(self.stack.name, self._notice):
            yield

    @property
    def hopeless(self) -> bool:
        """Whether a service has died, and a test still runs that can hardly end."""
        return self.death is not None and time.time() - self.died_at > GRACE

    def _notice(self, _: Happened) -> None:
        if self.death:
            return
        own = replace(self.stack, containers={})  # the suite's thread uses the other meanwhile
        meant = self._meant()  # before the look: what is started again while it is taken would seem to have died
        try:
            own.refresh()
            dead = deaths.found([own, *worker.of(own)], meant)
        except ItestError:
            return  # docker doesn't answer, which `blame` will tell
        if dead:
            self.died_at = time.time()
            self.death = deaths.explained(dead, deaths.DURING)
            atomic.write(self.folder / pytesting.DIED, self.death.message)

    def blame(self, error: ItestError | None) -> ItestError | None:
        """Look at the stack, keep its logs, and say what is to blame: what failed, or a service that died before."""
        try:
            self.stack.refresh()
            self.workers = worker.of(self.stack)
            dead = deaths.found([self.stack, *self.workers], self._meant())
            when = deaths.DURING if "pytest" in self.stack.timings else deaths.BEFORE
            error = deaths.blamed(error, dead, when) or self.death
            self.died_at = self.died_at or (dead[0].when if dead else 0.0)
            for broken in filter(None, map(deaths.never_healthy, self.stack.containers.values())):
                self.note(f"{self.stack.suite.name}: `docker compose up --wait` would fail: {broken}")
            for one in (self.stack, *self.workers):
                self.logs |= evidence.keep_logs(self.folder, one, self.masker)
                evidence.keep_mocks(self.folder, one, self.masker)
            self.faults = evidence.keep_faults(self.folder, self.folder / pytesting.INJECTED, self.masker)
            for one in (self.stack, *self.workers) if self.faults or self.stack.suite.faults else ():
                evidence.keep_sidecars(self.folder, one, self.masker)
            wanted_out = self._tell_egress()
            return error or wanted_out
        except ItestError as problem:
            return error or problem

    def testify(self, result: SuiteResult) -> SuiteResult:
        """Write the failure capsule of a red suite. Returns the result, which names it, and what wanted out."""
        result = replace(result, egress=tuple(self.tried))
        if result.failure is None:
            return result
        root, red = self.stack.suite.root, [case.id for case in result.report.red]
        again = self.arguments
        if red and result.status == "failed":
            again = [*pytesting.split(root, self.arguments)[1], red[0]]
        seen = Seen(
            failed=self.died_at or time.time(),
            again=self.given.command(self.stack.suite, again),
            by_hand=self.given.command(self.stack.suite, (), "up"),
            containers=self._containers(),
            readiness=self.stack.readiness,
            timeline=sorted([*self.watch.timeline(self.stack.name), *self.faults[-SHOWN:]], key=lambda one: one.when),
            gauges=self.watch.gauges(self.stack.name),
            logs={name: self.logs[name] for name in self._containers() if name in self.logs},
            versions=self.versions,
        )
        path = capsule.keep(self.folder, result.failure, seen, self.masker)
        return replace(result, failure=replace(result.failure, evidence=path.relative_to(root)))

    def _containers(self) -> dict[str, Container]:
        """In the order in which they start; of workers as `shop.worker2`, which is how their logs are called, too."""
        order = [*self.stack.suite.stores, *self.stack.suite.services]
        return {
            f"{name}.worker{one.slot}" if one.slot else name: one.containers[name]
            for one in (self.stack, *self.workers)
            for name in dict.fromkeys(order)
            if name in one.containers
        }

    def _meant(self) -> set[tuple[str, str]]:
        return deaths.meant_by(self.folder / pytesting.ANNOUNCED)

    def _tell_egress(self) -> ItestError | None:
        """Show what a sealed stack wanted from outside; why the suite fails for it, where it is to."""
        if DOOR not in self.stack.containers:
            return None
        self.tried = egress.attempts((self.stack, *self.workers))
        instead = standins.standins(self.stack.suite, self.tried)
        evidence.keep_egress(self.folder, egress.as_json(self.tried), instead, self.masker)
        for line in egress.told(self.tried) + ["egress.yaml says how the mock answers in their place"] * bool(instead):
            self.note(self.masker.text(f"{self.stack.suite.name}: egress: {line}"))
        return egress.refused(self.stack.suite, self.tried, instead)
