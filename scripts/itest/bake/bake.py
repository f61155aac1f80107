"""Bakes: each PostgreSQL of a suite as an image in which its migrations and fixtures are done, made once for the same
inputs. Without one, for whatever reason, a stack starts as it does anyway."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from itest import data
from itest.bake import inputs, refusals, shelf
from itest.bake.inputs import Aging, Recipe, Unbakable
from itest.bake.registry import Repository
from itest.bake.shelf import Shelved
from itest.data.data import Plan
from itest.errors import ItestError
from itest.images import store
from itest.machine.exclusive import exclusive
from itest.suite.suite import Suite

BAKED_FROM = "x-baked-from"  # of a service in the resolved configuration: the image that its layer names


@dataclass
class Baked:
    """What the databases of a suite start from.

    images: variable -> reference, for its compose project. done: what was baked, in a few words each. notes: a line
    for each database that isn't baked, and for each old bake that went.
    """

    images: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ensure(
    suite: Suite, report: Callable[[str], None], *, running: str = "", repository: Repository | None = None
) -> Baked:
    """Have a bake of every PostgreSQL of a suite whose images are present, making those that are missing.

    Also names them in the suite's resolved configuration. report: gets a line at every change. running: a project whose
    databases stay what they are, baked or not, if it has any. repository: through which bakes are shared.
    Raises ItestError (interrupted) alone: whatever else goes wrong is noted, and that database starts without a bake.
    """
    baked = Baked()
    plan = data.plan(suite)
    started = suite.project(running).containers() if running else {}
    for service in plan.databases if plan.migrations or plan.fixtures else ():
        try:
            if service in started:
                variable, reference = inputs.variable(suite, service), started[service].image
                if not reference.startswith(f"{inputs.REPOSITORY}/") or variable in os.environ:
                    continue
            else:
                recipe = inputs.recipe(suite, plan, service, _base_id(suite, service))
                _obtain(suite, plan, recipe, repository or Repository(""), baked, report)
                variable, reference = recipe.variable, recipe.reference
        except Unbakable as reason:
            baked.notes.append(f"{suite.name}: {service} is not baked: {reason}")
        except ItestError as error:
            if error.category == "interrupted":
                raise
            baked.notes.append(f"{suite.name}: {service} is not baked: {error.message.splitlines()[0]}")
        else:
            baked.images[variable] = reference
            config = suite.config["services"][service]
            config |= {"image": reference, BAKED_FROM: config["image"]}
    return baked


def _base_id(suite: Suite, service: str) -> str:
    image = suite.config["services"][service]["image"]
    found = store.find([image])
    if not found:
        raise Unbakable(f"the engine has no {image}")
    return found[image].id


def _obtain(
    suite: Suite, plan: Plan, recipe: Recipe, repository: Repository, baked: Baked, report: Callable[[str], None]
) -> None:
    """Have one bake: there it is, or another process is making it, or a registry has it, or this one makes it."""
    if shelf.has(recipe.reference):
        return
    _recall(suite, recipe)
    lock = Path(tempfile.gettempdir(), f"itest-{os.getuid()}", "bakes", f"{recipe.hash}.lock")
    with exclusive(lock, waiting=lambda: report(f"waiting for another process that bakes {recipe.reference}")):
        if store.find([recipe.reference]):
            return
        _recall(suite, recipe)
        pulled = repository.pull(recipe, report, baked.notes.append)
        how = f"{recipe.service} of {suite.name} pulled" if pulled else _make(suite, plan, recipe, report)
        baked.done.append(how)
        shelf.prune(suite.root, baked.notes.append, keep=[recipe.reference])
    if not pulled:
        repository.push(recipe, report, baked.notes.append)  # who waited for the lock need not wait for this


def _recall(suite: Suite, recipe: Recipe) -> None:
    """Raise Unbakable for what was found out lately."""
    if reason := refusals.known(suite.root, recipe):
        raise Unbakable(reason)


def _make(suite: Suite, plan: Plan, recipe: Recipe, report: Callable[[str], None]) -> str:
    """Bake, and remember it where that is refused. Returns what was done."""
    what = f"{recipe.service} of {suite.name}"
    try:
        return f"{what} baked{_bake(suite, plan, recipe, lambda words: report(f'baking {what}: {words}'))}"
    except Unbakable as reason:
        with suppress(OSError):  # it only costs the time to find it out again
            refusals.remember(suite.root, recipe, str(reason))
        raise


def _bake(suite: Suite, plan: Plan, recipe: Recipe, report: Callable[[str], None]) -> str:
    """Bake, on top of an older bake where there is one. Returns words for that."""
    from itest.bake.baking import Baker

    if older := shelf.best_start(recipe, shelf.everything()):
        try:
            Baker(suite, plan, recipe, older.reference, report).bake()
            return f" on top of an earlier one{_new(older, recipe)}"
        except (Unbakable, ItestError) as error:
            if isinstance(error, Aging) or getattr(error, "cause", "") in ("interrupted", "migration", "fixture"):
                raise  # it would end in the same way
    Baker(suite, plan, recipe, recipe.base, report).bake()  # whatever the older one was good for
    return ""


def _new(older: Shelved, recipe: Recipe) -> str:
    count = len(recipe.migrations) - len(older.migrations)
    return f" ({count} new migration{'' if count == 1 else 's'})" if count else ""
