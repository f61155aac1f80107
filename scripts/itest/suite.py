"""A suite, read from its env file, its layers and its overlay, and checked in full before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from itest import schema, yamlfile
from itest.compose import Project
from itest.errors import ItestError
from itest.kinds import KINDS
from itest.schema import Check, wrong
from itest.yamlfile import YamlFile

SUITES = Path("compose/suites")
PROFILES = Path("compose/profiles")
SECRET_NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*_(?:PASSWORD|SECRET|TOKEN|KEY))\b")


@dataclass(frozen=True)
class Service:
    """One service of a stack, with what its x-itest says. port: inside the container; timeout: seconds until ready."""

    name: str
    kind: str
    port: int | None
    checks: tuple[Check, ...]
    timeout: float
    depends_on: tuple[str, ...]

    @property
    def stores(self) -> bool:
        return bool(self.kind) and KINDS[self.kind].stores


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
    services: Mapping[str, Service]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved compose configuration. Raises ItestError (usage) where compose refuses the files."""
        return self.project(self.kept_name).config()

    @property
    def secret_names(self) -> set[str]:
        """Variables that the layers read and whose name says that they are secret: a run generates their values."""
        texts = ((self.root / file.path).read_text(encoding="utf-8") for file in self.files)
        return {name for text in texts for name in SECRET_NAME.findall(text)}

    @property
    def stores(self) -> tuple[str, ...]:
        """Services that hold data, and what they depend on: they start first."""
        wanted = [name for name, service in self.services.items() if service.stores]
        for name in wanted:
            wanted.extend(other for other in self.services[name].depends_on if other not in wanted)
        return tuple(wanted)

    def project(self, name: str) -> Project:
        """The compose project of this suite under a name of its own."""
        return Project(name, self.root, tuple(self.root / path for path in self.env_files))


def names(root: Path) -> list[str]:
    """All suites of the repository."""
    return sorted(path.stem for path in (root / SUITES).glob("*.env"))


def load(root: Path, name: str, profile: str = "") -> Suite:
    """Read and check a suite; needs neither engine nor network.

    Raises ItestError (usage) with file, line and nearest right spelling for anything that is wrong.
    """
    if name not in names(root):
        raise ItestError("usage", f"unknown suite {name}", hint=schema.nearest(name, names(root)), cause="suite")
    env_file = SUITES / f"{name}.env"
    files = tuple(yamlfile.read(root, path) for path in _layers(root, env_file))
    overlay = SUITES / f"{name}.yaml"
    for file in files:
        if file.path != overlay and "x-itest" in file.data:
            raise wrong(
                file, ("x-itest",), "top-level `x-itest` belongs to the suite's overlay", f"move it to {overlay}"
            )
    services = _services(files)
    suite = _suite(root, name, env_file, overlay, files, services)
    _refuse_cycles(files, services)
    if not profile:
        return suite
    return _with_profile(suite, profile)


def check(suite: Suite) -> None:
    """Check what only the resolved configuration tells: pinned images, ports that clash. Raises ItestError (usage)."""
    holders: dict[tuple[str, str], str] = {}
    for name, service in suite.config["services"].items():
        if "image" in service and "build" not in service:
            _refuse_unpinned(suite, name, service["image"])
        for port in service.get("ports", []):
            published = str(port.get("published", "") or "")
            if not published or "-" in published:
                continue
            address = (port.get("host_ip", ""), published)
            if address in holders:
                both = f"port {published} is published by `{holders[address]}` and by `{name}`"
                raise _at(suite, name, "ports", both, "give one of them another port, or none for any free one")
            holders[address] = name


