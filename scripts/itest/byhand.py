"""Stacks that a person keeps: bring one up, and tell how to reach it and how to get rid of it."""

from __future__ import annotations

from itest import compose, data, images
from itest import stack as stacks
from itest import suite as suites
from itest.console import Console
from itest.errors import ItestError
from itest.machine import engine
from itest.settings import Settings
from itest.stack.stack import Stack
from itest.suite.suite import Suite


def up(suite: Suite, given: Settings, console: Console) -> Stack:
    """Start, migrate and seed the suite's stack `itest-<suite>`; what runs and is seeded already stays as it is."""
    compose.scrub_environment()
    engine.ensure(console.note)
    suites.check(suite)
    _refuse_foreign(suite)
    with console.stage(suite.name, "images") as line:
        line.detail(images.describe(images.ensure(images.needs_of(suite.config), line.update)))
    stack = Stack(suite, suite.project(suite.kept_name))
    try:
        stacks.start(stack, lambda stage: console.stage(suite.name, stage), factor=given.timeout_factor)
    except ItestError:
        console.note(f"what was started stays, to look around: make ps, make logs, make down SUITE={suite.name}")
        raise
    return stack


def _refuse_foreign(suite: Suite) -> None:
    """Raise for a stack of this name from another checkout, whose containers compose would silently take over."""
    here = str(suite.root / "compose")
    labels = compose.project_labels({compose.PROJECT_LABEL: suite.kept_name}).get(suite.kept_name, {})
    owner = labels.get(compose.WORKING_DIR_LABEL, here)
    if owner != here:
        problem = f"stack {suite.kept_name}: it runs already, for the checkout {owner.removesuffix('/compose')}"
        hint = f"`make down` there, or another COMPOSE_PROJECT_NAME in {suite.env_files[0]}"
        raise ItestError("usage", problem, hint=hint, cause="stack")


def describe(stack: Stack) -> str:
    """Where every service answers, the docker compose command for this stack, and how to remove it."""
    suite = stack.suite
    compose_command = " ".join(["docker compose", *(f"--env-file {path}" for path in suite.env_files)])
    return "\n".join(
        [
            table(stack),
            "",
            f"by hand      {compose_command} ps",
            f'variables    eval "$(make -s env SUITE={suite.name})"',
            f"tests        .venv/bin/pytest {suite.tests}",
            f"remove       make down SUITE={suite.name}",
        ]
    )


def table(stack: Stack) -> str:
    """One line a service: name, state, address."""
    addresses = stack.discovery()
    rows = []
    for name, container in sorted(stack.containers.items()):
        prefix = f"ITEST_{name.upper().replace('-', '_')}"
        address = addresses.get(f"{prefix}_DSN") or addresses.get(f"{prefix}_URL", "")
        rows.append((name, container.summary, address))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:{widths[0]}}  {state:{widths[1]}}  {address}".rstrip() for name, state, address in rows)


def reseed(stack: Stack) -> str:
    """Back to the seeded state, with the fixtures as they are now."""
    return data.reseed(data.plan(stack.suite), stack.stores())
