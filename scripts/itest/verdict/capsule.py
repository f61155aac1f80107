"""The failure capsule: all that tells why a suite is red, small enough for an issue; failure.json and failure.txt."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from itest.containers import Container, moment
from itest.stack.logtext import collapsed
from itest.stack.ready import Readiness
from itest.stack.usage import MIB, Gauge
from itest.stack.watch import Happened
from itest.suite.suite import Suite
from itest.verdict import atomic
from itest.verdict.mask import Masker
from itest.verdict.results import StageFailure

TAIL = 40  # lines of each service's log
WIDTH = 500  # characters of such a line
AFTER = 0.5  # seconds after the failure from which a log tells nothing more of its reason
HEALTH = 3  # failed health checks of a service
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")  # as docker puts it before each line of a log


@dataclass(frozen=True)
class Seen:
    """What was seen of a suite's stack when it failed; services by name, those of a worker as `shop.worker2`.

    failed: when, in seconds since the epoch. logs: with docker's timestamps. versions: of the engine, compose,
    Python, pytest. again: the command that repeats it. by_hand: the one that starts the stack, to look around.
    """

    failed: float
    again: str
    by_hand: str = ""
    containers: Mapping[str, Container] = field(default_factory=dict)
    readiness: Mapping[str, Readiness] = field(default_factory=dict)
    timeline: Sequence[Happened] = ()
    gauges: Mapping[str, Gauge] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def keep(folder: Path, failure: StageFailure, seen: Seen, masker: Masker) -> Path:
    """Write both files into a folder. Returns failure.txt, which begins with the line that states the cause."""
    facts = _facts(failure, seen)
    atomic.write(folder / "failure.json", masker.text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n"))
    atomic.write(folder / "failure.txt", masker.text("\n".join(_lines(facts)).rstrip() + "\n"))
    return folder / "failure.txt"


@dataclass(frozen=True)
class Given:
    """What a person gave to a run beside its suites: variables of the shell that layers read, and make's settings."""

    variables: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def command(self, suite: Suite, arguments: Sequence[str] = (), verb: str = "itest") -> str:
        """What is typed to see the same: `SHOP_MEMORY=24m make itest SUITE=api PROFILE=ci ARGS='-k refund'`."""
        shell = {name: value for name, value in self.variables.items() if name in suite.variables}
        profile = ",".join(path.stem for path in suite.env_files[1:])
        make = {"SUITE": suite.name, "PROFILE": profile, **self.settings, "ARGS": shlex.join(arguments)}
        return " ".join([*_assigned(shell), "make", verb, *_assigned(make)])


def _assigned(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={shlex.quote(value)}" for name, value in values.items() if value]


def _facts(failure: StageFailure, seen: Seen) -> dict[str, Any]:
    return {
        "category": failure.category,
        "cause": failure.cause,
        "message": failure.message,
        "chain": list(failure.chain),
        "hint": failure.hint,
        "evidence": failure.seen.splitlines(),
        "timeline": [
            {"at": round(one.when - seen.failed, 3), "time": one.clock, "service": one.service, "event": one.words}
            for one in seen.timeline
        ],
        "services": {name: _service(name, one, seen) for name, one in seen.containers.items()},
        "logs": {name: _tail(log, seen.failed) for name, log in seen.logs.items()},
        "versions": dict(seen.versions),
        "reproduce": seen.again,
        "by_hand": seen.by_hand,
    }


def _service(name: str, container: Container, seen: Seen) -> dict[str, Any]:
    facts: dict[str, Any] = {"state": container.summary, "image": container.image, "restarts": container.restarts}
    if ready := seen.readiness.get(name):
        facts |= {"ready_s": round(ready.ready_s, 3), "attempts": ready.attempts}
    # Those since it was last well: before that it had only begun.
    if failed := list(takewhile(lambda line: not line.startswith("exit 0: "), reversed(container.health_log))):
        facts["health"] = list(collapsed(reversed(failed)))[-HEALTH:]
    if (gauge := seen.gauges.get(name)) and gauge.last:
        facts["usage"] = {
            "at": round(gauge.last.when - seen.failed, 3),
            "memory_mib": round(gauge.last.memory / MIB, 1),
            "peak_mib": round(gauge.peak / MIB, 1),
            "limit_mib": round(gauge.limit / MIB, 1) or None,
            "processors": round(gauge.load, 2),
        }
    return facts


def _lines(facts: Mapping[str, Any]) -> list[str]:
    """The same for a person: the cause, what was seen at once, then whatever may explain it."""
    lines = [f"{facts['category']}/{facts['cause']}: {facts['message']}"]
    lines += [f"then: {one}" for one in facts["chain"]]
    lines += facts["evidence"]
    lines += [f"hint: {facts['hint']}"] if facts["hint"] else []
    lines += ["", *map(_state, facts["services"], facts["services"].values())]
    if facts["timeline"]:
        lines += ["", "what happened, in seconds from the failure:"]
        lines += [f"  {one['at']:+9.3f}  {one['time']}  {one['service']}  {one['event']}" for one in facts["timeline"]]
    for service, log in facts["logs"].items():
        lines += ["", f"--- {service}, its last lines" if log else f"--- {service} printed nothing", *log]
    lines += ["", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())]
    lines += [f"again: {facts['reproduce']}"]
    return lines + ([f"by hand: {facts['by_hand']}"] if facts["by_hand"] else [])


def _state(name: str, facts: Mapping[str, Any]) -> str:
    parts = [facts["state"]]
    if "ready_s" in facts:
        parts.append(f"ready after {facts['ready_s']:.2f} s, {facts['attempts']} tries")
    if usage := facts.get("usage"):
        limit = f" of {usage['limit_mib']:.0f}" if usage["limit_mib"] else ""
        memory = f"{usage['memory_mib']:.0f}{limit} MiB of memory, at most {usage['peak_mib']:.0f}"
        when = f"{abs(usage['at']):.1f} s {'before' if usage['at'] < 0 else 'after'}"
        parts.append(f"{memory}; {usage['processors']:.2f} processors, {when}")
    health = [f"\n  health: {line}" for line in facts.get("health", ())]
    return f"{name}: {'; '.join(parts)}{''.join(health)}"


def _tail(log: str, failed: float) -> list[str]:
    """The last lines up to the failure; of a service that only spoke later, its last ones."""
    lines = log.splitlines()
    before = [line for line in lines if not (stamp := STAMP.match(line)) or moment(stamp[0]) <= failed + AFTER]
    return [line[:WIDTH] for line in (before or lines)[-TAIL:]]
