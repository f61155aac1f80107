"""A suite's files: first what a run would refuse, then what it would suffer from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itest import data, images, suite
from itest.doctor import clients, health, plaintext, rights, sharing
from itest.doctor.budget import Chain
from itest.doctor.finding import Finding, refusal
from itest.doctor.subject import Subject
from itest.errors import ItestError
from itest.images import ImageNeed
from itest.suite import resolved, workers
from itest.suite.suite import Suite

STOPS = "a run stops here, before it starts anything"
CHECKS = (health.examine, sharing.examine, rights.examine, plaintext.examine, clients.examine)


@dataclass(frozen=True)
class Loaded:
    """A suite as far as its files could be read: without a configuration where a run would refuse them."""

    name: str
    findings: tuple[Finding, ...]
    suite: Suite | None = None
    config: Mapping[str, Any] | None = None
    needs: tuple[ImageNeed, ...] = ()


def load(root: Path, name: str, profile: str = "") -> Loaded:
    """Read a suite and let compose resolve it; every refusal on the way is a finding.

    Raises ItestError (usage) for an unknown suite or profile: that is a mistyped argument.
    """
    try:
        one = suite.load(root, name, profile)
    except ItestError as error:
        if error.cause == "profile" or name not in suite.names(root):
            raise
        return Loaded(name, (_refused(name, "suite" if error.cause == "config" else error.cause, error),))
    try:
        config = one.config
    except ItestError as error:
        return Loaded(name, (_refused(name, "compose", error),))
    found = [_refused(name, id, error) for id, error in resolved.problems(one.layers, config)]
    needs: tuple[ImageNeed, ...] = ()
    try:
        needs = tuple(images.needs_of(config))
    except ItestError as error:
        found.append(_refused(name, "build", error))
    try:
        data.plan(one)
    except ItestError as error:
        found.append(_refused(name, "data", error))
    return Loaded(name, tuple(found), one, config, needs)


def examine(loaded: Loaded, held: Mapping[str, Mapping[str, Any]]) -> tuple[list[Finding], list[Chain]]:
    """All findings about one suite, and its wait budget. held: images of the engine, see Subject."""
    findings = list(loaded.findings)
    if loaded.suite is None or loaded.config is None:
        return findings, []
    subject = Subject(loaded.suite, loaded.config, held)
    if any(one.id == "other-services" for one in findings):
        return findings, []
    findings += [finding for check in CHECKS for finding in check(subject)]
    return findings, health.budget(subject)


def examine_workers(loaded: Loaded) -> Iterator[Finding]:
    """Whether `ARGS='-n 4'` would be refused. Not for threads: it sets variables of this process for compose."""
    if loaded.suite is None or loaded.config is None or loaded.findings:
        return
    try:
        workers.check(loaded.suite)
    except ItestError as error:
        why = "several pytest workers, ARGS='-n 4', are refused; one works"
        yield replace(_refused(loaded.name, "workers", error), severity="note", why=why)


def _refused(name: str, id: str, error: ItestError) -> Finding:
    overlay = f"{suite.SUITES}/{name}.yaml"
    return replace(refusal(id, error, STOPS, elsewhere=overlay), suites=(name,))
