"""What a recorded request looks like as the `request:` of a stub: exact, but for what is another one on replay.

A secret that the client brings along is whatever it will be then; one that the service has issued is the placeholder,
as the client has it from an answer of this recording.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from itest.recording import kinds
from itest.recording.jsonplaces import step_to
from itest.recording.leaves import Leaf, body_of
from itest.recording.ledger import LINES, Ledger
from itest.recording.masking import Taken, masked
from itest.recording.rules import Rules

DROP: Any = object()  # in the place of a value that a JSON body can't say


@dataclass
class Wanted:
    """The request of a stub. data: in the language of stub files; patterns: place -> the secret that any other may

    stand for; echoes: what is no exact value -> the template's expression that gives what is asked with.
    """

    data: dict[str, Any] = field(default_factory=dict)
    patterns: dict[str, str] = field(default_factory=dict)
    echoes: dict[str, str] = field(default_factory=dict)


def wanted(one: Taken, rules: Rules, ledger: Ledger, issued: Iterable[str]) -> Wanted:
    """issued: every text of an answer that came before, which on replay the client has of the recording."""
    known, found = set(issued), Wanted()
    request = one.exchange.request

    def value(leaf: Leaf, expression: str) -> Any:
        """What a value must look like, and how a template finds it."""
        pattern = _pattern(leaf, ledger, known)
        if not pattern:
            return masked(leaf, rules, ledger)
        if leaf.treatment != "vary" and not kinds.shape(leaf.text):
            found.patterns[leaf.place] = leaf.text
        if expression and isinstance(leaf.value, str):  # a template would give a number back as one
            found.echoes.setdefault(leaf.text, expression)
        return {"regex": pattern}

    found.data = {"method": request.method, "host": request.host, "path": _path(one.of("request", "path"), value)}
    for part in ("query", "form"):
        if pairs := one.of("request", part):
            found.data[part] = {leaf.name: value(leaf, f"request.{part}[{json.dumps(leaf.name)}]") for leaf in pairs}
    for leaf in one.of("request", "body"):
        found.data["body"] = value(leaf, "request.body")
    part, body = body_of(request.header("content-type"), request.body)
    if part == "json":
        values = {leaf.name: value(leaf, _expression(leaf.name)) for leaf in one.of("request", "json")}
        found.data |= _json(body, values)
    _echo_headers(one, ledger, known, found)
    return found


def _echo_headers(one: Taken, ledger: Ledger, issued: set[str], found: Wanted) -> None:
    """No header is asked for; but an answer may repeat one."""
    for leaf in one.of("request", "headers"):
        if leaf.treatment != "mask" and _pattern(leaf, ledger, issued):
            found.echoes.setdefault(leaf.text, f"request.headers[{json.dumps(leaf.name)}]")


def _expression(path: str) -> str:
    """A template's way to what a JSONPath leads to; "" where a name has more than letters, digits, `_` and `-`."""
    steps = re.sub(r"\.([\w-]*-[\w-]*)", r'["\1"]', path[1:])
    return "" if '["' in path else f"request.json{steps}"


def _pattern(leaf: Leaf, ledger: Ledger, issued: set[str]) -> str:
    """The expression of a value that is another one on replay, "" of one that is the same."""
    if leaf.treatment == "keep":
        return ""
    if leaf.treatment == "vary":
        return LINES
    secret = ledger.secrets.get(leaf.text) if leaf.treatment == "mask" else None
    if secret:
        return "" if secret.issued else secret.pattern
    if leaf.text not in issued and (pattern := kinds.shape(leaf.text)):
        return pattern
    return ledger.parts(leaf.text)[1] if isinstance(leaf.value, str) else ""


def _path(segments: Iterable[Leaf], value: Any) -> Any:
    """All of it, as an expression where one of its segments is one."""
    said = [value(leaf, f"request.path.segment{leaf.name}") for leaf in segments]
    plain = "/".join(word for word in said if isinstance(word, str))
    if all(isinstance(word, str) for word in said):
        return {"equals": plain} if re.search(r"[{}*?]", plain) else plain
    words = [
        re.escape(word) if isinstance(word, str) else f"(?P<segment{index}>{_inside(word['regex'])})"
        for index, word in enumerate(said)
    ]
    return {"regex": "/".join(words)}


def _inside(pattern: str) -> str:
    """An expression that doesn't go beyond its segment."""
    return pattern.replace(LINES, "[^/]+").replace(".+", "[^/]+")


def _json(body: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON body: exact; or in part, with the rest by JSONPath, where a value isn't."""
    paths: dict[str, Any] = {path: said for path, said in values.items() if isinstance(said, dict)}
    plain = _plain(body, "$", values, paths)
    if not paths:
        return {"json_exact": plain}
    return ({} if plain is DROP else {"json": plain}) | {"jsonpath": paths}


def _plain(value: Any, path: str, values: Mapping[str, Any], paths: dict[str, Any]) -> Any:
    """What of a body is exact; DROP for a value that is not, and for a list with one, whose other values get a path."""
    if isinstance(value, dict):
        inner = {name: _plain(one, path + step_to(name), values, paths) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one is not DROP}
    if isinstance(value, list):
        items = [_plain(one, f"{path}[{index}]", values, paths) for index, one in enumerate(value)]
        if not any(one is DROP for one in items):
            return items
        below = {name: said for name, said in values.items() if name.startswith(f"{path}[")}
        paths |= {name: said for name, said in below.items() if not isinstance(said, dict)}
        return DROP
    said = values.get(path, value)
    return DROP if isinstance(said, dict) else said