def _layers(root: Path, env_file: Path) -> list[Path]:
    """The files that COMPOSE_FILE names."""
    value, line = _variable(root, env_file, "COMPOSE_FILE", "compose/base.yaml:compose/layers/postgres.yaml:…")
    paths = [Path(part) for part in value.split(":") if part]
    for path in paths:
        if not (root / path).is_file():
            near = [str(other.relative_to(root)) for other in (root / "compose").rglob("*.yaml")]
            problem = f"{env_file}:{line}: COMPOSE_FILE names {path}, which does not exist"
            raise ItestError("usage", problem, hint=schema.nearest(path, near), cause="config")
    return paths


def _variable(root: Path, env_file: Path, name: str, example: str) -> tuple[str, int]:
    """A variable of an env file, and its line. Raises ItestError (usage) when it isn't there."""
    for number, line in enumerate((root / env_file).read_text(encoding="utf-8").splitlines(), start=1):
        key, equals, value = line.partition("=")
        if equals and key.strip() == name:
            return _expand(value.strip()), number
    raise ItestError("usage", f"{env_file}: {name} is missing", hint=f"add {name}={example}", cause="config")


def _expand(value: str) -> str:
    """`${NAME}`, `${NAME:-default}` and `${NAME:+value}` as compose expands them in an env file."""

    def replace(found: re.Match[str]) -> str:
        value = os.environ.get(found["name"], "")
        if found["op"] == ":+":
            return _expand(found["word"]) if value else ""
        return value or found["word"] or ""

    inner = re.compile(r"\$\{(?P<name>\w+)(?:(?P<op>:[-+])(?P<word>(?:[^{}]|\$\{[^{}]*\})*))?\}")
    return inner.sub(replace, value.strip("'\""))


def _services(files: Iterable[YamlFile]) -> dict[str, Service]:
    """Every service of the layers, with the x-itest of all files merged key by key, later files winning."""
    said: dict[str, dict[str, Any]] = {}
    depends: dict[str, list[str]] = {}
    for file in files:
        for name, service in (file.data.get("services") or {}).items():
            said.setdefault(name, {})
            depends.setdefault(name, [])
            if not isinstance(service, dict):
                raise wrong(file, ("services", name), f"service `{name}` must be a mapping")
            depends[name].extend(service.get("depends_on") or [])
            if "x-itest" in service:
                said[name].update(_service_keys(file, name, service["x-itest"]))
    return {name: _service(name, said[name], depends[name]) for name in said}


def _service_keys(file: YamlFile, name: str, value: Any) -> dict[str, Any]:
    keys = ("services", name, "x-itest")
    given = schema.mapping(file, keys, value, ("kind", "port", "ready", "timeout"))
    checked: dict[str, Any] = {}
    if "kind" in given:
        checked["kind"] = schema.choice(file, (*keys, "kind"), given["kind"], KINDS)
    if "port" in given:
        checked["port"] = int(schema.number(file, (*keys, "port"), given["port"]))
    if "ready" in given:
        checked["checks"] = schema.checks(file, (*keys, "ready"), given["ready"])
    if "timeout" in given:
        checked["timeout"] = float(schema.number(file, (*keys, "timeout"), given["timeout"]))
    return checked


def _service(name: str, said: Mapping[str, Any], depends_on: Iterable[str]) -> Service:
    kind = said.get("kind", "")
    return Service(
        name=name,
        kind=kind,
        port=said.get("port") or (KINDS[kind].port if kind else None),
        checks=said.get("checks", ()),
        timeout=said.get("timeout", schema.READY_TIMEOUT),
        depends_on=tuple(dict.fromkeys(depends_on)),
    )


