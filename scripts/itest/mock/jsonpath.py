"""JSONPath, the part of RFC 9535 that stubs need: names, indexes, wildcards, descendants, filters with one comparison.

Source: https://www.rfc-editor.org/rfc/rfc9535
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

NAME = r"[^\W\d][\w-]*"
STEP = re.compile(
    rf"(?P<deep>\.\.)?(?:(?P<every>\.?\[\*\]|\.\*|(?<=\.\.)\*)|\.?\[(?P<index>-?\d+)\]"
    r"""|\.?\[(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]"""
    r"|\.?\[\?\(?\s*@(?P<inner>(?:[\w.\-*]|\[[^\]]*\])*)\s*(?:(?P<compare>==|!=|<=|>=|<|>)\s*(?P<literal>[^\])]+?))?\s*\)?\]"
    rf"|(?:\.|(?<=\.\.))(?P<name>{NAME}))"
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class JsonPathError(ValueError):
    """The expression isn't one; its text says from where on."""


@dataclass(frozen=True)
class Step:
    """One step down. deep: at any depth; pick: what it takes from a value."""

    deep: bool
    pick: Callable[[Any], Iterable[Any]]


def find(path: str, data: Any) -> list[Any]:
    """Every value that a path leads to, in the document's order. Raises JsonPathError."""
    found = [data]
    for step in steps(path):
        sources = (below for value in found for below in _descend(value)) if step.deep else iter(found)
        found = [value for source in sources for value in step.pick(source)]
    return found


@lru_cache(maxsize=1024)
def steps(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises JsonPathError where it can't be read."""
    if not path.startswith("$"):
        raise JsonPathError(f"`{path}` must begin with `$`")
    read, at = [], 1
    while at < len(path):
        part = STEP.match(path, at)
        if not part:
            raise JsonPathError(f"`{path}` can't be read from `{path[at:]}` on")
        read.append(_step(part))
        at = part.end()
    return tuple(read)


def _step(part: re.Match[str]) -> Step:
    deep, given = bool(part["deep"]), part.groupdict()
    if given["every"]:
        return Step(deep, _children)
    if given["index"] is not None:
        return Step(deep, _at(int(given["index"])))
    if given["inner"] is not None:
        return Step(deep, _filter(given["inner"], given["compare"], given["literal"]))
    name = given["name"] or re.sub(r"\\(.)", r"\1", given["quoted"][1:-1])
    return Step(deep, lambda value: [value[name]] if isinstance(value, dict) and name in value else [])


def _at(index: int) -> Callable[[Any], Iterable[Any]]:
    return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []


def _filter(inner: str, compare: str | None, literal: str | None) -> Callable[[Any], Iterable[Any]]:
    steps(f"${inner}")  # an error shows when the stub is read, not when a request comes
    wanted = _literal(literal) if literal is not None else None

    def keeps(value: Any) -> bool:
        found = find(f"${inner}", value)
        return any(_holds(compare, one, wanted) for one in found) if compare else bool(found)

    return lambda value: [child for child in _children(value) if keeps(child)]


def _holds(compare: str, left: Any, right: Any) -> bool:
    try:
        return COMPARISONS[compare](left, right)
    except TypeError:  # text and number have no order
        return False


def _literal(text: str) -> Any:
    try:
        return json.loads(f'"{text[1:-1]}"' if text.startswith("'") and text.endswith("'") else text)
    except ValueError:
        raise JsonPathError(
            f"`{text}` in a filter is neither a number, a text in quotes, true, false nor null"
        ) from None


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _descend(value: Any) -> Iterator[Any]:
    """A value and all below it, in the document's order; without recursion, as clients choose the depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        waiting += reversed(list(_children(value)))
