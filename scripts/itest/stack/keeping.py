"""Kept stacks: how long nobody has used each, and what there is of it to remove.

Whoever uses one renews its lease, and until when it holds is told: an expired one stays as it is, until `make down`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from itest import compose, runs
from itest.images import store
from itest.stack.stack import Stack
from itest.suite.suite import Suite

KEPT = runs.RUNS / "kept"  # an empty file a stack, as old as its last use
KEPT_FOR = timedelta(days=7)


def renew(stack: Stack) -> None:
    """Note that somebody uses a kept stack."""
    file = _file(stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def told(stack: Stack) -> str:
    """Until when a stack is kept: `kept until 2026-01-09 10:00`, or since when it isn't any more."""
    try:
        used = datetime.fromtimestamp(_file(stack).stat().st_mtime)
    except FileNotFoundError:
        used = datetime.now()  # plain compose started it, and nothing of this has used it yet
    until, renews = used + KEPT_FOR, f"make up SUITE={stack.suite.name} renews it"
    word = "kept until" if until > datetime.now() else f"unused since {used:%Y-%m-%d}, expired"
    return f"{word} {until:%Y-%m-%d %H:%M}; {renews}"


def contents(stack: Stack) -> str:
    """What goes with a stack: `2 containers, 1 network (postgres, redis)`."""
    return f"{compose.held(stack.name)} ({', '.join(sorted(stack.containers))})"


def remove(stack: Stack) -> None:
    """Remove a kept stack, the note on its use, and images that it alone still used. Raises ItestError (engine)."""
    stack.down()
    store.remove_superseded()
    _file(stack).unlink(missing_ok=True)


def remains(suite: Suite) -> str:
    """What is left of the suite's kept stack where its network is gone: `1 container, 1 volume`; or "".

    Plain `docker compose down` leaves the sidecars of faults, and volumes.
    """
    name, here = suite.kept_name, str(suite.root / "compose")
    found = compose.project_labels({compose.PROJECT_LABEL: name})
    is_another_s = any(labels[compose.WORKING_DIR_LABEL] != here for labels in found.values())
    return "" if is_another_s or name in compose.leases() else compose.held(name)


def remove_remains(suite: Suite) -> None:
    """Remove that. Raises ItestError (engine)."""
    compose.remove(suite.kept_name)


def _file(stack: Stack) -> Path:
    return stack.suite.root / KEPT / stack.name
