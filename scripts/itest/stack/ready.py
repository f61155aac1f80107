"""Waiting until every service truly answers: all side by side, first try at once, one deadline a service.

The wait ends at once, with the evidence, when a container exits, restarts, is OOM-killed or turns unhealthy, or when
credentials are wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import shorten
from threading import Event

from itest.containers import Container, inspect, logs
from itest.errors import ItestError
from itest.stack.logtext import collapsed, unprobed
from itest.stack.probes import NotReady, Refused, Target, Unpublished, checks_of, probe
from itest.states import meaning as meaning
from itest.states import verdict as verdict

LOOK_EVERY = 0.25  # seconds between two looks at the containers while probes keep trying
MESSAGE = 60  # characters of the last probe in a message, which has one line; the evidence has all of it
LOG_LINES, FETCHED = 15, 1000  # lines of a log that are shown, and that they are made of


@dataclass(frozen=True)
class Readiness:
    """How a service became ready: seconds since the wait began, how many tries that took, and when, since the epoch."""

    ready_s: float
    attempts: int
    at: float


@dataclass(frozen=True)
class Needed:
    """Containers, by id, that were ready before; `refuse` looks at them as they are now, and raises for a dead one."""

    containers: Sequence[str] = ()
    refuse: Callable[[Sequence[Container]], None] = lambda _: None


@dataclass
class _Wait:
    """The wait for one service, shared by the thread that probes and the one that watches."""

    target: Target
    timeout: float
    stop: Event
    attempts: int = 0
    last_error: str = "no probe has run yet"
    started: float = field(default_factory=time.monotonic)


def wait_ready(
    targets: Sequence[Target],
    *,
    factor: float = 1.0,
    report: Callable[[str], None] = lambda _: None,
    needed: Needed | None = None,
) -> Mapping[str, Readiness]:
    """Wait until all targets are ready. factor: multiplies every deadline (a slow CI machine).

    needed: what they may need, for the wait to end where that is gone.

    Raises ItestError (service) with cause exited, oom, restarting, paused, unstarted, unhealthy, credentials,
    unpublished or timeout.
    """
    if not targets:
        return {}
    stop = Event()
    waits = {target.service.name: _Wait(target, target.service.timeout * factor, stop) for target in targets}
    with ThreadPoolExecutor(len(waits), thread_name_prefix="probe") as pool:
        running = {pool.submit(_until_ready, one): name for name, one in waits.items()}
        try:
            return _collect(running, waits, report, needed or Needed())
        finally:
            stop.set()  # whatever ended the wait, Ctrl-C included, no probe keeps trying


@contextmanager
def started_before(suite: str) -> Iterator[None]:
    """A wait in a stack that is kept: what has ended there may have been ready for days, and can be started again."""
    try:
        yield
    except ItestError as error:
        if error.cause == "exited":
            error.message = error.message.removesuffix(" before it was ready")
            error.hint = f"make up SUITE={suite} starts it again; make logs says why it ended"
        raise


def _collect(
    running: dict[Future[Readiness], str],
    waits: Mapping[str, _Wait],
    report: Callable[[str], None],
    needed: Needed,
) -> Mapping[str, Readiness]:
    ready: dict[str, Readiness] = {}
    pending = set(running)
    while pending:
        done, pending = wait(pending, timeout=LOOK_EVERY, return_when="FIRST_COMPLETED")
        for future in done:
            ready[running[future]] = future.result()
            report(", ".join(f"{name} {one.ready_s:.2f} s" for name, one in ready.items()))
        if pending and not done:
            _refuse_dead(waits, needed)
    return ready


def _until_ready(one: _Wait) -> Readiness:
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential
    from tenacity.nap import sleep_using_event
    from tenacity.stop import stop_when_event_set

    for check in checks_of(one.target.service, one.target.container):
        left = one.started + one.timeout - time.monotonic()
        retrying = Retrying(
            stop=stop_after_delay(max(left, 0.001)) | stop_when_event_set(one.stop),
            wait=wait_exponential(multiplier=0.01, exp_base=1.1, max=0.2),
            retry=retry_if_exception_type(NotReady),
            sleep=sleep_using_event(one.stop),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    one.attempts += 1
                    try:
                        probe(one.target, check)
                    except (NotReady, Refused) as error:
                        one.last_error = str(error)
                        raise
        except (NotReady, Refused) as error:
            raise _given_up(one, error) from error
    return Readiness(time.monotonic() - one.started, one.attempts, time.time())


def _refuse_dead(waits: Mapping[str, _Wait], needed: Needed) -> None:
    """Raise for a container that can't become ready any more; the one that others depend on comes first."""
    looked_at = [*needed.containers, *(one.target.container.id for one in waits.values())]
    seen = {container.service: container for container in inspect(looked_at)}
    needed.refuse([container for container in seen.values() if container.id in needed.containers])
    for name, one in waits.items():
        if name not in seen:
            gone = f"service {name}: its container was removed while it started"
            hint = "somebody took the stack down, by `make down` or docker itself: run it again"
            raise ItestError("service", gone, hint=hint, cause="removed", service=name)
        if problem := _problem(one, seen[name]):
            raise _failure(one, seen[name], *problem)


def _problem(one: _Wait, container: Container) -> tuple[str, str, str] | None:
    """What its verdict says; a one-shot may have ended well since its probe looked."""
    return None if one.target.service.ends and container.succeeded else verdict(container, _suite(one.target))


def _given_up(one: _Wait, error: Exception) -> ItestError:
    """Why probing ended without success; a container that died is the reason, whatever the probe said of it."""
    name, kind = one.target.service.name, one.target.service.kind
    seen = next(iter(inspect([one.target.container.id])), one.target.container)
    if problem := _problem(one, seen):
        return _failure(one, seen, *problem)
    if isinstance(error, NotReady):
        last = shorten(str(error), MESSAGE, placeholder="…")
        words = f"not ready after {one.timeout:g} s and {one.attempts} tries: {last}"
        slow = f"if it is only slow, raise `timeout` in the x-itest of {name}, or ITEST_TIMEOUT_FACTOR for all"
        return _failure(one, seen, "timeout", words, error.hint or slow)
    if isinstance(error, Unpublished):
        return _failure(one, seen, "unpublished", str(error), "publish it on loopback, as compose/layers/ does")
    hint = (
        f"make the password in `environment` of {name} the one that its {kind} was set up with: by its command, by an "
        "init script, or in an old volume, which `make down` removes"
    )
    return _failure(one, seen, "credentials", f"wrong credentials: {error}", hint)


def _suite(target: Target) -> str:
    return target.project.env_files[0].stem


def _failure(one: _Wait, container: Container, cause: str, words: str, hint: str) -> ItestError:
    name = one.target.service.name
    message, evidence = f"service {name}: {words}", _evidence(one, container)
    return ItestError("service", message, cause=cause, hint=hint, evidence=evidence, service=name)


def _evidence(one: _Wait, container: Container) -> str:
    """The end of the log, what the health checks said, and the last probe; the likeliest to explain it first."""
    printed = logs(container, tail=FETCHED, timestamps=False).splitlines()
    log = collapsed(unprobed(printed, one.target.service))[-LOG_LINES:] or ["(it printed nothing)"]
    health = collapsed(line.rstrip(": ") for line in container.health_log)[-3:] or ["no health check has run"]
    parts = {"log": log, "health": health, "last probe": [one.last_error]}
    return "\n".join(f"{title}: {line}" for title, lines in parts.items() for line in lines)
