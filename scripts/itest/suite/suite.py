"""A suite, read from its env file, its layers and its overlay, and checked in full before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from itest.compose import Project
from itest.doors import DOOR
from itest.errors import ItestError
from itest.suite import egress, envfile, profiles, resolved, schema, services, variables, yamlfile
from itest.suite.egress import Egress
from itest.suite.envfile import EnvFile
from itest.suite.profiles import PROFILES as PROFILES
from itest.suite.resolved import Layers
from itest.suite.schema import wrong
from itest.suite.services import Service
from itest.suite.yamlfile import YamlFile

__all__ = ["Service", "Suite", "check", "load", "names"]

SUITES = Path("compose/suites")
DEFAULTS: Mapping[str, Any] = {  # of the overlay's x-itest, which may hold no other keys
    "tests": "",  # tests/<suite>
    "migrations": [],
    "fixtures": [],
    "isolation": "delete",
    "tags": [],
    "per_worker": [],
    "faults": [],
    "egress": [],
}
PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # what compose takes
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
SECRET_NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*_(?:PASSWORD|SECRET|TOKEN|KEY))\b")


@dataclass(frozen=True)
class Suite:
    """A suite of tests and the stack that it needs. Paths are relative to root."""

    name: str
    root: Path
    kept_name: str  # of the compose project by hand; a run makes its own
    env_files: tuple[Path, ...]
    files: tuple[YamlFile, ...]
    tests: Path
    migrations: tuple[Path, ...]
    fixtures: tuple[Path, ...]
    isolation: str
    tags: tuple[str, ...]
    per_worker: tuple[str, ...]
    faults: tuple[str, ...]  # services whose sidecars stand from the start
    egress: Egress
    services: Mapping[str, Service]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved compose configuration.

        Raises ItestError (usage) where compose refuses the files, or would read an unset variable as nothing.
        """
        variables.refuse_unset(self.root, self.env_files, self.files)
        try:
            return self.project(self.kept_name).config()
        except ItestError as error:
            blamed = variables.blamed(self.root, self.env_files, self.files, error)
            raise blamed or resolved.located(self.layers, error) from error

    @property
    def layers(self) -> Layers:
        return Layers(self.root, self.files, self.services)

    @property
    def secret_names(self) -> set[str]:
        """Variables that the layers read and whose name says that they are secret: a run generates their values."""
        return {name for text in self.texts for name in SECRET_NAME.findall(text)}

    @property
    def variables(self) -> set[str]:
        """Every variable that the layers read."""
        return {name for text in self.texts for name in VARIABLE.findall(text)}

    @property
    def texts(self) -> list[str]:
        """The compose files as they are written."""
        return [(self.root / file.path).read_text(encoding="utf-8") for file in self.files]

    @property
    def stores(self) -> tuple[str, ...]:
        """Services that hold data, and what they depend on: they start first. So does the door that leads to them."""
        wanted = [name for name, service in self.services.items() if service.stores]
        for name in wanted:
            wanted.extend(other for other in self.services[name].depends_on if other not in wanted)
        return (*wanted, *(name for name in (DOOR,) if wanted and name in self.services))

    def project(self, name: str, images: Mapping[str, str] | None = None) -> Project:
        """The compose project of this suite under a name of its own. images: variable -> another image, see Project."""
        return Project(name, self.root, tuple(self.root / path for path in self.env_files), images=images or {})


def names(root: Path) -> list[str]:
    """All suites of the repository."""
    return sorted(path.stem for path in (root / SUITES).glob("*.env") if not path.name.startswith("."))


def load(root: Path, name: str, profile: str = "") -> Suite:
    """Read and check a suite; needs neither engine nor network.

    Raises ItestError (usage) with file, line and nearest right spelling for anything that is wrong.
    """
    if name not in names(root):
        parts = name.split()
        hint = schema.nearest(name, names(root))
        if len(parts) > 1 and set(parts) <= set(names(root)):
            hint = f"separate suites by commas: SUITE={','.join(parts)}"
        if (root / SUITES / f"{name}.yaml").is_file():
            hint = f"it has an overlay; {SUITES / f'{name}.env'}, which names its layers, is missing"
        raise ItestError("usage", f"unknown suite {name}", hint=hint, cause="suite")
    env_file = envfile.read(root, SUITES / f"{name}.env")
    project = _project_name(root, name, env_file)
    chosen = profiles.read(root, profile)
    paths = _layers(root, env_file, env_file.get("COMPOSE_FILE", "compose/base.yaml:compose/layers/postgres.yaml:…"))
    if chosen and (added := profiles.more(chosen)):
        paths += _layers(root, chosen, added)
    files = tuple(yamlfile.read(root, path) for path in paths)
    overlay = _overlay(name, env_file, files)
    members = services.read(files)
    said = _x_itest(name, overlay, members)
    return Suite(
        name=name,
        root=root,
        kept_name=project,
        env_files=(env_file.path, *([chosen.path] if chosen else [])),
        files=files,
        tests=_tests(root, overlay, name, said["tests"]),
        migrations=_folders(root, overlay, "migrations", said["migrations"]),
        fixtures=_folders(root, overlay, "fixtures", said["fixtures"]),
        isolation=said["isolation"],
        tags=said["tags"],
        per_worker=said["per_worker"],
        faults=said["faults"],
        egress=said["egress"],
        services=members,
    )


