"""Whether the engine keeps what the stacks' networks promise, found out by trying where that is asked or doubtful.

Asked by PROFILE=sealed and by a suite's `egress:`; doubtful of an engine that may translate addresses in its own way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itest.doctor.files import Loaded
from itest.doctor.finding import MACHINE, Finding, Severity
from itest.doctor.machine import Machine
from itest.doors import DOOR
from itest.images import store
from itest.stack import sealing
from itest.stack.sealing import Enforcement
from itest.suite import PROFILES, envfile, yamlfile
from itest.suite.egress import Egress

LAYER = PROFILES / "sealed.yaml"
WITHOUT_A_SEAL = "a service may reach production, or the internet, and no test shows it"


@dataclass(frozen=True)
class Seal:
    """image: the door's, with which it was tried. found: None where the engine doesn't hold that.

    sealed: a suite is to be sealed now, by the profile.
    """

    image: str
    found: Enforcement | None
    sealed: bool = False


def look(root: Path, machine: Machine, suites: Sequence[Loaded]) -> Seal | None:
    """Try it, in about two seconds, on networks of its own; None where nobody asks for it and nothing is doubtful.

    Raises ItestError (engine).
    """
    doors = [one.config["services"][DOOR] for one in suites if one.config and DOOR in one.config["services"]]
    asked = bool(doors) or any(one.suite.egress != Egress() for one in suites if one.suite)
    image = doors[0]["image"] if doors else _image(root) if asked or machine.translates else ""
    if not image:
        return None
    return Seal(image, sealing.can_enforce(image, root) if store.find([image]) else None, bool(doors))


def examine(seal: Seal) -> Iterator[Finding]:
    """What the engine doesn't keep, or can't be told of it."""
    if seal.found is None:
        what = f"whether the engine keeps a seal is tried with {seal.image}, which is not here yet"
        yield _finding("note", "seal-untried", what, WITHOUT_A_SEAL, "make images PROFILE=sealed, then again")
        return
    if seal.found.plain is None:
        what = "containers can't reach this machine, so there is no telling whether the engine keeps a seal"
        yield _finding("note", "seal-unknown", what, WITHOUT_A_SEAL, "let its firewall accept docker's bridges")
    if seal.found.plain is False:
        what = "the engine translates addresses, so the outside answers a default stack"
        mend = "PROFILE=sealed, which it does keep" if seal.found.sealed else "a rootful engine on Linux keeps it"
        yield _finding("warning", "outside-answers", what, WITHOUT_A_SEAL, mend)
    if seal.found.sealed is False:
        what = (
            f"the engine doesn't keep a seal: a sealed stack reaches this machine at {', '.join(seal.found.ways_out)}"
        )
        mend = "a rootful engine on Linux keeps it; without, don't rely on PROFILE=sealed"
        yield _finding("error" if seal.sealed else "warning", "not-sealed", what, WITHOUT_A_SEAL, mend)


def _image(root: Path) -> str:
    """The door's image as the profile's own layer names it; empty without one."""
    if not (root / LAYER).is_file():
        return ""
    door: dict[str, Any] = yamlfile.read(root, LAYER).data.get("services", {}).get(DOOR) or {}
    return envfile.expand(str(door.get("image", "")), os.environ)


def _finding(severity: Severity, id: str, what: str, why: str, mend: str) -> Finding:
    return Finding(severity, id, MACHINE, what, why, mend, category="engine")
