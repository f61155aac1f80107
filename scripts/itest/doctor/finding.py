"""One finding: what is wrong, where, why it matters, and the edit or command that mends it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from itest import errors
from itest.errors import Category, ItestError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first
MACHINE = "machine"  # the place of what is in no file
PLACE = re.compile(r"(?:\w+ )?(?P<place>[\w./-]+\.\w+(?::\d+)?): (?P<what>.+)", re.DOTALL)  # `migration a.sql: …`


@dataclass(frozen=True)
class Finding:
    """severity: an error stops a run, a warning makes it slow, brittle or unsafe, a note is good to know.

    id: the same for the same kind of finding; place: `file:line`, or "machine"; category: of the exit code, for errors;
    suites: those that it is about, none for the machine.
    """

    severity: Severity
    id: str
    place: str
    what: str
    why: str
    mend: str
    category: Category = "usage"
    suites: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data, for machines."""
        return asdict(self) | {"suites": list(self.suites)}


def refusal(id: str, error: ItestError, why: str, elsewhere: str = MACHINE) -> Finding:
    """The finding for an error that would stop a run. elsewhere: its place where the error names none."""
    told = PLACE.fullmatch(error.message)
    place, what = (told["place"], told["what"]) if told else (elsewhere, error.message)
    return Finding("error", id, place, what, why, error.hint, error.category)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first, then by place; what several suites have in common stands there once and names them all."""
    merged: dict[Finding, set[str]] = {}
    for finding in findings:
        merged.setdefault(replace(finding, suites=()), set()).update(finding.suites)
    whole = [replace(finding, suites=tuple(sorted(suites))) for finding, suites in merged.items()]
    return sorted(whole, key=lambda one: (SEVERITIES.index(one.severity), one.place != MACHINE, _by_line(one.place)))


def exit_code(findings: Iterable[Finding]) -> int:
    """That of the worst category among the errors, as everywhere; 0 where there are only warnings and notes."""
    return errors.exit_code(errors.worst(one.category for one in findings if one.severity == "error"))


def _by_line(place: str) -> tuple[str, int]:
    file, _, line = place.partition(":")
    return file, int(line or 0)