def _suite(
    root: Path, name: str, env_file: Path, overlay: Path, files: tuple[YamlFile, ...], services: dict[str, Service]
) -> Suite:
    file = next((file for file in files if file.path == overlay), None)
    if file is None:
        hint = f"append {overlay} to COMPOSE_FILE"
        raise ItestError("usage", f"{env_file}: COMPOSE_FILE does not name {overlay}", hint=hint, cause="config")
    known = ("tests", "migrations", "fixtures", "isolation", "tags", "per_worker")
    said = schema.mapping(file, ("x-itest",), file.data.get("x-itest", {}), known)
    isolation = schema.choice(file, ("x-itest", "isolation"), said.get("isolation", "delete"), schema.ISOLATIONS)
    if isolation not in ("delete", "none"):
        problem = f"isolation `{isolation}` is not available yet"
        raise wrong(file, ("x-itest", "isolation"), problem, "use `delete` (the default) or `none`")
    per_worker = schema.strings(file, ("x-itest", "per_worker"), said.get("per_worker", []))
    for service in per_worker:
        if service not in services:
            problem = f"`per_worker` names `{service}`, which is no service of this suite"
            raise wrong(file, ("x-itest", "per_worker"), problem, schema.nearest(service, services))
    return Suite(
        name=name,
        root=root,
        kept_name=_variable(root, env_file, "COMPOSE_PROJECT_NAME", f"itest-{name}")[0],
        env_files=(env_file,),
        files=files,
        tests=_folders(root, file, "tests", said.get("tests", f"tests/{name}"))[0],
        migrations=_folders(root, file, "migrations", said.get("migrations", [])),
        fixtures=_folders(root, file, "fixtures", said.get("fixtures", [])),
        isolation=isolation,
        tags=schema.strings(file, ("x-itest", "tags"), said.get("tags", [])),
        per_worker=per_worker,
        services=services,
    )


def _folders(root: Path, file: YamlFile, key: str, value: Any) -> tuple[Path, ...]:
    keys = ("x-itest", key)
    folders = tuple(Path(item) for item in schema.strings(file, keys, value))
    for folder in folders:
        if not (root / folder).resolve().is_relative_to(root.resolve()):
            raise wrong(file, keys, f"`{key}: {folder}` is outside the repository")
        if not (root / folder).is_dir():
            near = [str(path.relative_to(root)) for path in (root / folder.parts[0]).glob("*/")]
            raise wrong(file, keys, f"`{key}: {folder}` is no folder", schema.nearest(folder, near))
    return folders


def _with_profile(suite: Suite, profile: str) -> Suite:
    from dataclasses import replace

    path = PROFILES / f"{profile}.env"
    if not (suite.root / path).is_file():
        known = [path.stem for path in (suite.root / PROFILES).glob("*.env")]
        raise ItestError("usage", f"unknown profile {profile}", hint=schema.nearest(profile, known), cause="profile")
    return replace(suite, env_files=(*suite.env_files, path))


def _refuse_cycles(files: Iterable[YamlFile], services: Mapping[str, Service]) -> None:
    def line(name: str, on: str) -> tuple[YamlFile, tuple[str, ...]]:
        for file in files:
            if ("services", name, "depends_on") in file.lines:
                return file, ("services", name, "depends_on", on)
        raise AssertionError(f"{name} depends on {on} in no file")

    for name, service in services.items():
        for other in service.depends_on:
            if other not in services:
                problem = f"`{name}` depends on `{other}`, which no layer of this suite has"
                raise wrong(*line(name, other), problem, schema.nearest(other, services))
    try:
        TopologicalSorter({name: service.depends_on for name, service in services.items()}).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        problem = f"dependency cycle: {' → '.join(cycle)}"
        raise wrong(*line(cycle[0], cycle[1]), problem, "remove one of these depends_on") from error


def _refuse_unpinned(suite: Suite, name: str, image: str) -> None:
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        problem = f"image `{image}` of `{name}` is not pinned"
        raise _at(suite, name, "image", problem, "name an exact version, such as postgres:17.11, or a digest")


def _at(suite: Suite, service: str, key: str, problem: str, hint: str) -> ItestError:
    for file in reversed(suite.files):
        if ("services", service, key) in file.lines:
            return wrong(file, ("services", service, key), problem, hint)
    return ItestError("usage", f"suite {suite.name}: {problem}", hint=hint, cause="config")
