"""One suite's way through a run: up, pytest, evidence, down. Whatever happens, evidence is kept and the stack goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from itest import bake, pytesting, verdict
from itest import stack as stacks
from itest.compose import Project
from itest.console import Console
from itest.doors import DOOR
from itest.errors import ItestError
from itest.pytesting import PytestRun
from itest.runs import Run
from itest.stack import egress, keeping, worker
from itest.stack.deaths import cannot_check, died
from itest.stack.life import Line
from itest.stack.stack import Stack
from itest.suite.suite import Suite
from itest.verdict import evidence
from itest.verdict.mask import Masker
from itest.verdict.results import ServiceStart, StageFailure, SuiteResult

TRIES = 3  # at removing a stack, each of which a Ctrl-C may end


@dataclass(frozen=True)
class Lane:
    """What a run gives to each of its suites."""

    run: Run
    console: Console
    masker: Masker
    arguments: Sequence[str]  # for pytest
    live: bool  # show pytest's output while it runs
    keep: bool  # leave the stack running
    factor: float  # multiplies readiness deadlines
    cancelled: Event
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
        junit, exit_code, error = folder / "junit.xml", None, None
        try:
            evidence.keep_config(folder, suite.config, self.masker)
            stacks.start(stack, self._opener(suite), factor=self.factor)
            exit_code = self._pytest(suite, stack, folder, junit)
            error = pytesting.unreached(folder / pytesting.UNREACHED)
        except ItestError as problem:
            error = problem
        except BaseException:
            self._down(suite, stack)  # a bug keeps its traceback, and leaves no stack behind
            raise
        if self.cancelled.is_set():
            error = _interrupted(suite, folder)
        failure = self._keep_evidence(suite, stack, folder, error)
        gone = self._down(suite, stack)
        for note in pytesting.NOTES:
            (folder / note).unlink(missing_ok=True)
        return self._result(suite, stack, junit, exit_code, failure or gone)

    def _pytest(self, suite: Suite, stack: Stack, folder: Path, junit: Path) -> int:
        if self.cancelled.is_set():
            raise _interrupted(suite, folder)
        one = PytestRun(self.arguments, junit, folder / "pytest.log", self.live)
        with self.console.stage(suite.name, "pytest") as line, stack.timed("pytest"):
            with self.console.suspended() if self.live else nullcontext():  # the tests own the terminal meanwhile
                code = pytesting.run(stack, one, self.cancelled)
            line.detail(_last_line(one.log))
            if code not in (0, 5):  # 5: no test was selected
                line.fail()
        for written in (one.log, junit):
            if written.exists():
                self.masker.mask_file(written)
        return code

    def _keep_evidence(self, suite: Suite, stack: Stack, folder: Path, error: ItestError | None) -> StageFailure | None:
        with stack.timed("evidence"):
            try:
                stack.refresh()
                workers = worker.of(stack)
                for one in (stack, *workers):
                    error = error or died(one, folder / pytesting.ANNOUNCED)
                for broken in filter(None, map(cannot_check, stack.containers.values())):
                    self.console.note(f"{suite.name}: a healthcheck cannot run, `up --wait` would fail: {broken}")
                kept = [evidence.keep_logs(folder, one, self.masker) for one in (stack, *workers)]
                logs = {name: log for logs in kept for name, log in logs.items()}
                wanted_out = self._tell_egress(folder, stack, workers)
                error = error or wanted_out
            except ItestError as problem:
                error, logs = error or problem, {}
            if error is None:
                return None
            path = evidence.keep_failure(folder, suite.name, error, stack, logs, self.masker)
            return StageFailure.from_error(error, stage=_stage(stack), evidence=path.relative_to(suite.root))

    def _tell_egress(self, folder: Path, stack: Stack, workers: Sequence[Stack]) -> ItestError | None:
        """Show what a sealed stack wanted from outside; why the suite fails for it, where it is to."""
        if DOOR not in stack.containers:
            return None
        tried = egress.attempts((stack, *workers))
        evidence.keep_egress(folder, egress.as_json(tried), self.masker)
        for line in egress.told(tried):
            self.console.note(self.masker.text(f"{stack.suite.name}: egress: {line}"))
        return egress.refused(stack.suite, tried)

    def _down(self, suite: Suite, stack: Stack) -> StageFailure | None:
        try:
            if self.keep and stack.containers and not self.cancelled.is_set():
                keeping.renew(stack)
                self.console.note(f"kept {stack.name}: make ps, make env, make down with SUITE={stack.name}")
                worker.remove_all(stack)
                return None
            with self.console.stage(suite.name, "down"), stack.timed("down"):
                _remove(stack)
                worker.remove_all(stack)
        except ItestError as problem:
            return StageFailure.from_error(problem, stage="down")
        return None

    def _result(
        self, suite: Suite, stack: Stack, junit: Path, exit_code: int | None, failure: StageFailure | None
    ) -> SuiteResult:
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
            root=suite.root,
        )

    def _opener(self, suite: Suite) -> stacks.StageOpener:
        def open_stage(stage: str) -> AbstractContextManager[Line]:
            if self.cancelled.is_set():
                raise _interrupted(suite, self.run.folder / suite.name)
            return self.console.stage(suite.name, stage)

        return open_stage


def _interrupted(suite: Suite, folder: Path) -> ItestError:
    """An interrupt, with the test that ran when it came."""
    running = folder / pytesting.RUNNING
    test = running.read_text(encoding="utf-8").strip() if running.exists() else ""
    return ItestError(
        "interrupted", f"suite {suite.name}: interrupted{f' while {test} ran' if test else ''}", cause="interrupted"
    )


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
