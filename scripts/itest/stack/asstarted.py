"""What a stack that runs was started with, as its containers tell: so that a further service can be started like them.

Under `make itest` this process has the same variables; of a kept stack only its containers know them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from itest import doors
from itest.compose import Project
from itest.stack.stack import Stack
from itest.suite import PROFILES, envfile
from itest.suite.envfile import VARIABLE


def project(stack: Stack, name: str, **variables: str) -> Project:
    """The stack's compose project, or one like it, with its images and secrets. variables: over all of that."""
    like = replace(stack.suite.project(name), images=images(stack) | doors.address(stack.containers))
    return replace(like, variables=secrets(stack) | variables)


def profile(stack: Stack) -> Path | None:
    """The env file of the profile that it was started with, relative to the root; None without, or if it is gone."""
    root = stack.suite.root
    given = {Path(name) for one in stack.containers.values() for name in one.env_files}
    return next((path.relative_to(root) for path in sorted(given & {*(root / PROFILES).glob("*.env")})), None)


def free_ports(stack: Stack) -> dict[str, str]:
    """What leaves it to docker which ports a further instance of a service has, where the profile fixes the first's."""
    services = [one for file in stack.suite.files for one in (file.data.get("services") or {}).values()]
    told = json.dumps([service.get("ports") for service in services if service])
    fixed = {name for path in stack.suite.env_files[1:] for name in envfile.read(stack.suite.root, path).values}
    return {found["name"]: "" for found in VARIABLE.finditer(told) if found["name"] in fixed}


def secrets(stack: Stack) -> dict[str, str]:
    """The values of the layers' secret variables, from containers that were given one under its own name."""
    names = stack.suite.secret_names
    environments = [container.environment for container in stack.containers.values()]
    return {name: given[name] for given in environments for name in names & given.keys()}


def images(stack: Stack) -> dict[str, str]:
    """The image of each service by the variable that chooses it in its layer."""
    found: dict[str, str] = {}
    for file in stack.suite.files:
        for name, service in file.data.get("services", {}).items():
            chosen = VARIABLE.fullmatch(str(service.get("image", "")))
            if chosen and name in stack.containers:
                found[chosen["name"] or chosen["plain"]] = stack.containers[name].image
    return found
