"""The critical path of a start-up: what was ready last, what that had waited for, and so on back to the beginning.

Arithmetic on times that were noted anyway; the engine is asked once more only for services whose probe is their health.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from itest.containers import Container, inspect, moment
from itest.runs import Run
from itest.stack.probes import Target, checks_of
from itest.stack.ready import Readiness
from itest.suite.suite import Suite

DATA, COMPOSE = "data", "compose"  # what on a path is no service
NOTABLE = 0.1  # seconds: less is not told
SHARE = 0.1  # of the whole: a smaller difference, and less of compose's own time, is not told
NAMED = 2  # legs that a difference names
LOOKS_KEPT = 5  # health checks of a container that the engine remembers


@dataclass(frozen=True)
class Begun:
    """How one service began; times in seconds since the epoch, of this machine's clock and its engine's.

    started: its container. ready: its probe answered. at_once: at the first try, so it may have been ready for long.
    fit: a health check of the engine first succeeded, or a one-shot ended well; None if unknown. unseen: seconds before
    that check in which none ran.
    by_health: its probe is its health check.
    """

    started: float
    ready: float
    at_once: bool = False
    fit: float | None = None
    unseen: float = 0.0
    by_health: bool = False


@dataclass(frozen=True)
class Batch:
    """The services of one `up`: called at `began`, all ready at `ended`, in seconds since the epoch."""

    began: float
    ended: float
    services: Mapping[str, Begun]


@dataclass(frozen=True)
class Course:
    """How a start-up went, first batch to last; after the stores comes the data stage. ended: since the epoch."""

    batches: Sequence[Batch]
    ended: float


@dataclass(frozen=True)
class Leg:
    """A part of the path: a service, `data` or `compose`. waiting: seconds of it until the next health check."""

    what: str
    seconds: float
    waiting: float = 0.0

    @property
    def waited(self) -> bool:
        """Whether that is worth a word."""
        return self.waiting >= NOTABLE

    def __str__(self) -> str:
        waiting = f", of which {self.waiting:.1f} s waiting for its health interval" if self.waited else ""
        return f"{self.what} {self.seconds:.1f} s{waiting}"


@dataclass(frozen=True)
class Startup:
    """The path of a start-up, first leg to last. change: how it differs from the run before, "" if it hardly does."""

    path: tuple[Leg, ...]
    change: str = ""

    @property
    def seconds(self) -> float:
        """How long it took: its legs leave no gap."""
        return sum(leg.seconds for leg in self.path)

    @property
    def line(self) -> str:
        """`4.1 s: shop 2.0 s after rabbitmq 1.9 s, of which 1.1 s waiting for its health interval`."""
        legs = [leg for leg in reversed(self.path) if leg.what != COMPOSE]
        legs = [leg for leg in legs if leg.seconds >= NOTABLE] or legs[:1]
        words = str(legs[0]) if legs else ""
        for later, leg in pairwise(legs):
            words += f"{',' if later.waited else ''} after {leg}"
        own = sum(leg.seconds for leg in self.path if leg.what == COMPOSE)
        if own >= max(NOTABLE, SHARE * self.seconds) or not legs:
            words += f"{', and ' if words else ''}{COMPOSE} {own:.1f} s"
        return f"{self.seconds:.1f} s: {words}" + (f"; {self.change}" if self.change else "")

    def as_json(self) -> dict[str, Any]:
        """As summary.json has it, from which `previous` reads it."""
        path = [
            {"what": leg.what, "seconds": round(leg.seconds, 3), "waiting": round(leg.waiting, 3)} for leg in self.path
        ]
        return {"seconds": round(self.seconds, 3), "line": self.line, "path": path}


def told(course: Course, suite: Suite, run: Run) -> Startup:
    """The path that a suite's start-up took in this run, compared with the run before."""
    now, before = walked(course, suite.config), previous(run, suite.name)
    return replace(now, change=change(now, before)) if before else now


def observed(targets: Sequence[Target], ready: Mapping[str, Readiness], began: float, ended: float) -> Batch:
    """What is known of services that one `up` started, whose containers were looked at since, and that are ready.

    One that is ready when its health check says so is looked at again, as its probe did all the time.
    """
    checks = {one.container.id: [check.what for check in checks_of(one.service, one.container)] for one in targets}
    later = {one.id: one for one in inspect([one for one, whats in checks.items() if "health" in whats])}
    services = {}
    for one in targets:
        answered, whats = ready[one.service.name], checks[one.container.id]
        container = later.get(one.container.id, one.container)
        fit, unseen = first_fit(container)
        services[one.service.name] = Begun(
            started=moment(container.state["StartedAt"]),
            ready=answered.at,
            at_once=answered.attempts <= len(whats),
            fit=fit,
            unseen=unseen,
            by_health="health" in whats,
        )
    return Batch(began, ended, services)


