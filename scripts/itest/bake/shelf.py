"""The baked images that the engine holds: which is the best to go on from, and which have had their time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from itest.bake.inputs import Recipe, is_prefix
from itest.images import inputs
from itest.images.dockercli import query

BAKE = "itest.bake"  # the recipe's hash
GROUND = "itest.bake.ground"  # of all that came before the first migration
MIGRATIONS = "itest.bake.migrations"  # version:checksum, in order, separated by blanks
ONLY_ROWS = "itest.bake.only-rows"  # "true" where the fixtures changed nothing but rows
CHECKOUT = "itest.bake.checkout"  # a hash of its folder's path
SUITE = "itest.bake.suite"
BYTES = "itest.bake.bytes"  # of the data; the engine's own size counts the image beneath it too

KEPT = 6  # of a checkout: its suites, and a few branches
KEPT_BYTES = 2 * 1024**3  # of a checkout
ALL_BYTES = 4 * 1024**3  # of all checkouts: some are gone, and nobody else removes what they left
KEPT_FOR = timedelta(days=14)  # since it was last used, whoever's it is
USED_EVERY = timedelta(days=1)  # how exactly that is known


@dataclass(frozen=True)
class Shelved:
    """A baked image. used: when it was made, or noted to be used, last; size: of its data in bytes."""

    reference: str
    ground: str
    migrations: tuple[str, ...]
    only_rows: bool
    checkout: str
    used: datetime
    size: int


def labels(recipe: Recipe, root: Path, suite: str, size: int) -> dict[str, str]:
    """What is written on a new one."""
    return _told_by(recipe) | {CHECKOUT: checkout_of(root), SUITE: suite, BYTES: str(size)}


def differs(labels: Mapping[str, str], recipe: Recipe) -> str:
    """The label by which an image is another than a recipe's bake; empty where it is that."""
    return next((name for name, value in _told_by(recipe).items() if labels.get(name) != value), "")


def _told_by(recipe: Recipe) -> dict[str, str]:
    """The labels that every bake of a recipe has, wherever it was made."""
    return {
        BAKE: recipe.hash,
        GROUND: recipe.ground,
        MIGRATIONS: " ".join(recipe.migrations),
        ONLY_ROWS: str(recipe.only_rows).lower(),
    }


def checkout_of(root: Path) -> str:
    """What tells a checkout's bakes from another's."""
    return inputs.digest(root)


def everything() -> list[Shelved]:
    """All baked images of the engine, the last used first."""
    ids = sorted(set(query("image", "ls", "--quiet", "--filter", f"label={BAKE}").stdout.split()))
    found = json.loads(query("image", "inspect", *ids).stdout or "[]") if ids else []
    return sorted((one for raw in found for one in _shelved(raw)), key=lambda one: one.used, reverse=True)


def _shelved(raw: dict) -> Iterator[Shelved]:  # type: ignore[type-arg]  # docker's own
    told = raw["Config"]["Labels"]
    for reference in raw["RepoTags"] or []:
        yield Shelved(
            reference,
            told.get(GROUND, ""),
            tuple(told.get(MIGRATIONS, "").split()),
            told.get(ONLY_ROWS) == "true",
            told.get(CHECKOUT, ""),
            _moment(raw["Metadata"]["LastTagTime"]),
            int(told.get(BYTES, 0)),
        )


def _moment(text: str) -> datetime:
    """RFC 3339 with nanoseconds, of which Python 3.10 reads six digits."""
    return datetime.fromisoformat(f"{text[:19]}+00:00")  # a zone's hours don't matter for days


def best_start(recipe: Recipe, shelved: Iterable[Shelved]) -> Shelved | None:
    """The bake on which fewest migrations are missing, of the same ground: what only rows were added to since its
    migrations can be taken back to them."""
    fit = [
        one
        for one in shelved
        if one.ground == recipe.ground and one.only_rows and is_prefix(one.migrations, recipe.migrations)
    ]
    return max(fit, key=lambda one: len(one.migrations), default=None)


def has(reference: str) -> bool:
    """Whether the engine holds a bake, which is noted as its use: tagged anew, at most once a day."""
    found = json.loads(query("image", "inspect", reference).stdout or "[]")
    if found and datetime.now(timezone.utc) - _moment(found[0]["Metadata"]["LastTagTime"]) > USED_EVERY:
        query("image", "tag", reference, reference)
    return bool(found)


def prune(root: Path, report: Callable[[str], None], *, keep: Collection[str] = (), every: bool = False) -> None:
    """Remove the bakes that had their time, see `outdated`. keep: references that are about to be used.

    every: all of this checkout's. One that a container uses stays.
    """
    # Two users who bake the same at once give it the same name, which only one can have.
    ours = f"label={CHECKOUT}={checkout_of(root)}"
    query("image", "prune", "--force", "--filter", f"label={BAKE}", "--filter", ours)
    for one in outdated(everything(), checkout_of(root), datetime.now(timezone.utc), every=every):
        if one.reference not in keep and query("image", "rm", one.reference).returncode == 0:
            report(f"removing {one.reference}, {one.size / 1e6:.0f} MB")


def outdated(shelved: Iterable[Shelved], checkout: str, now: datetime, *, every: bool = False) -> list[Shelved]:
    """Those not used for 14 days or beyond 4 GB, whoever's they are; of one checkout, those beyond its 6 last used or
    its 2 GB.

    shelved: the last used first.
    """
    found, kept, size, whole = [], 0, 0, 0
    for one in shelved:
        ours = one.checkout == checkout
        kept, size, whole = kept + ours, size + ours * one.size, whole + one.size
        had_their_time = now - one.used > KEPT_FOR or whole > ALL_BYTES
        if had_their_time or (ours and (every or kept > KEPT or size > KEPT_BYTES)):
            found.append(one)
    return found
