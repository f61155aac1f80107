"""What may stand under `x-itest`, and nothing else: an unknown key or a wrong type names file, line and nearest spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from itest.errors import ItestError
from itest.yamlfile import YamlFile

ISOLATIONS = ("delete", "rollback", "truncate", "schema", "clone", "none")
PROBES = ("tcp", "http", "sql", "redis", "exec", "log", "health")
READY_TIMEOUT = 60.0  # seconds a service may take until it is ready, unless its x-itest says otherwise


@dataclass(frozen=True)
class Check:
    """One probe of a service. what: one of PROBES; value: its argument; status and expected: HTTP only."""

    what: str
    value: Any
    status: int = 200
    expected: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.what} {self.value}" if self.what != "exec" else f"exec {' '.join(self.value)}"


def nearest(word: object, known: Iterable[str]) -> str:
    """` (did you mean …?)`, or the list of what is known where nothing is near."""
    options = sorted(known)
    close = difflib.get_close_matches(str(word), options, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(options) or 'none'}"


def wrong(file: YamlFile, keys: tuple[str | int, ...], problem: str, hint: str = "") -> ItestError:
    """A configuration error at a key of a file."""
    return ItestError("usage", f"{file.where(*keys)}: {problem}", hint=hint, cause="config")


def mapping(file: YamlFile, keys: tuple[str | int, ...], value: Any, known: Iterable[str]) -> dict[str, Any]:
    """The value as a mapping whose keys are all known."""
    if not isinstance(value, dict):
        raise wrong(file, keys, f"`{keys[-1]}` must be a mapping, not {_kind(value)}")
    known = tuple(known)
    for key in value:
        if key not in known:
            raise wrong(file, (*keys, str(key)), f"unknown key `{key}` in `{keys[-1]}`", nearest(key, known))
    return value


def strings(file: YamlFile, keys: tuple[str | int, ...], value: Any) -> tuple[str, ...]:
    """A string or a list of strings, as a tuple."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise wrong(file, keys, f"`{keys[-1]}` must be a string or a list of strings, not {_kind(value)}")
    return tuple(items)


def choice(file: YamlFile, keys: tuple[str | int, ...], value: Any, known: Iterable[str]) -> str:
    """One of the known words."""
    known = tuple(known)
    if value not in known:
        raise wrong(file, keys, f"`{keys[-1]}: {value}` is not known", nearest(value, known))
    return str(value)


def number(file: YamlFile, keys: tuple[str | int, ...], value: Any) -> float:
    """A positive number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise wrong(file, keys, f"`{keys[-1]}` must be a positive number, not {_kind(value)}")
    return value


def checks(file: YamlFile, keys: tuple[str | int, ...], value: Any) -> tuple[Check, ...]:
    """`ready:`, one probe or a list of them."""
    items = value if isinstance(value, list) else [value]
    places = [(*keys, index) for index in range(len(items))] if isinstance(value, list) else [keys]
    return tuple(check for place, item in zip(places, items, strict=True) for check in _checks_of(file, place, item))


def _checks_of(file: YamlFile, keys: tuple[str | int, ...], value: Any) -> Iterable[Check]:
    given = mapping(file, keys, value, (*PROBES, "status", "json"))
    names = [name for name in PROBES if name in given]
    if not names:
        raise wrong(file, keys, "`ready` names no probe", f"one of: {', '.join(PROBES)}")
    for extra in ("status", "json"):
        if extra in given and "http" not in given:
            raise wrong(file, (*keys, extra), f"`{extra}` belongs to an `http` probe")
    for name in names:
        place = (*keys, name)
        if name == "tcp":
            number(file, place, given[name])
        elif name == "exec":
            strings(file, place, given[name] if isinstance(given[name], list) else None)
        elif name != "health" and not isinstance(given[name], str):
            raise wrong(file, place, f"`{name}` must be a string, not {_kind(given[name])}")
        status = int(number(file, (*keys, "status"), given.get("status", 200)))
        expected = given.get("json", {})
        if not isinstance(expected, dict):
            raise wrong(file, (*keys, "json"), f"`json` must be a mapping of fields, not {_kind(expected)}")
        yield Check(name, given[name], status, expected)


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: f"`{value}`", bool: f"`{value}`", type(None): "nothing"}
    return names.get(type(value), f"`{value}`")
