"""What a baked database is made of, as one hash: all that a start without a bake would make it of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itest.bake import clocks
from itest.data import sqlsplit
from itest.data.data import Plan
from itest.images import inputs
from itest.images.needs import TAG_LENGTH
from itest.suite.envfile import VARIABLE
from itest.suite.suite import Suite
from itest.verdict.mask import is_distinct, is_secret_key

REPOSITORY = "itest/bake"
PACKAGE = Path(__file__).resolve().parents[1]
CODE = ("bake", "data")  # what of the toolkit itself shapes a bake
SETTINGS = ("command", "user", "tmpfs", "working_dir")  # of a service, that its data may depend on
# How statements begin that change rows and nothing else; pg_dump also writes SELECT setval(…) and set_config(…).
ROWS = ("INSERT", "UPDATE", "DELETE", "WITH", "SELECT", "SET")


class Unbakable(Exception):
    """Why a service starts without a bake, in words for a person; an edit that mends it included."""


class Aging(Unbakable):
    """Its rows hold the time at which they were written: a bake of it would be as stale as it is old."""


@dataclass(frozen=True)
class Recipe:
    """One PostgreSQL service's data.

    variable: by which its layer lets another image be chosen. base: the image that it would start from; base_id: what
    that is now. ground: a hash of all that comes before the first migration. migrations: each one's version and
    checksum, in order. only_rows: its fixtures change nothing but rows. hash: of it all.
    """

    service: str
    variable: str
    base: str
    base_id: str
    ground: str
    migrations: tuple[str, ...]
    only_rows: bool
    hash: str

    @property
    def reference(self) -> str:
        """The image's name, of which the tag is the content."""
        return f"{REPOSITORY}/{self.service}:{self.hash[:TAG_LENGTH]}"


def recipe(suite: Suite, plan: Plan, service: str, base_id: str) -> Recipe:
    """What a service's bake is made of, from the files as they are now. Raises Unbakable.

    base_id: of the image that the service would start from.
    """
    config = suite.config["services"][service]
    if config.get("entrypoint"):
        raise Unbakable(f"its layer replaces the image's entrypoint; drop `entrypoint` from {service}")
    if suite.services[service].depends_on:
        raise Unbakable(f"it depends on {', '.join(suite.services[service].depends_on)}")
    _refuse_clocks(plan)
    code = inputs.digest_of_files((file for name in CODE for file in (PACKAGE / name).glob("*.[ps][yh]")), PACKAGE)
    ground = inputs.digest(base_id, code, suite.isolation, _settings(config, _secrets(suite)), *_mounted(suite, config))
    migrations = tuple(f"{one.version}:{one.checksum[:16]}" for one in plan.migrations)
    return Recipe(
        service=service,
        variable=variable(suite, service),
        base=config["image"],
        base_id=base_id,
        ground=ground,
        migrations=migrations,
        only_rows=_only_rows(plan),
        hash=inputs.digest(ground, service, plan.fingerprint),
    )


def variable(suite: Suite, service: str) -> str:
    """The variable by which a layer's `image: ${POSTGRES_IMAGE:-…}` lets another one be chosen. Raises Unbakable."""
    written = [file.data.get("services", {}).get(service, {}).get("image") for file in suite.files]
    image = next((text for text in reversed(written) if text), "")
    match = VARIABLE.fullmatch(image)
    if match is None or not match["name"]:
        name = f"{service.upper().replace('-', '_')}_IMAGE"
        raise Unbakable(f"its image can't be chosen; write `image: ${{{name}:-{image}}}`")
    others = [
        other
        for file in suite.files
        for other, one in file.data.get("services", {}).items()
        if other != service and f"${{{match['name']}" in str(one.get("image", ""))
    ]
    if others:
        raise Unbakable(f"{match['name']} chooses the image of {others[0]} too; give each a variable of its own")
    return match["name"]


def _secrets(suite: Suite) -> Mapping[str, str]:
    """The values that this run made up, which are in no bake and therefore in no hash."""
    given = {os.environ[name]: f"<{name}>" for name in suite.secret_names if is_distinct(os.environ.get(name, ""))}
    return dict(sorted(given.items()))


def _settings(config: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    environment = {
        name: bool(value) if is_secret_key(name) else value for name, value in (config.get("environment") or {}).items()
    }
    told = json.dumps([environment, *(config.get(name) for name in SETTINGS)], sort_keys=True, default=str)
    for value, name in secrets.items():
        told = told.replace(value, name)
    return told


def _mounted(suite: Suite, config: Mapping[str, Any]) -> Iterator[str]:
    """Init scripts, configuration and whatever else is mounted, by content; of secrets only that they are there."""
    for mount in config.get("volumes") or []:
        yield f"{mount['type']} {mount['target']}"
        if mount["type"] == "bind":
            yield _content(Path(mount["source"]))
    for used in config.get("configs") or []:
        source = (suite.config.get("configs") or {}).get(used["source"], {})
        yield f"config {used.get('target')}"
        yield _content(Path(source["file"])) if "file" in source else json.dumps(source, sort_keys=True)
    yield from (f"secret {used['source']}" for used in config.get("secrets") or [])


def _content(path: Path) -> str:
    try:
        files = [file for file in path.rglob("*") if not file.is_dir()] if path.is_dir() else [path]
        return inputs.digest_of_files(files, path if path.is_dir() else path.parent)
    except OSError as error:
        raise Unbakable(f"its mount {path} can't be read: {error.strerror}") from error


def _refuse_clocks(plan: Plan) -> None:
    for one in plan.fixtures:
        if one.kind == "postgres" and (told := clocks.in_fixture(one.file)):
            raise Aging(f"{told}, and its rows would age; write fixed times, or set BAKE=0")


def _only_rows(plan: Plan) -> bool:
    """Whether the fixtures can't have changed the schema, so that the database can go back to what was migrated."""
    return all(
        sqlsplit.opening(one.file.text[piece], 1) in ROWS
        for one in plan.fixtures
        if one.file.path.suffix.lower() == ".sql"
        for piece in sqlsplit.statements(one.file.text)
    )


def is_prefix(shorter: Sequence[str], longer: Sequence[str]) -> bool:
    """Whether a list of migrations is how a longer one, or the same, begins."""
    return list(shorter) == list(longer[: len(shorter)])
