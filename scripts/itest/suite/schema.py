"""What may stand under `x-itest`: an unknown key or a wrong type names file, line and the nearest right spelling."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from itest.errors import ItestError
from itest.suite.yamlfile import Keys, YamlFile

ISOLATIONS = ("delete", "rollback", "truncate", "schema", "clone", "none")
PROBES = ("tcp", "http", "sql", "redis", "amqp", "exec", "log", "health")
ONLY_VALUE = {"redis": ("ping",), "amqp": ("open",), "health": ("healthy",)}  # of the probes that leave no choice
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


def nearest(word: object, known: Iterable[object]) -> str:
    """`did you mean …?`, or the list of what is known where nothing is near."""
    options = sorted(map(str, known))
    close = difflib.get_close_matches(str(word), options, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(options) or 'none'}"


def wrong(file: YamlFile, keys: Keys, problem: str, hint: str = "") -> ItestError:
    """A configuration error at a key of a file, on one line whatever the value holds that it quotes."""
    line = problem.replace("\n", "\\n")
    return ItestError("usage", f"{file.where(*keys)}: {line}", hint=hint, cause="config")


def wrong_in(files: Sequence[YamlFile], keys: Keys, problem: str, hint: str = "") -> ItestError:
    """A configuration error at a key that several files may give: at the last, which counts; else at its parent."""
    for depth in range(len(keys), 0, -1):
        for file in reversed(files):
            if keys[:depth] in file.lines:
                return wrong(file, keys, problem, hint)
    return ItestError("usage", f"{files[-1].path}: {problem}", hint=hint, cause="config")


def truth(file: YamlFile, keys: Keys, value: Any) -> bool:
    """The value as true or false."""
    if not isinstance(value, bool):
        raise wrong(file, keys, f"`{keys[-1]}` must be true or false, not {described(value)}")
    return value


def mapping(file: YamlFile, keys: Keys, value: Any, known: Iterable[str]) -> dict[str, Any]:
    """The value as a mapping whose keys are all known."""
    if not isinstance(value, dict):
        raise wrong(file, keys, f"`{keys[-1]}` must be a mapping, not {described(value)}")
    known = tuple(known)
    for key in value:
        if key not in known:
            raise wrong(file, (*keys, str(key)), f"unknown key `{key}` in `{keys[-1]}`", nearest(key, known))
    return value


def string(file: YamlFile, keys: Keys, value: Any) -> str:
    """A string that isn't empty."""
    if not isinstance(value, str) or not value:
        raise wrong(file, keys, f"`{_name(keys)}` must be a string, not {described(value)}")
    return value


def strings(file: YamlFile, keys: Keys, value: Any) -> tuple[str, ...]:
    """A string or a list of strings, as a tuple."""
    if isinstance(value, list):
        return tuple(string(file, (*keys, index), item) for index, item in enumerate(value))
    if not isinstance(value, str) or not value:
        raise wrong(file, keys, f"`{keys[-1]}` must be a string or a list of strings, not {described(value)}")
    return (value,)


def choice(file: YamlFile, keys: Keys, value: Any, known: Iterable[str]) -> str:
    """One of the known words."""
    known = tuple(known)
    if not isinstance(value, str):
        raise wrong(file, keys, f"`{keys[-1]}` must be one word, not {described(value)}", f"one of: {', '.join(known)}")
    if value not in known:
        raise wrong(file, keys, f"`{keys[-1]}: {value}` is not known", nearest(value, known))
    return value


def number(file: YamlFile, keys: Keys, value: Any) -> float:
    """A positive number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise wrong(file, keys, f"`{keys[-1]}` must be a positive number, not {described(value)}")
    return value


def integer(file: YamlFile, keys: Keys, value: Any, low: int, high: int) -> int:
    """A whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(file, keys, f"`{keys[-1]}` must be a whole number from {low} to {high}, not {described(value)}")
    return value


def port(file: YamlFile, keys: Keys, value: Any) -> int:
    """The number of a port."""
    return integer(file, keys, value, 1, 65535)


def checks(file: YamlFile, keys: Keys, value: Any) -> tuple[Check, ...]:
    """`ready:`, one probe or a list of them."""
    items = value if isinstance(value, list) else [value]
    places = [(*keys, index) for index in range(len(items))] if isinstance(value, list) else [keys]
    return tuple(check for place, item in zip(places, items, strict=True) for check in _checks_of(file, place, item))


def described(value: Any) -> str:
    """What a value is, in words for a message."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or value == "":
        return "nothing" if value is None else "an empty string"
    if isinstance(value, (str, bool)):
        return shorten(json.dumps(value, ensure_ascii=False), 60)  # 8000 and "8000" are not the same
    return f"`{value}`"


def _checks_of(file: YamlFile, keys: Keys, value: Any) -> Iterable[Check]:
    where = keys if isinstance(keys[-1], str) else keys[:-1]
    if not isinstance(value, dict):
        raise wrong(file, keys, f"`{where[-1]}` must hold probes such as `{{tcp: 7777}}`, not {described(value)}")
    for key in value:
        if key not in (*PROBES, "status", "json"):
            raise wrong(file, (*keys, str(key)), f"unknown probe `{key}`", nearest(key, PROBES))
    names = [name for name in PROBES if name in value]
    if not names:
        raise wrong(file, keys, f"`{where[-1]}` names no probe", f"one of: {', '.join(PROBES)}")
    for extra in ("status", "json"):
        if extra in value and "http" not in value:
            raise wrong(file, (*keys, extra), f"`{extra}` belongs to an `http` probe")
    status = integer(file, (*keys, "status"), value.get("status", 200), 100, 599)
    expected = value.get("json", {})
    if not isinstance(expected, dict):
        raise wrong(file, (*keys, "json"), f"`json` must be a mapping of fields, not {described(expected)}")
    for name in names:
        argument = _argument(file, (*keys, name), name, value[name])
        yield Check(name, argument, status, expected) if name == "http" else Check(name, argument)


def _argument(file: YamlFile, keys: Keys, probe: str, value: Any) -> Any:
    """What a probe is given, checked as far as it can be before anything runs."""
    if probe == "tcp":
        return port(file, keys, value)
    if probe == "exec":
        if not isinstance(value, list) or not value:
            raise wrong(file, keys, f"`exec` must be a list, not {described(value)}", "such as: [test, -e, /tmp/ready]")
        return list(strings(file, keys, value))
    if probe in ONLY_VALUE:
        return choice(file, keys, value, ONLY_VALUE[probe])
    text = string(file, keys, value)
    if probe == "http" and not text.startswith("/"):
        raise wrong(file, keys, f"`http: {text}` must be a path", "such as: /health/ready")
    if probe == "log":
        try:
            re.compile(text)
        except re.error as error:
            raise wrong(file, keys, f"`log` is no regular expression: {error}") from error
    return text


def _name(keys: Keys) -> str:
    """The last key that is a word, with the index that follows it: `tags[1]`."""
    return str(keys[-1]) if isinstance(keys[-1], str) else f"{keys[-2]}[{keys[-1]}]"
