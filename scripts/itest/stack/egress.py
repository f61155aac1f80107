"""What the services of a sealed stack wanted from outside, from its door's log: which service, which host, when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from itest import containers
from itest.doors import DOOR
from itest.errors import ItestError
from itest.stack.stack import Stack
from itest.suite.suite import Suite

LISTED = 10


@dataclass(frozen=True)
class Attempt:
    """A service's requests for one host of the outside. opened: the suite lets it out. times: how often it asked.

    first, last: when, ISO 8601 in UTC.
    """

    service: str
    host: str
    opened: bool
    times: int
    first: str
    last: str

    def __str__(self) -> str:
        often = {1: "once", 2: "twice"}.get(self.times, f"{self.times} times")
        return f"{self.service} asked for {self.host} {often}"

    def in_short(self) -> dict[str, str | bool | int]:
        """For summary.json: without the times of day, which egress.json has."""
        return {"service": self.service, "host": self.host, "opened": self.opened, "times": self.times}


def attempts(stacks: Iterable[Stack]) -> list[Attempt]:
    """All attempts of some stacks, such as a suite's own and its workers', in the order of their first request.

    Nothing for a stack without a door. Raises ItestError (engine).
    """
    seen: dict[tuple[str, str, bool], list[dict[str, str]]] = {}
    for stack in stacks:
        if door := stack.containers.get(DOOR):
            for record in _records(containers.logs(door, timestamps=False)):
                key = record["service"], record["host"], record["egress"] == "opened"
                seen.setdefault(key, []).append(record)
    found = [_attempt(*key, records) for key, records in seen.items()]
    return sorted(found, key=lambda one: one.first)


def refused(suite: Suite, tried: Sequence[Attempt], instead: str = "") -> ItestError | None:
    """Why a suite fails that wants no attempt but those that it opens: it says `egress: {fail: true}`.

    instead: what would let the mock answer, for its evidence.
    """
    closed = [one for one in tried if not one.opened]
    if not suite.egress.fail or not closed:
        return None
    overlay = suite.files[-1].path
    hosts = ", ".join(dict.fromkeys(one.host for one in closed))
    problem = f"suite {suite.name}: {closed[0]}, which is outside" + (
        f", and {len(closed) - 1} more" * (len(closed) > 1)
    )
    hint = f"mock {hosts}; or open it: `allow: [{hosts}]` under x-itest, egress in {overlay}"
    seen = "\n".join([*(f"{one.first}  {one}" for one in closed), *([f"\n{instead}"] if instead else [])])
    return ItestError("test", problem, hint=hint, cause="egress", evidence=seen)


def told(tried: Sequence[Attempt]) -> list[str]:
    """The attempts for a person, a line each; not all of very many."""
    lines = [f"{one} ({'opened' if one.opened else 'refused'})" for one in tried[:LISTED]]
    return [*lines, f"… and {len(tried) - LISTED} more, in egress.json"] if len(tried) > LISTED else lines


def as_json(tried: Sequence[Attempt]) -> str:
    """egress.json: a list of attempts."""
    return json.dumps([asdict(one) for one in tried], indent=2, ensure_ascii=False) + "\n"


def _records(log: str) -> Iterator[dict[str, str]]:
    """The door's lines of JSON; whatever else is in its log, a traceback for instance, is for a person."""
    for line in log.splitlines():
        if line.startswith('{"egress"'):
            try:
                yield json.loads(line)
            except ValueError:
                continue  # the log was cut within a line


def _attempt(service: str, host: str, opened: bool, records: Sequence[dict[str, str]]) -> Attempt:
    """A program that looks a name up asks twice, for an address of either sort."""
    ipv6 = sum(bool(record["ipv6"]) for record in records)
    whens = sorted(record["when"] for record in records)
    return Attempt(service, host, opened, max(ipv6, len(records) - ipv6), whens[0], whens[-1])
