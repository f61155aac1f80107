"""Bakes: each PostgreSQL of a suite as an image in which its migrations and fixtures are done, made once for the same
inputs. Without one, for whatever reason, a stack starts as it does anyway."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from itest.bake import inputs, shelf
from itest.bake.inputs import Recipe, Unbakable
from itest.data.data import Plan
from itest.errors import ItestError
from itest.images import store
from itest.machine.exclusive import exclusive
from itest.suite.suite import Suite


@dataclass
class Baked:
    """What a suite starts with. images: variable -> reference, for its compose project; said: what was done, a line
    each."""

    images: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def ensure(suite: Suite, plan: Plan, report: Callable[[str], None]) -> Baked:
    """Have a bake of every PostgreSQL of a suite whose images are present, making those that are missing.

    Also names them in the suite's resolved configuration. report: gets a line at every change.
    Raises ItestError (interrupted) alone: whatever else goes wrong is said, and that service starts without.
    """
    baked = Baked()
    for service in plan.databases if plan.migrations or plan.fixtures else []:
        try:
            recipe = inputs.recipe(suite, plan, service)
            _make(suite, plan, recipe, baked, report)
        except Unbakable as reason:
            baked.said.append(f"{suite.name}: {service} is not baked: {reason}")
        except ItestError as error:
            if error.category == "interrupted":
                raise
            baked.said.append(f"{suite.name}: {service} is not baked: {error.message.splitlines()[0]}")
        else:
            baked.images[recipe.variable] = recipe.reference
            suite.config["services"][service]["image"] = recipe.reference
    return baked


def _make(suite: Suite, plan: Plan, recipe: Recipe, baked: Baked, report: Callable[[str], None]) -> None:
    if store.find([recipe.reference]):
        shelf.note_use(recipe.reference)
        return
    lock = Path(tempfile.gettempdir(), f"itest-{os.getuid()}", "bakes", f"{recipe.hash}.lock")
    with exclusive(lock, waiting=lambda: report(f"{recipe.reference}  waiting for another process that bakes it")):
        if store.find([recipe.reference]):
            return
        from itest.bake.baking import Baker

        older = shelf.best_start(recipe)
        new = len(recipe.migrations) - (len(older.migrations) if older else 0)
        what = (
            f"{recipe.service} of {suite.name}: {new} of {len(recipe.migrations)} migrations are new"
            if older
            else (f"{recipe.service} of {suite.name}")
        )
        start = older.reference if older else recipe.base
        Baker(suite, plan, recipe, start, lambda words: report(f"baking {what}: {words}")).bake()
        shelf.prune(suite.root, baked.said.append, keep=[recipe.reference])
