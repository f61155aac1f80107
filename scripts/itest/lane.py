"""One suite's way through a run: up, pytest, evidence, down. Whatever happens, evidence is kept and the stack goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event

from itest import bake, finished, pytesting, verdict
from itest import stack as stacks
from itest.chaos import Storm
from itest.compose import Project
from itest.console import Console
from itest.deadlines import Limits
from itest.errors import ItestError
from itest.pytesting import PytestRun
from itest.runs import Run
from itest.stack import keeping, startup, worker
from itest.stack.life import Line
from itest.stack.stack import Stack
from itest.stack.watch import Watch
from itest.suite.suite import Suite
from itest.timekeeper import Subject, Timekeeper
from itest.verdict import atomic, evidence, salvage
from itest.verdict.capsule import Given
from itest.verdict.mask import Masker
from itest.verdict.results import ServiceStart, StageFailure, Status, SuiteResult
from itest.witness import Witness

TRIES = 3  # at removing a stack, each of which a Ctrl-C may end


@dataclass(frozen=True)
class Lane:
    """What a run gives to each of its suites."""

    run: Run
    console: Console
    masker: Masker
    arguments: Sequence[str]  # for pytest
    given: Given
    live: bool  # show pytest's output while it runs
    keep: bool  # leave the stack running
    factor: float  # multiplies readiness deadlines
    limits: Limits
    seed: int  # of chaos while tests run; 0: none
    cancelled: Event
    watch: Watch
    versions: Mapping[str, str]  # of the engine, compose, Python, pytest
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # suite -> variable -> a baked one
    timings: dict[str, float] = field(default_factory=dict)  # stages that the whole run shared, in seconds

    def project(self, suite: Suite) -> Project:
        """The compose project of a suite in this run."""
        return suite.project(f"itest-{suite.name}-{self.run.id}", self.images.get(suite.name))

    def go(self, suite: Suite) -> SuiteResult:
        """Run one suite and say how it ended."""
        stack = Stack(suite, self.project(suite))
        folder = self.run.folder / suite.name
        folder.mkdir()
        witness = Witness(
            stack, folder, self.watch, self.masker, self.versions, self.given, self.arguments, self.console.note
        )
        storm = Storm(stack, self.seed, folder, self.console.note) if self.seed else None
        junit, exit_code, error = folder / "junit.xml", None, None
        course: startup.Course | None = None
        with self._timekeeper(stack, folder) as keeper:
            try:
                evidence.keep_config(folder, suite.config, self.masker)
                course = stacks.start(stack, self._opener(suite, keeper), factor=self.factor)
                with storm.blowing() if storm else nullcontext():
                    exit_code = self._pytest(suite, stack, witness, junit, keeper)
                error = pytesting.unreached(folder / pytesting.UNREACHED) or pytesting.hung(suite.name, folder)
                error = error or (storm.problem if storm else None)
            except ItestError as problem:
                error = problem
            except BaseException:
                self._down(suite, stack, keeper)  # a bug keeps its traceback, and leaves no stack behind
                raise
            error = self._interrupted(suite, folder) if self.cancelled.is_set() else keeper.error or error
            with keeper.stage("evidence"), stack.timed("evidence"):
                error = witness.blame(error) or keeper.error
                result = witness.testify(self._result(suite, stack, junit, exit_code, error))
            gone = self._down(suite, stack, keeper)
        for note in pytesting.NOTES:
            (folder / note).unlink(missing_ok=True)
        path = startup.told(course, suite, self.run) if course else None
        result = replace(result, timings=self.timings | stack.timings, startup=path)
        status: Status = "timeout" if gone and gone.cause == "timeout" else "error"
        return replace(result, status=status, failure=gone) if gone and not result.failure else result

    def _timekeeper(self, stack: Stack, folder: Path) -> Timekeeper:
        """Of a suite. Services that it has to kill did not die of themselves."""
        killed = "".join(f"kill {stack.name} {service}\n" for service in stack.suite.services)
        subject = Subject(
            f"suite {stack.suite.name}",
            folder,
            projects=lambda: [stack.name],
            running=partial(pytesting.running, folder),
            before_killing=lambda: atomic.write(folder / pytesting.ANNOUNCED, killed),
        )
        return Timekeeper(subject, self.limits)

    def _pytest(self, suite: Suite, stack: Stack, witness: Witness, junit: Path, keeper: Timekeeper) -> int:
        folder = witness.folder
        self._go_on(suite, keeper)
        one = PytestRun(self.arguments, junit, folder / "pytest.log", self.live, self.masker)
        ends = (self.cancelled.is_set, keeper.passed.is_set, lambda: witness.hopeless)
        timed = stack.timed("pytest")
        with self.console.stage(suite.name, "pytest") as line, keeper.stage("pytest"), timed, witness.watching():
            with self.console.suspended() if self.live else nullcontext():  # the tests own the terminal meanwhile
                code = pytesting.run(stack, one, ends)
            line.detail(_last_line(one.log))
            if code not in (0, 5):  # 5: no test was selected
                line.fail()
        self._salvage(suite, witness, junit, keeper, code)
        for written in (one.log, junit, *pytesting.remembered(suite)):
            if written.exists():
                self.masker.mask_file(written)
        return code

    def _salvage(self, suite: Suite, witness: Witness, junit: Path, keeper: Timekeeper, code: int) -> None:
        """Make up for the report of a pytest that was ended, by whomever."""
        folder = witness.folder
        ended = self._interrupted(suite, folder) if self.cancelled.is_set() else keeper.error
        ended = ended or pytesting.hung(suite.name, folder) or witness.death
        ending = salvage.Ending(ended.cause, ended.message) if ended else salvage.Ending.of(code)
        results = finished.read(folder / pytesting.FINISHED)
        salvage.salvage(junit, results, pytesting.under_way(folder), ending, self.masker.text)

    def _down(self, suite: Suite, stack: Stack, keeper: Timekeeper) -> StageFailure | None:
        try:
            if self.keep and stack.containers and not self.cancelled.is_set():
                keeping.renew(stack)
                self.console.note(f"kept {stack.name}: make ps, make env, make down with SUITE={stack.name}")
                worker.remove_all(stack)
                return None
            with self.console.stage(suite.name, "down"), keeper.stage("down"), stack.timed("down"):
                _remove(stack)
                worker.remove_all(stack)
        except ItestError as problem:
            return StageFailure.from_error(problem, stage="down")
        return None

    def _result(
        self, suite: Suite, stack: Stack, junit: Path, exit_code: int | None, error: ItestError | None
    ) -> SuiteResult:
        failure = StageFailure.from_error(error, stage=_stage(stack)) if error else None
        config = suite.config["services"]
        images = {name: one.get(bake.BAKED_FROM) or one.get("image", "") for name, one in config.items()}
        services = {
            name: ServiceStart(images[name], round(ready.ready_s, 3), ready.attempts)
            for name, ready in stack.readiness.items()
        }
        timings = self.timings | stack.timings
        if exit_code is None:
            assert failure is not None, "a suite without a pytest exit code has failed before"
            return verdict.stopped(suite.name, failure, timings=timings, services=services)
        return verdict.judge(
            suite.name,
            pytest_exit=exit_code,
            junit=junit,
            timings=timings,
            services=services,
            failure=failure,
            log=junit.with_name("pytest.log"),
            running=pytesting.running(junit.parent),
            again=self.given.command(suite),
            workers=pytesting.workers(self.arguments),
            root=suite.root,
        )

    def _opener(self, suite: Suite, keeper: Timekeeper) -> stacks.StageOpener:
        @contextmanager
        def open_stage(stage: str) -> Iterator[Line]:
            self._go_on(suite, keeper)
            with self.console.stage(suite.name, stage) as line, keeper.stage(stage):
                yield line

        return open_stage

    def _go_on(self, suite: Suite, keeper: Timekeeper) -> None:
        """Before a stage: raise where there shall be no other."""
        if self.cancelled.is_set():
            raise self._interrupted(suite, self.run.folder / suite.name)
        keeper.check()

    def _interrupted(self, suite: Suite, folder: Path) -> ItestError:
        """An interrupt, with the test that ran when it came."""
        test = pytesting.running(folder)
        problem = f"suite {suite.name}: interrupted{f' while {test} ran' if test else ''}"
        return ItestError("interrupted", problem, hint=self.given.command(suite, self.arguments), cause="interrupted")


def _remove(stack: Stack) -> None:
    """Down, and again when a Ctrl-C from the terminal ended that too: the next try finds the rest."""
    for _ in range(TRIES - 1):
        try:
            return stack.down()
        except ItestError as problem:
            if problem.category != "interrupted":
                raise
    stack.down()


def _stage(stack: Stack) -> str:
    """The stage that was under way: the last one with a timing."""
    stages = [stage for stage in stack.timings if stage != "evidence"]
    return stages[-1] if stages else "up"


def _last_line(log: Path) -> str:
    """pytest's summary line without its rulers, such as `38 passed in 1.94s`."""
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip("= ") if lines else ""
