"""The examination: machine and files side by side, then what needs both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from itest import compose
from itest.containers import containers
from itest.doctor import capacity, files, leftovers, machine, ports, seal, supply
from itest.doctor.budget import Chain
from itest.doctor.finding import Finding, ordered
from itest.doctor.leftovers import Leftovers
from itest.doctor.machine import Machine


@dataclass(frozen=True)
class Diagnosis:
    """findings: worst first; chains: of each suite whose files a run takes, its wait budget."""

    findings: tuple[Finding, ...]
    machine: Machine
    left: Leftovers | None
    chains: Mapping[str, Sequence[Chain]]


def examine(root: Path, names: Sequence[str], profile: str = "") -> Diagnosis:
    """Examine the machine and these suites. Nothing is changed, and nothing started but what `seal` tries with.

    Raises ItestError (usage) for what is no finding: an unknown suite or profile, a broken standins.yaml.
    """
    compose.scrub_environment()
    with ThreadPoolExecutor(8) as pool:
        looking = pool.submit(machine.look, root)
        loading = list(pool.map(partial(files.load, root, profile=profile), names))
        seen = looking.result()
        needs = [need for one in loading for need in one.needs]
        if seen.problem:
            held: dict[str, Mapping[str, Any]] = {}
            left, of_engine = None, []
        else:
            asked = pool.submit(leftovers.look, root), pool.submit(containers, {})
            held = supply.held(needs)
            missing = supply.look(root, needs, held, seen.endpoint)
            left = asked[0].result()
            of_engine = [
                *supply.examine(missing),
                *leftovers.examine(left),
                *ports.examine(root, asked[1].result()),
            ]
            if tried := seal.look(root, seen, loading):  # last: it makes networks that aren't anybody's stacks
                of_engine += seal.examine(tried)
    findings = [*capacity.examine(seen), *of_engine]
    chains = {}
    for one in loading:
        found, budget = files.examine(one, held)
        if not seen.compose:  # what it says of the files is that it isn't there
            found = [finding for finding in found if finding.id != "compose"]
        findings += [*found, *files.examine_workers(one)]
        if budget:
            chains[one.name] = budget
    return Diagnosis(tuple(ordered(findings)), seen, left, chains)
