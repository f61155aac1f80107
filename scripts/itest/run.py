"""The way through a run: suites → engine → images → each suite in its lane → merged verdict. `make itest`."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from itest import bake, chaos, compose, data, errors, images, leases, passwords, pytesting, runs, verdict
from itest import suite as suites
from itest.console import Console
from itest.deadlines import Limits
from itest.errors import ItestError
from itest.faults import sidecar
from itest.interrupts import PATIENCE, Interrupts
from itest.lane import Lane
from itest.lanes import LATE, run_all
from itest.machine import engine
from itest.machine.engine import Engine
from itest.runs import Run
from itest.settings import Settings
from itest.stack import capacity
from itest.stack.sweep import sweep
from itest.stack.unblock import of_this_process
from itest.stack.watch import Watch
from itest.suite import workers
from itest.suite.resolved import fixed_ports
from itest.suite.suite import Suite
from itest.timekeeper import Subject, Timekeeper
from itest.verdict import capsule, junit, known, summary
from itest.verdict.capsule import Given, Seen
from itest.verdict.mask import Masker, is_secret_key
from itest.verdict.results import StageFailure, SuiteResult


@dataclass
class _Progress:
    """What is known so far; whatever ends the run, this is what its verdict is made of."""

    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=dict)
    suites: list[Suite] = field(default_factory=list)
    results: dict[str, SuiteResult] = field(default_factory=dict)
    masker: Masker = field(default_factory=lambda: Masker(()))
    limits: Limits = field(default_factory=Limits)


def run(root: Path, settings: Settings, console: Console) -> int:
    """Run the chosen suites and return the exit code; artifacts are written whatever happens."""
    one = runs.create(root)
    progress = _Progress()
    progress.masker.learn(known.in_variables(os.environ))
    console.mask = progress.masker.text
    error: ItestError | None = None
    compose.scrub_environment()
    with Interrupts() as interrupts, runs.alive(root, one.id):
        try:
            _go(root, settings, console, one, progress, interrupts)
        except ItestError as problem:
            error = problem
        except KeyboardInterrupt:
            said = "run: interrupted before a stack was started"
            error = ItestError("interrupted", said, hint="run it again: make itest", cause="interrupted")
        except Exception:  # a bug of ours: the artifacts are written even so, and its traceback is kept
            error = ItestError("test", "run: a bug in itest, see the traceback", hint="please report it", cause="bug")
            _conclude(root, console, one, progress, error)
            raise
        code = _conclude(root, console, one, progress, error)
        if interrupts.heard >= PATIENCE:
            sys.stdout.flush()
            # Not sys.exit, which would wait for what was just given up; as a dead owner, which the next command buries.
            os._exit(code)
    return code


def select(root: Path, settings: Settings) -> list[Suite]:
    """The suites that SUITE and TAGS choose, loaded and checked. Raises ItestError (usage)."""
    names = settings.suites or suites.names(root)
    if not names:
        raise ItestError(
            "usage", "no suite: compose/suites has no .env file", hint="compose/suites/README.md", cause="suite"
        )
    loaded = [suites.load(root, name, settings.profile) for name in dict.fromkeys(names)]
    chosen = [one for one in loaded if not settings.tag_list or set(settings.tag_list) & set(one.tags)]
    if not chosen:
        known = ", ".join(sorted({tag for one in loaded for tag in one.tags})) or "none"
        raise ItestError("usage", f"no suite has the tag {settings.tags}", hint=f"known tags: {known}", cause="tags")
    return chosen


def _go(
    root: Path, settings: Settings, console: Console, one: Run, progress: _Progress, interrupts: Interrupts
) -> None:
    progress.suites = select(root, settings)
    arguments = settings.arguments
    progress.limits = Limits.of(settings)
    _refuse(progress.suites, settings)
    console.width = max([console.width, *(len(suite.name) for suite in progress.suites)])
    console.note(f"itest {one.id}: {', '.join(suite.name for suite in progress.suites)}")
    progress.versions = _versions(engine.ensure(console.note))
    sweep(root, console.note)
    given = _given(progress.suites, settings)
    passwords.make(progress.suites, arguments, progress.masker)
    os.environ.update(leases.variables(root, one.id, keep=settings.keep))
    for suite in progress.suites:
        progress.masker.learn(known.in_config(suite.config, root))
        suites.check(suite)
        data.plan(suite)
        if pytesting.has_workers(arguments) and pytesting.concerns(suite, progress.suites, arguments):
            workers.check(suite)
    started = time.monotonic()
    with Timekeeper(Subject("run", one.folder, of_this_process), replace(progress.limits, suite=0)) as keeper:
        baked = _bring_images(progress.suites, settings, console, keeper)
    jobs = _jobs(settings, progress.suites, console)
    with Watch() as watch:
        lane = Lane(
            run=one,
            console=console,
            masker=progress.masker,
            arguments=arguments,
            given=given,
            live=jobs == 1 or len(progress.suites) == 1,
            keep=settings.keep,
            factor=settings.timeout_factor,
            limits=progress.limits,
            seed=settings.seed,
            cancelled=interrupts.cancelled,
            watch=watch,
            versions=progress.versions,
            images=baked,
            timings={"images": time.monotonic() - started},
        )
        progress.results = run_all(lane, progress.suites, jobs, interrupts, console.note)
    if late := ", ".join(name for name, one in progress.results.items() if one.reason == LATE):
        raise progress.limits.of_run.passed("test", f", so that these were not started: {late}")


def _refuse(chosen: Sequence[Suite], settings: Settings) -> None:
    """What can't be asked of these suites together. Raises ItestError (usage)."""
    if pytesting.is_debugging(settings.arguments) and len(chosen) > 1:
        raise ItestError("usage", "a debugger needs one suite", hint="make itest SUITE=… ARGS=--pdb", cause="arguments")
    if settings.seed:
        chaos.check(chosen, settings.arguments)


