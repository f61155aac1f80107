"""Stacks that run already: the handle of one, and which of them somebody keeps."""

from __future__ import annotations

from dataclasses import replace

from itest import compose, runs
from itest.errors import ItestError
from itest.stack import asstarted
from itest.stack.stack import Stack
from itest.suite.suite import Suite, load


def attach(suite: Suite, project: str) -> Stack:
    """The handle of a stack that runs already. Raises ItestError (service) when it doesn't."""
    stack = Stack(suite, suite.project(project))
    stack.refresh()
    profile = asstarted.profile(stack)
    if profile and profile not in suite.env_files:  # a pytest process or a verb isn't told
        suite = load(suite.root, suite.name, profile.stem)
        stack = replace(stack, suite=suite, project=suite.project(project))
    if not stack.containers:
        hint = f"make up SUITE={suite.name}"
        raise ItestError("service", f"stack {project}: it is not running", hint=hint, cause="missing")
    return stack


def kept(suite: Suite) -> list[str]:
    """Projects of this suite and checkout that somebody keeps: started by hand, or left by a run with KEEP=1.

    The stack of a run that is still going on is never among them.
    """
    env_file = str(suite.root / suite.env_files[0])
    leases = compose.leases()
    found = compose.project_labels({compose.WORKING_DIR_LABEL: str(suite.root / "compose")})
    ours = {project for project, labels in found.items() if labels.get(compose.ENV_FILE_LABEL, "").startswith(env_file)}
    return sorted(project for project in ours if leases.get(project) == "kept" or _finished(suite, leases.get(project)))


def _finished(suite: Suite, lease: str | None) -> bool:
    """Whether the run that keeps its stacks is over."""
    keeper, _, run = (lease or "").partition(" ")
    return keeper == "keep" and not runs.is_alive(suite.root, run)
