"""The services of a stack, from all its layers: what their x-itest says, merged, and what they depend on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from itest.errors import ItestError
from itest.suite import schema
from itest.suite.kinds import KINDS
from itest.suite.schema import Check, wrong, wrong_in
from itest.suite.yamlfile import Keys, YamlFile

COMPLETED = "service_completed_successfully"
NEEDS_KIND = {"sql": "postgres", "redis": "redis"}  # probe -> the kind whose address it uses


@dataclass(frozen=True)
class Service:
    """One service of a stack, with what its x-itest says. port: inside the container; timeout: seconds until ready.

    ends: a one-shot, which others wait for by `condition: service_completed_successfully`. baggage: it passes on the
    header of that name, by which a mock knows whose its calls are.
    """

    name: str
    kind: str
    port: int | None
    checks: tuple[Check, ...]
    timeout: float
    depends_on: tuple[str, ...]
    ends: bool = False
    baggage: bool = False

    @property
    def stores(self) -> bool:
        return bool(self.kind) and KINDS[self.kind].stores


@dataclass
class _Said:
    """What the layers say of one service. depends_on: the other service -> where that is said last."""

    x_itest: dict[str, Any] = field(default_factory=dict)
    depends_on: dict[str, tuple[YamlFile, Keys]] = field(default_factory=dict)


def read(files: Sequence[YamlFile]) -> dict[str, Service]:
    """Every service of the layers, with the x-itest of all files merged key by key, later files winning.

    Raises ItestError (usage) with file and line for whatever is wrong.
    """
    said: dict[str, _Said] = {}
    for file in files:
        refuse_near_misses(file, (), file.data)
        for name, service in _mappings(file):
            keys = ("services", name)
            refuse_near_misses(file, keys, service)
            one = said.setdefault(name, _Said())
            if "x-itest" in service:
                one.x_itest |= _checked(file, (*keys, "x-itest"), service["x-itest"])
            for other, place in _dependencies(file, (*keys, "depends_on"), service.get("depends_on")):
                one.depends_on[other] = (file, place)
    ending = {other for file in files for other in _awaited(file)}
    services = {name: _service(files, name, one, ends=name in ending) for name, one in said.items()}
    _refuse_cycles(said)
    return services


def refuse_near_misses(file: YamlFile, keys: Keys, value: Mapping[str, Any]) -> None:
    """Compose takes any key that begins with `x-`, so a misspelt `x-itest` would mean nothing at all, silently."""
    for key in value:
        if key != "x-itest" and str(key).startswith("x-") and difflib.get_close_matches(str(key), ["x-itest"], 1, 0.8):
            raise wrong(file, (*keys, str(key)), f"unknown key `{key}`", "did you mean `x-itest`?")


def _mappings(file: YamlFile) -> Iterator[tuple[str, dict[str, Any]]]:
    services = file.data.get("services", {})
    if not isinstance(services, dict):
        raise wrong(file, ("services",), f"`services` must be a mapping, not {schema.described(services)}")
    for name, service in services.items():
        keys = ("services", str(name))
        if not isinstance(name, str):
            raise wrong(file, keys, f"service `{name}` must have a name that is a string", f'quote it: "{name}"')
        if not isinstance(service, dict):
            raise wrong(file, keys, f"service `{name}` must be a mapping, not {schema.described(service)}")
        yield name, service


def _dependencies(file: YamlFile, keys: Keys, value: Any) -> Iterator[tuple[str, Keys]]:
    if isinstance(value, dict):
        for name in value:
            yield str(name), (*keys, str(name))
    elif isinstance(value, list):
        for index, name in enumerate(value):
            yield schema.string(file, (*keys, index), name), (*keys, index)
    elif value is not None:
        hint = f"such as: depends_on: [{value}]" if isinstance(value, str) else ""
        raise wrong(file, keys, f"`depends_on` must be a list or a mapping, not {schema.described(value)}", hint)


def _awaited(file: YamlFile) -> Iterator[str]:
    """Services that others wait for until they have ended well."""
    for _, service in _mappings(file):
        conditions = service.get("depends_on")
        for name, one in conditions.items() if isinstance(conditions, dict) else ():
            if isinstance(one, dict) and one.get("condition") == COMPLETED:
                yield str(name)


def _checked(file: YamlFile, keys: Keys, value: Any) -> dict[str, Any]:
    given = schema.mapping(file, keys, value, ("kind", "port", "ready", "timeout", "baggage"))
    checked: dict[str, Any] = {}
    if "kind" in given:
        checked["kind"] = schema.choice(file, (*keys, "kind"), given["kind"], KINDS)
    if "port" in given:
        checked["port"] = schema.port(file, (*keys, "port"), given["port"])
    if "ready" in given:
        checked["ready"] = schema.checks(file, (*keys, "ready"), given["ready"])
    if "timeout" in given:
        checked["timeout"] = float(schema.number(file, (*keys, "timeout"), given["timeout"]))
    if "baggage" in given:
        checked["baggage"] = schema.truth(file, (*keys, "baggage"), given["baggage"])
    return checked


def _service(files: Sequence[YamlFile], name: str, said: _Said, *, ends: bool) -> Service:
    """The service that the layers describe together. Raises ItestError (usage) for what doesn't go together."""
    x_itest, keys = said.x_itest, ("services", name, "x-itest")
    kind: str = x_itest.get("kind", "")
    port: int | None = x_itest.get("port") or (KINDS[kind].port if kind else None)
    checks: tuple[Check, ...] = x_itest.get("ready", ())
    if kind and port is None:
        raise wrong_in(files, (*keys, "kind"), f"`{name}` is of kind {kind}, so it needs a port", "add `port: 8000`")
    for check in checks:
        needed = NEEDS_KIND.get(check.what, kind)
        if kind != needed:
            problem = f"the probe `{check.what}` needs `kind: {needed}`"
            raise wrong_in(files, (*keys, "ready"), problem, f"add it to the x-itest of `{name}`")
        if check.what == "http" and port is None:
            raise wrong_in(files, (*keys, "ready"), "the probe `http` needs a port", f"add `port:` to `{name}`")
    timeout = x_itest.get("timeout", schema.READY_TIMEOUT)
    return Service(name, kind, port, checks, timeout, tuple(said.depends_on), ends, x_itest.get("baggage", False))


def _refuse_cycles(said: Mapping[str, _Said]) -> None:
    for name, one in said.items():
        for other, place in one.depends_on.items():
            if other not in said:
                problem = f"`{name}` depends on `{other}`, which no layer of this suite has"
                raise wrong(*place, problem, schema.nearest(other, said))
    try:
        TopologicalSorter({name: one.depends_on for name, one in said.items()}).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        place = said[cycle[0]].depends_on[cycle[1]]
        problem = f"{place[0].where(*place[1])}: dependency cycle: {' → '.join(cycle)}"
        raise ItestError("usage", problem, hint="remove one of these depends_on", cause="cycle") from error
