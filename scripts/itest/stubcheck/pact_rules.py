"""What a pact demands of a value: to be equal, or what its matching rules say instead.

The rules: https://github.com/pact-foundation/pact-specification. Of a response more may be there than is promised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itest.mock.matching import same, shown
from itest.stubcheck.node import Node
from itest.suite.schema import described, wrong
from itest.suite.yamlfile import Keys

STEP = re.compile(r"\.([\w-]+|\*)|\[(\d+|\*)\]|\[['\"]([^'\"]+)['\"]\]")
KINDS = (
    "equality",
    "type",
    "regex",
    "integer",
    "decimal",
    "number",
    "boolean",
    "null",
    "include",
    "not-empty",
    "notEmpty",
)
TIMES = ("date", "time", "timestamp", "datetime")  # texts; their format is a Java class's, and not looked at
ANY = "*"


@dataclass(frozen=True)
class Rule:
    """path: keys and indices, `*` for any; matchers: all must be met."""

    path: Keys
    matchers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """path: the way within the body."""

    path: Keys
    problem: str


def read(interaction: Node, part: str) -> list[Rule]:
    """The rules for a part of the response, `body` or `header`. Raises ItestError (usage) for one that isn't known."""
    found = []
    rules = interaction.get("response", "matchingRules")
    for expression, node in _of_part(rules, part) if rules else ():
        several = list(node.each("matchers")) if "matchers" in node else [node]
        found.append(Rule(_steps(expression, part), [_matcher(one) for one in several]))
    return found


def _matcher(node: Node) -> Mapping[str, Any]:
    """One matcher, checked. Raises ItestError (usage)."""
    matcher = node.value
    if not isinstance(matcher, Mapping):
        raise wrong(node.file, node.keys, f"a matcher must be a mapping, not {described(matcher)}")
    if _kind(matcher) not in (*KINDS, *TIMES):
        problem = f"no matcher called `{_kind(matcher)}` is known"
        raise wrong(node.file, node.keys, problem, f"known: {', '.join((*KINDS, *TIMES))}")
    for limit in ("min", "max"):
        if not isinstance(matcher.get(limit, 0), int):
            raise wrong(node.file, (*node.keys, limit), f"`{limit}` must be a number, not {described(matcher[limit])}")
    try:
        re.compile(str(matcher.get("regex", "")))
    except re.error as error:
        raise wrong(node.file, (*node.keys, "regex"), f"Python can't read this pattern: {error}") from error
    return matcher


def differences(rules: Sequence[Rule], path: Keys, wanted: Any, got: Any) -> Iterator[Difference]:
    """Where a value is not as promised. path: its place, that rules are looked up by."""
    matchers = _of_place(rules, path)
    kinds = [_kind(one) for one in matchers]
    for matcher in matchers:
        if problem := _problem(matcher, wanted, got):
            yield Difference(path, problem)
            return
    if matchers and not {"type", "equality"}.issuperset(kinds):
        return  # a rule of another kind speaks for the whole value
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key, value in wanted.items():
            if key not in got:
                yield Difference((*path, key), f"{shown(value)} is promised, nothing is there")
            else:
                yield from differences(rules, (*path, key), value, got[key])
    elif isinstance(wanted, list) and isinstance(got, list):
        yield from _lists(rules, path, wanted, got, alike="type" in kinds)
    elif not matchers and not same(wanted, got):
        yield Difference(path, f"{shown(wanted)} is promised, not {shown(got)}")


def _lists(
    rules: Sequence[Rule], path: Keys, wanted: list[Any], got: list[Any], *, alike: bool
) -> Iterator[Difference]:
    """alike: as many as one likes, each like the first that is promised; else one by one."""
    if not alike and len(wanted) != len(got):
        yield Difference(path, f"{len(wanted)} items are promised, not {len(got)}")
    for index, one in enumerate(got if wanted else ()):
        if alike or index < len(wanted):
            yield from differences(rules, (*path, index), wanted[min(index, len(wanted) - 1)], one)


def _problem(matcher: Mapping[str, Any], wanted: Any, got: Any) -> str:
    """Why a matcher isn't met, "" where it is."""
    kind = _kind(matcher)
    number = isinstance(got, (int, float)) and not isinstance(got, bool)
    text = got if isinstance(got, str) else json.dumps(got)
    met = {
        "equality": lambda: same(wanted, got),
        "type": lambda: _type(wanted) == _type(got) and _long_enough(matcher, got),
        "regex": lambda: re.search(str(matcher.get("regex", "")), text) is not None,
        "integer": lambda: number and float(got).is_integer() and not isinstance(got, float),
        "decimal": lambda: number and isinstance(got, float),
        "number": lambda: number,
        "boolean": lambda: isinstance(got, bool),
        "null": lambda: got is None,
        "include": lambda: str(matcher.get("value", "")) in text,
    }
    if met.get(kind, lambda: isinstance(got, str) if kind in TIMES else bool(got))():
        return ""
    like = {
        "equality": shown(wanted),
        "type": f"something like {shown(wanted)}",
        "regex": f"what `{matcher.get('regex')}` finds",
        "include": f"what holds {shown(matcher.get('value'))}",
    }
    return f"{like.get(kind, kind)} is promised, not {shown(got)}"


def _type(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(type(value))
    return "number" if isinstance(value, (int, float)) else str(type(value))


def _long_enough(matcher: Mapping[str, Any], got: Any) -> bool:
    if not isinstance(got, (list, str)):
        return True
    return bool(matcher.get("min", 0) <= len(got) <= matcher.get("max", len(got)))


def _kind(matcher: Mapping[str, Any]) -> str:
    """Version 2 leaves the word out where a `regex`, a `min` or a `max` says it."""
    return str(matcher.get("match") or ("regex" if "regex" in matcher else "type"))


def _of_part(rules: Node, part: str) -> Iterator[tuple[str, Node]]:
    """Version 2 has all rules in one mapping, by expressions that begin with the part."""
    for name, node in rules.items():
        prefix = "$.body" if part == "body" else "$.headers"
        if name.startswith(prefix):
            yield name.removeprefix(prefix), node
        elif name == part and "matchers" not in node:
            yield from node.items()
        elif name == part:
            yield "", node


def _steps(expression: str, part: str) -> Keys:
    """The way that an expression means. A header's name stands alone, or in version 2 as `.Name` or `['Name']`."""
    if part == "header":
        return (expression.strip(".[]'\"").lower(),)
    return tuple(
        name or quoted or (int(index) if index.isdigit() else index) for name, index, quoted in STEP.findall(expression)
    )


def _of_place(rules: Sequence[Rule], path: Keys) -> Sequence[Mapping[str, Any]]:
    """The matchers of the longest and least general rule for a place. `type` holds for all below its own, too."""
    fits = [rule for rule in rules if _leads_to(rule.path, path[: len(rule.path)])]
    own = [rule for rule in fits if len(rule.path) == len(path)]
    above = [rule for rule in fits if all(_kind(one) == "type" for one in rule.matchers)]
    found = max(own or above, key=lambda rule: (len(rule.path), -rule.path.count(ANY)), default=None)
    if found is None:
        return ()
    return found.matchers if found in own else [{"match": "type"}]  # a list's length is that one's own


def _leads_to(pattern: Keys, path: Keys) -> bool:
    pairs = list(zip(pattern, path, strict=False))
    return len(pattern) == len(path) and all(one in (ANY, key) for one, key in pairs)
