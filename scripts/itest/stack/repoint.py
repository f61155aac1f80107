"""One service with other values of its variables for a while: of a test that needs it on a database of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from itest.compose import Project, announce
from itest.errors import ItestError
from itest.stack import asstarted
from itest.stack.ready import wait_ready
from itest.stack.stack import Stack


@contextmanager
def repointed(stack: Stack, service: str, variables: Mapping[str, str]) -> Iterator[None]:
    """Recreate a service with these variables over its own, and as it was after the block.

    Raises ItestError: usage when no variable changes it, service when it doesn't get ready.
    """
    project = stack.project_of(service)
    if project is not stack.own:
        project = asstarted.project(stack, project.name)
    before = stack.containers[service].id
    try:
        _recreate(stack, service, replace(project, variables={**project.variables, **variables}))
        if stack.containers[service].id == before:
            given = ", ".join(sorted(variables)) or "nothing"
            problem = f"stack.repoint({service!r}): its layer doesn't read {given}, so it is what it was"
            raise ItestError("usage", problem, hint=f"write ${{{given}:-…}} in its layer", cause="config")
        yield
    finally:
        _recreate(stack, service, project)


def _recreate(stack: Stack, service: str, project: Project) -> None:
    """Compose leaves a container alone whose configuration is the same, and ends it otherwise."""
    announce("stop", project.name, service)
    project.up([service], dependencies=False)
    announce("start", project.name, service)
    stack.refresh()
    wait_ready(stack.targets([service]))