def check(suite: Suite) -> None:
    """Check what only the resolved configuration tells, such as pinned images and ports. Raises ItestError (usage)."""
    resolved.check(suite.layers, suite.config)
    egress.check(suite.layers, suite.config)


def _project_name(root: Path, name: str, env_file: EnvFile) -> str:
    """COMPOSE_PROJECT_NAME, which no other suite may have: it would be the same stack."""
    project = env_file.get("COMPOSE_PROJECT_NAME", f"itest-{name}")
    if not PROJECT_NAME.fullmatch(project):
        hint = "lower-case letters, digits, - and _, beginning with a letter or a digit"
        raise env_file.wrong("COMPOSE_PROJECT_NAME", f"is `{project}`, which compose refuses", hint)
    if not PROJECT_NAME.fullmatch(name):
        problem = f"suite {name}: a suite's name is part of its stack's, so it is lower-case letters, digits, - and _"
        raise ItestError("usage", problem, hint=f"git mv {env_file.path} {SUITES / name.lower()}.env", cause="suite")
    for other in names(root):
        if other != name and envfile.read(root, SUITES / f"{other}.env").values.get("COMPOSE_PROJECT_NAME") == project:
            raise env_file.wrong("COMPOSE_PROJECT_NAME", f"is {project}, as in suite {other}", f"make it itest-{name}")
    return project


def _layers(root: Path, env_file: EnvFile, named: str) -> list[Path]:
    """The files that COMPOSE_FILE names, in an env file whose value of it is given."""
    paths: list[Path] = []
    for part in named.split(":"):
        if not part:
            raise env_file.wrong("COMPOSE_FILE", "has an empty entry", "one `:` between two files, none at the end")
        if not (root / part).is_file():
            near = [str(other.relative_to(root)) for other in (root / "compose").rglob("*.yaml")]
            hint = "separate the files by `:`" if re.search("[,; ]", part.strip()) else schema.nearest(part, near)
            raise env_file.wrong("COMPOSE_FILE", f"names `{part}`, which does not exist", hint)
        if Path(part) in paths:
            raise env_file.wrong("COMPOSE_FILE", f"names {part} twice", "keep one of them")
        paths.append(Path(part))
    return paths


def _overlay(name: str, env_file: EnvFile, files: Iterable[YamlFile]) -> YamlFile:
    """The suite's own file among its layers, the only one that may have an x-itest at top level."""
    path = SUITES / f"{name}.yaml"
    overlay = next((file for file in files if file.path == path), None)
    if overlay is None:
        raise env_file.wrong("COMPOSE_FILE", f"does not name {path}", "end COMPOSE_FILE with it")
    for file in files:
        if file != overlay and "x-itest" in file.data:
            problem = "top-level `x-itest` belongs to the suite's overlay"
            raise wrong(file, ("x-itest",), problem, f"move it to {path}")
    return overlay


def _x_itest(name: str, file: YamlFile, members: Mapping[str, Service]) -> dict[str, Any]:
    """What the overlay says, with the defaults of what it leaves out; folders are not looked at yet."""
    given = schema.mapping(file, ("x-itest",), file.data.get("x-itest", {}), DEFAULTS)
    said = {**DEFAULTS, "tests": f"tests/{name}", **given}
    schema.string(file, ("x-itest", "tests"), said["tests"])
    for key in ("migrations", "fixtures", "tags", "per_worker", "faults"):
        said[key] = schema.strings(file, ("x-itest", key), said[key])
    schema.choice(file, ("x-itest", "isolation"), said["isolation"], schema.ISOLATIONS)
    said["egress"] = egress.read(file, ("x-itest", "egress"), said["egress"])
    for key in ("per_worker", "faults"):
        for member in said[key]:
            if member not in members:
                problem = f"`{key}` names `{member}`, which is no service of this suite"
                raise wrong(file, ("x-itest", key), problem, schema.nearest(member, members))
    return said


def _folders(root: Path, file: YamlFile, key: str, given: Iterable[str]) -> tuple[Path, ...]:
    return tuple(_folder(root, file, key, folder) for folder in given)


def _tests(root: Path, file: YamlFile, name: str, given: str) -> Path:
    """The folder of tests, which somebody who makes a suite may not have made yet."""
    default = f"tests/{name}"
    if given == default and not (root / default).exists():
        raise wrong(file, ("x-itest", "tests"), f"`tests: {default}` is no folder", f"mkdir {default}")
    return _folder(root, file, "tests", given)


def _folder(root: Path, file: YamlFile, key: str, given: str) -> Path:
    folder, keys = Path(given), ("x-itest", key)
    try:
        inside = Path(os.path.realpath(root / folder)).is_relative_to(os.path.realpath(root))
        there = (root / folder).is_dir()
    except (OSError, ValueError) as error:  # a name that no file system takes
        raise wrong(file, keys, f"`{key}: {given}` is no folder: {error}") from error
    if not inside:
        raise wrong(file, keys, f"`{key}: {given}` is outside the repository", "paths in x-itest begin at its root")
    if not there:
        tops = sorted({key, folder.parts[0]})
        near = [path.relative_to(root).as_posix() for top in tops for path in (root / top).glob("[!._]*/")]
        raise wrong(file, keys, f"`{key}: {given}` is no folder", schema.nearest(given, near))
    return folder
