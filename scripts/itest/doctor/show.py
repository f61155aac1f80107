"""What a person reads, and what a program does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from itest.doctor.doctor import Diagnosis
from itest.doctor.finding import SEVERITIES, exit_code


def text(diagnosis: Diagnosis) -> str:
    """What was looked at, the findings, worst first, and how many there are of each severity in the last line."""
    parts = [list(_facts(diagnosis)), list(_findings(diagnosis)), [_counts(diagnosis)]]
    return "\n\n".join("\n".join(part) for part in parts if part)


def as_json(diagnosis: Diagnosis) -> str:
    """The same as JSON: exit_code, counts, findings, wait_budget in seconds by suite, null for no end."""
    budget = {
        name: [
            {
                "services": list(one.services),
                "fastest_s": one.fastest,
                "slowest_s": None if math.isinf(one.slowest) else one.slowest,
            }
            for one in chains
        ]
        for name, chains in diagnosis.chains.items()
    }
    whole = {
        "exit_code": exit_code(diagnosis.findings),
        "counts": counts(diagnosis),
        "findings": [one.as_json() for one in diagnosis.findings],
        "wait_budget": budget,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def counts(diagnosis: Diagnosis) -> dict[str, int]:
    """How many findings there are of each severity."""
    return {severity: sum(one.severity == severity for one in diagnosis.findings) for severity in SEVERITIES}


def _facts(diagnosis: Diagnosis) -> Iterator[str]:
    seen = diagnosis.machine
    if not seen.problem:
        yield f"engine    {seen.server}, compose {seen.compose}, {seen.endpoint}"
        disks = ", ".join(f"{one.free / 1e9:.0f} GB free in {one.folder}" for one in seen.disks[:1])
        memory = f"{(seen.memory or 0) / 1e9:.0f} GB memory"
        left = f"{seen.networks[0]} of {seen.networks[1]} networks left"
        yield f"machine   {seen.cores} cores, {memory}, {disks}, {left}, cgroup v{seen.cgroup}"
    if diagnosis.left:
        yield f"here      {diagnosis.left}"
    for name, chains in diagnosis.chains.items():
        for number, chain in enumerate(chains):
            yield f"{'' if number else name:<9} {chain}"


def _findings(diagnosis: Diagnosis) -> Iterator[str]:
    for one in diagnosis.findings:
        suites = f" ({', '.join(one.suites)})" if len(one.suites) > 1 else ""
        yield f"{one.severity:<8}  {one.place}: {one.what}{suites} [{one.id}]"
        yield f"{'':8}  {' → '.join(part for part in (one.why, one.mend) if part)}"


def _counts(diagnosis: Diagnosis) -> str:
    found = counts(diagnosis)
    words = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in found.items())
    code = exit_code(diagnosis.findings)
    return f"{words}; exit {code}" if code else words
