"""Stacks that a person keeps: bring one up, and tell how to reach it and how to get rid of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from itest import bake, compose, data, images
from itest import stack as stacks
from itest import suite as suites
from itest.console import Console
from itest.errors import ItestError
from itest.faults import byhand as faults
from itest.faults import sidecar
from itest.machine import engine
from itest.settings import Settings
from itest.stack import keeping
from itest.stack.stack import Stack
from itest.stack.sweep import sweep
from itest.suite import envfile
from itest.suite.suite import Suite
from itest.verdict import known
from itest.verdict.mask import Masker


def up(suite: Suite, given: Settings, console: Console) -> Stack:
    """Start, migrate and seed the suite's stack `itest-<suite>`; what runs and is seeded already stays as it is."""
    compose.scrub_environment()
    engine.ensure(console.note)
    sweep(suite.root, console.note)
    suites.check(suite)
    _refuse_other(suite)
    with _masking(suite, console):
        return _start(suite, given, console)


def _start(suite: Suite, given: Settings, console: Console) -> Stack:
    with console.stage(suite.name, "images") as line:
        needs = [*images.needs_of(suite.config), *sidecar.needs(suite)]
        told = [images.describe(images.ensure(needs, line.update))]
        baked = bake.Baked()
        if given.bake:
            shared = bake.Repository(given.bake_repository)
            baked = bake.ensure(suite, line.update, running=suite.kept_name, repository=shared)
        line.detail(", ".join([*told, *baked.done]))
    for note in baked.notes:
        console.note(note)
    stack = Stack(suite, suite.project(suite.kept_name, baked.images))
    if standing := faults.left_standing(stack):
        console.note(standing)
    try:
        with faults.blaming_standing(stack):
            stacks.start(stack, lambda stage: console.stage(suite.name, stage), factor=given.timeout_factor)
    except ItestError:
        console.note(f"what was started stays, to look around: make ps, make logs, make down SUITE={suite.name}")
        raise
    keeping.renew(stack)
    return stack


@contextmanager
def _masking(suite: Suite, console: Console) -> Iterator[None]:
    """Neither the lines of a start nor the error that ends it show a secret of the shell or of the suite's files."""
    masker = Masker(known.in_variables(os.environ) | known.in_config(suite.config, suite.root))
    masker.learn(*(known.in_variables(envfile.read(suite.root, path).values) for path in suite.env_files))
    console.mask = masker.text
    try:
        yield
    except ItestError as error:
        error.message, error.evidence = masker.text(error.message), masker.text(error.evidence)
        error.chain = tuple(map(masker.text, error.chain))
        raise


def _refuse_other(suite: Suite) -> None:
    """Raise where compose would silently take over, or replace, the stack that has this name already.

    It may be of another checkout, or have been started with another profile.
    """
    labels = compose.project_labels({compose.PROJECT_LABEL: suite.kept_name}).get(suite.kept_name)
    if labels is None:
        return
    owner = labels[compose.WORKING_DIR_LABEL]
    if owner != str(suite.root / "compose"):
        problem = f"stack {suite.kept_name}: it runs already, for the checkout {owner.removesuffix('/compose')}"
        hint = f"`make down` there, or another COMPOSE_PROJECT_NAME in {suite.env_files[0]}"
        raise ItestError("usage", problem, hint=hint, cause="stack")
    started = _profile(Path(path) for path in labels.get(compose.ENV_FILE_LABEL, "").split(","))
    wanted = _profile(suite.env_files)
    if started != wanted:
        problem = f"stack {suite.kept_name}: it runs with {_told(started)}; with {_told(wanted)} it would be a new one"
        same = f"make up SUITE={suite.name}" + (f" PROFILE={started}" if started else "")
        hint = f"`{same}` keeps it; `make down SUITE={suite.name}` removes it first"
        raise ItestError("usage", problem, hint=hint, cause="profile")


def _profile(env_files: Iterable[Path]) -> str:
    """The profile that a list of env files has after the suite's own; empty for none."""
    return ",".join(path.stem for path in list(env_files)[1:])


def _told(profile: str) -> str:
    return f"PROFILE={profile}" if profile else "no profile"


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
            f"remove       make down SUITE={suite.name}; it is {keeping.told(stack)}",
        ]
    )


def table(stack: Stack) -> str:
    """One line a service: name, state, address. The state of one that was just waited for is `ready`."""
    addresses = stack.discovery()
    rows = []
    for name, container in sorted(stack.containers.items()):
        prefix = f"ITEST_{name.upper().replace('-', '_')}"
        address = addresses.get(f"{prefix}_DSN") or addresses.get(f"{prefix}_URL", "")
        rows.append((name, "ready" if name in stack.readiness else container.summary, address))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:{widths[0]}}  {state:{widths[1]}}  {address}".rstrip() for name, state, address in rows)


def left_out(stack: Stack) -> list[str]:
    """Why a service has no address, for each that should have one: `shop: exited, code 1`."""
    reasons = []
    for service in stack.suite.services.values():
        container = stack.containers.get(service.name)
        if container is None or not container.running:
            reasons.append(f"{service.name}: {container.summary if container else 'it has no container'}")
        elif service.port is not None and service.port not in container.ports:
            reasons.append(f"{service.name}: its port {service.port} is not published")
    return reasons


def reseed(stack: Stack) -> str:
    """Back to the seeded state, with the fixtures as they are now."""
    return data.reseed(data.plan(stack.suite), stack.stores())
