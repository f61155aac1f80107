"""Removing what runs of this checkout left behind that were killed before they could clean up, and only that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from itest import compose, runs


def sweep(root: Path, report: Callable[[str], None]) -> list[str]:
    """Remove the stacks of this checkout whose owner is dead, and say so; returns their projects.

    A kept stack, a run that still lives, another checkout's and anything that isn't itest's are never touched.
    """
    dead = [project for project, lease in compose.leases().items() if _is_dead(root, project, lease)]
    for project in dead:
        report(f"removing {project}, left by a run that was killed")
        compose.remove(project)
    return dead


def _is_dead(root: Path, project: str, lease: str) -> bool:
    kind, _, owner = lease.partition(" ")
    if kind != "run" or runs.is_alive(root, owner):
        return False
    if runs.is_ours(root, owner):
        return True
    labels = compose.project_labels({compose.PROJECT_LABEL: project}).get(project, {})
    return labels.get(compose.WORKING_DIR_LABEL) == str(root / "compose")
