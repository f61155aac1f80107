"""The places of a JSON document: a JSONPath for each value, and which of them the rules' JSONPaths mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from itest.mock import jsonpath
from itest.recording.rules import TREATMENTS, Rules, Treatment

PLAIN = re.compile(r"[^\W\d][\w-]*")  # a name that a JSONPath needs no quotes for


def leaves(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """(JSONPath, value) of every text and number."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, path + step_to(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    elif value is not None and not isinstance(value, bool) and value != "":
        yield path, value


def step_to(name: str) -> str:
    """The step of a JSONPath to a field."""
    return f".{name}" if PLAIN.fullmatch(name) else f"[{json.dumps(name, ensure_ascii=False)}]"


def fields(value: Any) -> Iterator[str]:
    """The name of every field, at any depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from fields(inner)


def meant(value: Any, rules: Rules) -> dict[str, Treatment]:
    """What the rules' JSONPaths say of which leaf; what holds others stands for all of these."""
    found: dict[str, Treatment] = {}
    for treatment in reversed(TREATMENTS):  # the first counts
        for path in rules.of(treatment, "json"):
            for shadow in jsonpath.find(path, _shadow(value, "$")):
                found |= {leaf.path: treatment for leaf in _below(shadow)}
    return found


class _Place:
    """A leaf that knows where it is, and equals what it holds, for filters."""

    def __init__(self, path: str, value: Any) -> None:
        self.path, self.value = path, value

    def __eq__(self, other: object) -> bool:
        return bool(self.value == other)

    __hash__ = None  # type: ignore[assignment]


def _shadow(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {name: _shadow(inner, path + step_to(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shadow(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
    return _Place(path, value)


def _below(shadow: Any) -> Iterator[_Place]:
    if isinstance(shadow, _Place):
        yield shadow
    else:
        for inner in shadow.values() if isinstance(shadow, dict) else shadow:
            yield from _below(inner)