def first_fit(container: Container) -> tuple[float | None, float]:
    """When a health check first succeeded since the container's start, and for how long before it none had run.

    None where none has, or where the engine has forgotten which was the first. A one-shot: when it had ended well.
    """
    if container.succeeded:
        return moment(container.state["FinishedAt"]), 0.0
    since = started = moment(container.state["StartedAt"])
    looks = (container.state.get("Health") or {}).get("Log") or []
    for number, look in enumerate(looks):
        begun, over = moment(look["Start"]), moment(look["End"])
        if begun < started:
            continue  # of the same container, before a restart
        if look["ExitCode"] == 0:
            return (None, 0.0) if number == 0 and len(looks) >= LOOKS_KEPT else (over, max(0.0, begun - since))
        since = over
    return None, 0.0


def walked(course: Course, config: Mapping[str, Any]) -> Startup:
    """The path that a start-up took. config: the resolved compose file, for what depends on what."""
    legs: list[Leg] = []
    until = course.ended
    for batch in reversed(course.batches):
        legs.append(Leg(DATA, max(0.0, until - batch.ended)))
        legs += _back(batch, config["services"])
        until = batch.began
    return Startup(tuple(leg for leg in reversed(legs) if round(leg.seconds, 3) > 0))


def _back(batch: Batch, config: Mapping[str, Any]) -> list[Leg]:
    """The legs of one `up`, last to first. Times that don't fit, such as a container's that ran before, are cut."""
    legs: list[Leg] = []
    name, until = _last(batch), max(batch.began, batch.ended)
    counts = batch.services[name].by_health
    while name:
        one = batch.services[name]
        started = min(max(one.started, batch.began), until)
        legs.append(Leg(name, until - started, min(one.unseen, until - started) if counts else 0.0))
        seen = {
            other: min(max(batch.services[other].fit or started, batch.began), started)
            for other in _awaited(name, config, batch.services)
        }
        name, counts = max(seen, key=lambda other: seen[other], default=""), True
        until = seen.get(name, batch.began)
        legs.append(Leg(COMPOSE, started - until))
    return legs


def _last(batch: Batch) -> str:
    """The service that all waited for. Of those that answered at once when compose had returned, nobody knows which was
    ready last; the one that started last kept compose."""
    services = batch.services
    last = max(services, key=lambda name: services[name].ready)
    if not services[last].at_once:
        return last
    return max((name for name in services if services[name].at_once), key=lambda name: services[name].started)


def _awaited(name: str, config: Mapping[str, Any], among: Iterable[str]) -> set[str]:
    """The services of the same `up` that compose sees healthy, or ended, before it starts this one or one before it."""
    found: set[str] = set()
    for other, said in (config[name].get("depends_on") or {}).items():
        if other in among:
            started = said["condition"] == "service_started"
            found |= _awaited(other, config, among) if started else {other}
    return found


def previous(run: Run, suite: str) -> Startup | None:
    """The start-up of the same suite in the newest earlier run that is kept and had one."""
    for folder in sorted((path for path in run.folder.parent.glob("2*") if path.name < run.id), reverse=True):
        try:
            content = json.loads((folder / run.summary.name).read_text(encoding="utf-8"))
            legs = content["suites"][suite]["startup"]["path"]
            return Startup(tuple(Leg(leg["what"], float(leg["seconds"]), float(leg["waiting"])) for leg in legs))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # under way, killed, without this suite, or of another version
    return None


def change(now: Startup, before: Startup) -> str:
    """`0.4 s slower than before: postgres +0.3 s`, or "" where the difference is within what chance makes."""
    more = now.seconds - before.seconds
    if abs(more) < max(NOTABLE, SHARE * before.seconds):
        return ""
    differences = _by_what(now)
    for what, seconds in _by_what(before).items():
        differences[what] = differences.get(what, 0.0) - seconds
    why = [(what, one) for what, one in differences.items() if one * more > 0 and abs(one) >= NOTABLE]
    named = ", ".join(f"{what} {one:+.1f} s" for what, one in sorted(why, key=lambda pair: -abs(pair[1]))[:NAMED])
    pace = "slower" if more > 0 else "faster"
    return f"{abs(more):.1f} s {pace} than before{': ' if named else ''}{named}"


def _by_what(one: Startup) -> dict[str, float]:
    total: dict[str, float] = {}
    for leg in one.path:
        total[leg.what] = total.get(leg.what, 0.0) + leg.seconds
    return total
