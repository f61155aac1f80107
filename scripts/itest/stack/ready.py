"""Waiting until every service truly answers: all side by side, first try at once, one deadline a service.

The wait ends at once, with the evidence, when a container exits, restarts, is OOM-killed or turns unhealthy, or when
credentials are wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from textwrap import shorten
from threading import Event

from itest.containers import Container, inspect, logs
from itest.errors import ItestError
from itest.stack.logtext import collapsed, unprobed
from itest.stack.probes import NotReady, Refused, Target, Unpublished, checks_of, probe

LOOK_EVERY = 0.25  # seconds between two looks at the containers while probes keep trying
MESSAGE = 60  # characters of the last probe in a message, which has one line; the evidence has all of it
LOG_LINES, FETCHED = 15, 1000  # lines of a log that are shown, and that they are made of

EXIT_MEANINGS = {
    125: "docker could not run it",
    126: "its command is not executable",
    127: "its command was not found in the image",
    134: "aborted, SIGABRT",
    137: "killed, SIGKILL",
    139: "segmentation fault, SIGSEGV",
    143: "asked to stop, SIGTERM",
}


@dataclass(frozen=True)
class Readiness:
    """How a service became ready: seconds since the wait began, and how many tries that took."""

    ready_s: float
    attempts: int


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
    targets: Sequence[Target], *, factor: float = 1.0, report: Callable[[str], None] = lambda _: None
) -> Mapping[str, Readiness]:
    """Wait until all targets are ready. factor: multiplies every deadline (a slow CI machine).

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
            return _collect(running, waits, report)
        finally:
            stop.set()  # whatever ended the wait, Ctrl-C included, no probe keeps trying


def _collect(
    running: dict[Future[Readiness], str], waits: Mapping[str, _Wait], report: Callable[[str], None]
) -> Mapping[str, Readiness]:
    ready: dict[str, Readiness] = {}
    pending = set(running)
    while pending:
        done, pending = wait(pending, timeout=LOOK_EVERY, return_when="FIRST_COMPLETED")
        for future in done:
            ready[running[future]] = future.result()
            report(", ".join(f"{name} {one.ready_s:.2f} s" for name, one in ready.items()))
        if pending and not done:
            _refuse_dead(waits)
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
    return Readiness(time.monotonic() - one.started, one.attempts)


def _refuse_dead(waits: Mapping[str, _Wait]) -> None:
    """Raise for a container that can't become ready any more; the one that others depend on comes first."""
    seen = {container.service: container for container in inspect([one.target.container.id for one in waits.values()])}
    for name, one in waits.items():
        if name not in seen:
            raise ItestError("service", f"service {name}: its container was removed while it started", cause="removed")
        if problem := verdict(seen[name]):
            raise _failure(one, seen[name], *problem)


def verdict(container: Container) -> tuple[str, str, str] | None:
    """Cause, words and hint for a container that is in no state to serve; None when it may yet."""
    state = container.state
    by_hand = "the log says why; `make up SUITE=…` starts the same stack and leaves it, to look around"
    if state.get("OOMKilled"):
        variable = f"{container.service.upper().replace('-', '_')}_MEMORY"
        return (
            "oom",
            "was killed for using more memory than its mem_limit",
            f"raise mem_limit in its layer ({variable})",
        )
    if container.restarts or state["Status"] == "restarting":
        code = "" if container.running else f" with {meaning(state['ExitCode'])}"  # docker forgets it at the restart
        return "restarting", f"exited{code} and was restarted", by_hand
    if state["Status"] in ("exited", "dead"):
        return "exited", f"exited with {meaning(state['ExitCode'])} before it was ready", by_hand
    if state["Status"] == "paused":
        return "paused", "is paused", f"docker unpause {container.id[:12]}"
    if state["Status"] == "created":
        return "unstarted", "was created and never started", f"docker start {container.id[:12]}"
    if container.health == "unhealthy":
        return "unhealthy", "its own healthcheck says unhealthy", "run the healthcheck's command in `make shell`"
    return None


def meaning(code: int) -> str:
    """`code 137 (killed, SIGKILL)`."""
    return f"code {code} ({EXIT_MEANINGS[code]})" if code in EXIT_MEANINGS else f"code {code}"


def _given_up(one: _Wait, error: Exception) -> ItestError:
    """Why probing ended without success; a container that died is the reason, whatever the probe said of it."""
    name, kind = one.target.service.name, one.target.service.kind
    seen = next(iter(inspect([one.target.container.id])), one.target.container)
    if problem := verdict(seen):
        return _failure(one, seen, *problem)
    if isinstance(error, NotReady):
        last = shorten(str(error), MESSAGE, placeholder="…")
        words = f"not ready after {one.timeout:g} s and {one.attempts} tries: {last}"
        slow = f"if it is only slow, raise `timeout` in the x-itest of {name}, or ITEST_TIMEOUT_FACTOR for all"
        return _failure(one, seen, "timeout", words, error.hint or slow)
    if isinstance(error, Unpublished):
        return _failure(one, seen, "unpublished", str(error), "publish it on loopback, as compose/layers/ does")
    hint = f"the {kind} in this container was set up with another password: an old volume, or an init script?"
    return _failure(one, seen, "credentials", f"wrong credentials: {error}", hint)


def _failure(one: _Wait, container: Container, cause: str, words: str, hint: str) -> ItestError:
    message = f"service {one.target.service.name}: {words}"
    return ItestError("service", message, cause=cause, hint=hint, evidence=_evidence(one, container))


def _evidence(one: _Wait, container: Container) -> str:
    """The end of the log, what the health checks said, and the last probe; the likeliest to explain it first."""
    printed = logs(container, tail=FETCHED, timestamps=False).splitlines()
    log = collapsed(unprobed(printed, one.target.service))[-LOG_LINES:] or ["(it printed nothing)"]
    health = collapsed(line.rstrip(": ") for line in container.health_log)[-3:] or ["no health check has run"]
    parts = {"log": log, "health": health, "last probe": [one.last_error]}
    return "\n".join(f"{title}: {line}" for title, lines in parts.items() for line in lines)