def _given(chosen: Sequence[Suite], settings: Settings) -> Given:
    """What the person gave, before anything here sets a variable; no secrets."""
    names = {name for suite in chosen for name in suite.variables if not name.startswith("ITEST_")}
    shell = {name: os.environ[name] for name in sorted(names) if name in os.environ and not is_secret_key(name)}
    return Given(shell, settings.chosen)


def _versions(found: Engine) -> dict[str, str]:
    """Of what the run stands on, for summary.json."""
    own = {"python": platform.python_version(), "pytest": metadata.version("pytest")}
    return {"engine": found.server_version, "compose": found.compose_version} | own


def _bring_images(
    chosen: Sequence[Suite], settings: Settings, console: Console, keeper: Timekeeper
) -> dict[str, Mapping[str, str]]:
    """Make every image present; those that are built here get a name that no other checkout can take over.

    Returns suite -> variable -> image, for the databases that start from a bake.
    """
    for suite in chosen:
        os.environ.update(images.pin(suite.config, suite.texts))
    needs = [need for suite in chosen for need in images.needs_of(suite.config)]
    needs += [need for suite in chosen for need in sidecar.needs(suite, anyway=bool(settings.seed))]
    with console.stage("", "images") as line, keeper.stage("images"):
        reports = images.ensure(needs, line.update, cancelled=keeper.passed)
        shared = bake.Repository(settings.bake_repository)
        bakes = chosen if settings.bake else ()
        baked = {suite.name: bake.ensure(suite, line.update, repository=shared) for suite in bakes}
        line.detail(", ".join([images.describe(reports), *(words for one in baked.values() for words in one.done)]))
        keeper.check()  # a database that could not be baked for it is no reason to go on
    for note in (note for one in baked.values() for note in one.notes):
        console.note(note)
    return {name: one.images for name, one in baked.items()}


def _jobs(settings: Settings, chosen: Sequence[Suite], console: Console) -> int:
    """How many suites run side by side; says why where it is not all of them."""
    count, advice = len(chosen), ""
    if settings.jobs:
        jobs = capacity.Jobs(settings.jobs, f"JOBS={settings.jobs}")
    elif _share_a_port(chosen):
        jobs = capacity.Jobs(1, "they publish the same port")
    else:
        jobs, advice = capacity.jobs(count), f"; JOBS={count} starts them all at once"
    if jobs.number < count:
        console.note(f"{jobs.number} of {count} suites at a time: {jobs.why}{advice}")
    return jobs.number


def _share_a_port(chosen: Sequence[Suite]) -> bool:
    """Whether two suites publish the same fixed port, as with PROFILE=dev: then they take turns."""
    ports = [port for suite in chosen for _, _, port in fixed_ports(suite.config)]
    return len(ports) > len(set(ports))


def _conclude(root: Path, console: Console, one: Run, progress: _Progress, error: ItestError | None) -> int:
    """Write JUnit and summary, print table and cause, return the exit code."""
    if error is None and all(result.status == "skipped" for result in progress.results.values()):
        error = ItestError("usage", "run: no test was selected", hint="check the -k, -m or path in ARGS", cause="empty")
    reason = f"not started: {error.message}" if error else "not started"
    results = [
        progress.results.get(suite.name) or SuiteResult(suite.name, "skipped", reason=reason)
        for suite in progress.suites
    ]
    if error:
        failure = StageFailure.from_error(error, stage="set-up")
        capsule.keep(one.folder, failure, Seen(time.time(), "make itest", versions=progress.versions), progress.masker)
    category = verdict.run_category(results, error.category if error else None)
    seconds = time.monotonic() - progress.started
    # What failed before any suite began has a test suite of its own, or a reader of JUnit alone would see no red.
    before = (
        [verdict.stopped("itest", StageFailure.from_error(error, stage="set-up"), timings={}, services={})]
        if error
        else []
    )
    junit.merge([*before, *results], one.folder / "junit.xml", one.id, seconds=seconds, mask=progress.masker.text)
    summary.write(
        one.summary,
        one.id,
        results,
        category,
        started=progress.started_at,
        seconds=seconds,
        versions=progress.versions,
        masker=progress.masker,
    )
    if any(result.status != "skipped" for result in results):  # else the error below says it all
        console.print("")
        console.print(progress.masker.text(summary.table(results, colour=console.colour)))
    if error:
        console.print(progress.masker.text(str(error)))
    console.print("")
    console.print(summary.closing(results, category, seconds))
    console.print(f"evidence: {one.folder.relative_to(root)}")
    return errors.exit_code(category)
