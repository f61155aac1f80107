"""All suites of a run side by side, each in its lane; after an interrupt those under way clean up, no other starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from itest import compose, pytesting, verdict
from itest.interrupts import Interrupts
from itest.lane import Lane
from itest.suite import Suite
from itest.verdict.results import StageFailure, SuiteResult

TICK = 0.2  # seconds until an interrupt is answered on the terminal
LATE = "not started: the time of the run was up"
ANSWER = "interrupted: removing the stacks; once more leaves that to the next make"


def run_all(
    lane: Lane, chosen: Sequence[Suite], jobs: int, interrupts: Interrupts, report: Callable[[str], None]
) -> dict[str, SuiteResult]:
    """Run the suites that the arguments leave anything to do in; suite -> result, also of those that were cut short."""
    waiting = [suite for suite in chosen if pytesting.concerns(suite, chosen, lane.arguments)]
    first_failure_ends = {"-x", "--exitfirst"} & set(lane.arguments)
    running: dict[Future[SuiteResult], Suite] = {}
    results: dict[str, SuiteResult] = {}
    answered = 0
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="suite")
    interrupts.patient = True
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                suite = waiting.pop(0)
                running[pool.submit(lane.go, suite)] = suite
            done, _ = wait(running, timeout=TICK, return_when=FIRST_COMPLETED)
            for future in done:
                result = results[running.pop(future).name] = future.result()
                if first_failure_ends and result.category:
                    waiting.clear()
            if waiting and lane.limits.run_left <= 0:
                results |= {suite.name: SuiteResult(suite.name, "skipped", reason=LATE) for suite in waiting}
                waiting.clear()
            if interrupts.heard > answered:
                answered = interrupts.heard
                waiting.clear()
                report(ANSWER)
    except KeyboardInterrupt:
        results |= {suite.name: _abandoned(suite, lane.project(suite).name) for suite in running.values()}
    except BaseException:
        interrupts.cancelled.set()  # a bug in one lane: the others clean up before its traceback is shown
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=False, cancel_futures=True)
    return results


def _abandoned(suite: Suite, project: str) -> SuiteResult:
    left = compose.held(project)
    message = f"suite {suite.name}: interrupted" + (f", and this is left of {project}: {left}" if left else "")
    hint = "any next make removes it, such as `make ps`" if left else ""
    failure = StageFailure("interrupted", "interrupted", message, hint)
    return verdict.stopped(suite.name, failure, timings={}, services={})
