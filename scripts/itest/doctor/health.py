"""Healthchecks and what waits for them: missing ones, slow ones, and services that end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from itest.doctor.budget import Chain, Healthcheck, chains, healthcheck
from itest.doctor.finding import Finding
from itest.doctor.subject import Config, Subject
from itest.suite.services import COMPLETED

SLOW_LOOKS = 1.0  # seconds between two looks at a service that starts, beyond which they cost
IMPATIENT = 10.0  # seconds that a service gets at the least: a busy CI machine is that slow
ENDLESS = 180.0  # seconds after which a service that will never be healthy had better been given up
ENDS = re.compile(r"\b(migrat\w*|seed\w*|init|initiali[sz]e|setup|bootstrap|provision|createdb|create-db|upgrade)\b")
WHOLE = "start_period: 30s, start_interval: 250ms, interval: 5s, timeout: 3s"


def examine(subject: Subject) -> Iterator[Finding]:
    """What is wrong with the healthchecks of a suite, and with what depends on them."""
    checks = healthchecks(subject)
    awaited = dict(_awaited(subject))
    for name, service in subject.services:
        check = checks[name]
        ends = awaited.get(name) == COMPLETED  # as they expect: it needs no healthcheck
        if not ends and _sounds_as_if_it_ended(service):
            yield _one_shot(subject, name)
        elif check is None and not ends:
            yield _missing(subject, name, service, awaited.get(name, ""))
        elif check:
            yield from _timing(subject, name, check)
        yield from _races(subject, name, service, checks)


def budget(subject: Subject) -> list[Chain]:
    """The wait budget of a suite: every dependency chain, fastest and slowest time to healthy."""
    return chains(dict(subject.services), healthchecks(subject))


def healthchecks(subject: Subject) -> dict[str, Healthcheck | None]:
    return {name: healthcheck(service, subject.image(service)) for name, service in subject.services}


def _awaited(subject: Subject) -> Iterator[tuple[str, str]]:
    """Services that another waits for, with the strictest condition of all."""
    rank = ("service_started", "service_healthy", COMPLETED)
    said = [(other, one["condition"]) for _, service in subject.services for other, one in _needs(service)]
    for name in dict.fromkeys(other for other, _ in said):
        yield name, max((condition for other, condition in said if other == name), key=rank.index)


def _needs(service: Config) -> Iterator[tuple[str, Config]]:
    yield from (service.get("depends_on") or {}).items()


def _sounds_as_if_it_ended(service: Config) -> bool:
    """One that is not to be restarted, without a healthcheck, and with such a word in its command."""
    words = " ".join([*(service.get("entrypoint") or []), *(service.get("command") or [])])
    return service.get("restart") == "no" and not service.get("healthcheck") and bool(ENDS.search(words))


def _one_shot(subject: Subject, name: str) -> Finding:
    place, what = subject.at_service(name, "command"), f"`{name}` ends when its work is done"
    why = "a run takes that for a crash; so does `docker compose up --wait` where nothing waits for its end"
    mend = (
        "have those that need it wait for it by `condition: service_completed_successfully`, or let x-itest do its work"
    )
    mend += " (`migrations:`, `fixtures:`)"
    return subject.finding("warning", "one-shot", place, what, why, mend)


def _missing(subject: Subject, name: str, service: Config, condition: str) -> Finding:
    off = (service.get("healthcheck") or {}).get("disable")
    certain = off or subject.image(service) is not None
    place = subject.at_service(name, "healthcheck")
    if condition == "service_healthy" and certain:
        without = "its healthcheck disabled" if off else "no healthcheck"
        what = f"`{name}` has {without}, and others wait until it is healthy"
        why = "compose gives up on them: a container without a healthcheck is never healthy"
        return subject.finding("error", "never-healthy", place, what, why, f"healthcheck: {{test: […], {WHOLE}}}")
    what = f"`{name}` has no healthcheck"
    why = "`up --wait` and depends_on take it for ready as soon as its process runs"
    return subject.finding("warning", "no-healthcheck", place, what, why, f"healthcheck: {{test: […], {WHOLE}}}")


def _timing(subject: Subject, name: str, check: Healthcheck) -> Iterator[Finding]:
    place = subject.at_service(name, "healthcheck")
    if check.first_looks > SLOW_LOOKS:
        because = "" if check.start_period else ", for without a start_period no start_interval counts"
        what = f"`{name}` is looked at every {check.first_looks:g} s while it starts{because}"
        through = [chain for chain in budget(subject) if name in chain.services]
        way = " → ".join(through[0].services) if through and len(through[0].services) > 1 else f"`{name}`"
        why = f"up to {check.first_looks:g} s are lost at each start of {way}"
        mend = "start_interval: 250ms" if check.start_period else "start_period: 30s and start_interval: 250ms"
        yield subject.finding("warning", "slow-healthcheck", place, what, why, f"healthcheck: {mend}")
    if check.slowest < IMPATIENT:
        what = f"`{name}` is given up after {check.slowest:.1f} s"
        why = "a busy machine takes longer to start it, and the run fails as `service`"
        yield subject.finding("warning", "impatient-healthcheck", place, what, why, "healthcheck: start_period: 30s")
    if check.slowest > ENDLESS:
        what = f"`{name}` is given up only after {check.slowest:.0f} s"
        why = "one that will never be healthy keeps `up --wait`, and what depends on it, for as long"
        yield subject.finding("note", "endless-healthcheck", place, what, why, f"healthcheck: {WHOLE}")


def _races(subject: Subject, name: str, service: Config, checks: dict[str, Healthcheck | None]) -> Iterator[Finding]:
    for other, one in _needs(service):
        if one["condition"] == "service_started" and checks.get(other):
            yield subject.finding(
                "warning",
                "started-too-soon",
                subject.at("services", name, "depends_on", other),
                f"`{name}` starts as soon as the container of `{other}` does",
                f"`{other}` doesn't answer yet then: `{name}` works or fails by chance",
                f"depends_on: {{{other}: {{condition: service_healthy}}}}",
            )
