"""Whether a stub answers a request, what differs where it doesn't, and which of several stubs goes first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from itest.mock import jsonpath
from itest.mock.incoming import NO_JSON, Incoming, Pairs, values
from itest.mock.stubs import EMPTY, Json, Request, Stub, Value

PATTERNS = {"template": 3, "glob": 2, "regex": 2}  # how specific a path is; an exact one is 4
WILD = re.compile(r"[*?]|\{[^}]*\}|\(.*?\)|\\.|\[.*?\]")  # of a path's pattern, what isn't literal
MOST_SHOWN = 100  # characters of a value
MOST_VALUES = 3
CAPTURE = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class Difference:
    """One thing that keeps a stub from answering. part: `path`, `header X` …; wanted and got: in words, on one line."""

    part: str
    wanted: str
    got: str

    def __str__(self) -> str:
        return f"{self.part}: expected {self.wanted}, got {self.got}"


def differences(request: Request, incoming: Incoming) -> Iterator[Difference]:
    """What keeps a stub from answering, the cheapest to find out first; nothing where it answers."""
    if request.methods and incoming.method not in request.methods:
        yield Difference("method", " or ".join(request.methods), incoming.method)
    if request.host and not _host_fits(request.host, incoming):
        yield Difference("host", described(request.host), incoming.host or "none")
    if request.path and captures(request.path, incoming) is None:
        yield Difference("path", described(request.path), incoming.decoded_path)
    yield from _named("query", request.query, incoming.query)
    for name, value in request.headers.items():
        yield from _one(f"header {name}", value, incoming.header(name))
    yield from _named("form field", request.form, incoming.form)
    if request.body and not fits(request.body, incoming.text):
        yield Difference("body", described(request.body), shown(incoming.text))
    if request.json:
        yield from _json(request.json, incoming.json)
    for path, value in request.jsonpath.items():
        found = [] if incoming.json is NO_JSON else jsonpath.find(path, incoming.json)
        yield from _one(f"JSON {path}", value, found)


def captures(path: Value, incoming: Incoming) -> Mapping[str, str] | None:
    """What a path's names stand for in a request; None where it doesn't fit."""
    if path.how == "template":
        return _captures(path.what, incoming.segments)
    if path.how == "regex":
        found = re.fullmatch(path.what, incoming.decoded_path)
        return {name: text for name, text in found.groupdict().items() if text is not None} if found else None
    if path.how == "glob":
        return EMPTY if re.fullmatch(glob(path.what, "[^/]"), incoming.decoded_path) else None
    return EMPTY if fits(path, incoming.decoded_path) else None


def _captures(template: str, segments: Sequence[str]) -> Mapping[str, str] | None:
    """Segment by segment, so that an escaped slash is part of what is captured."""
    patterns = template.split("/")
    if len(patterns) != len(segments):
        return None
    found: dict[str, str] = {}
    for pattern, segment in zip(patterns, segments, strict=True):
        match = re.fullmatch(_segment(pattern), segment, re.DOTALL)
        if not match:
            return None
        found |= match.groupdict()
    return found


@lru_cache(maxsize=1024)
def _segment(pattern: str) -> str:
    """`{id}.json` as a regular expression."""
    parts = CAPTURE.split(pattern)
    return "".join(f"(?P<{part}>.+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))


@lru_cache(maxsize=1024)
def glob(pattern: str, one: str = ".") -> str:
    """A glob as a regular expression: `*` and `?` stand for what `one` allows, `**` for anything."""
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    return "(?s:" + "".join({"**": ".*", "*": f"{one}*", "?": one}.get(part) or re.escape(part) for part in parts) + ")"


def fits(value: Value, text: Any) -> bool:
    """Whether a value that is there is as it must be. Regular expressions and globs must fit all of it."""
    if value.how in ("absent", "present"):
        return value.how == "present"
    if value.how == "equals":
        return same(value.what, text)
    if isinstance(text, (dict, list)):
        return False  # a pattern is for a text, or for what is written as one
    text = text if isinstance(text, str) else json.dumps(text)
    if value.how == "contains":
        return str(value.what) in text
    return re.fullmatch(value.what if value.how == "regex" else glob(value.what), text) is not None


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    return _within(left, right, exact=True, place="") is None


def _host_fits(value: Value, incoming: Incoming) -> bool:
    names = (incoming.host.lower(), f"{incoming.host}:{incoming.port}".lower())
    lowered = Value(
        value.how, value.what.lower() if value.how != "regex" and isinstance(value.what, str) else value.what
    )
    return any(fits(lowered, name) for name in names)


def _named(part: str, wanted: Mapping[str, Value], pairs: Pairs) -> Iterator[Difference]:
    for name, value in wanted.items():
        yield from _one(f"{part} {name}", value, values(pairs, name))


def _one(part: str, value: Value, found: Sequence[Any]) -> Iterator[Difference]:
    """Of several values with one name, one has to fit."""
    if value.how == "absent" and found:
        yield Difference(part, "none", _shown_all(found))
    elif value.how != "absent" and not any(fits(value, one) for one in found):
        yield Difference(part, described(value), _shown_all(found))


def _json(wanted: Json, got: Any) -> Iterator[Difference]:
    if got is NO_JSON:
        yield Difference("body", f"JSON {shown(wanted.value)}", "no JSON")
    elif found := _within(wanted.value, got, exact=wanted.exact, place="$"):
        yield found


def _within(wanted: Any, got: Any, *, exact: bool, place: str) -> Difference | None:
    """The first difference of two JSON values. Lists are compared in order and in length; objects may hold more."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key, value in wanted.items():
            if key not in got:
                return Difference(f"JSON {place}.{key}", shown(value), "none")
            if found := _within(value, got[key], exact=exact, place=f"{place}.{key}"):
                return found
        more = [key for key in got if key not in wanted] if exact else []
        return Difference(f"JSON {place}.{more[0]}", "none", shown(got[more[0]])) if more else None
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        each = (
            _within(left, right, exact=exact, place=f"{place}[{index}]")
            for index, (left, right) in enumerate(zip(wanted, got, strict=True))
        )
        return next(filter(None, each), None)
    if isinstance(wanted, bool) == isinstance(got, bool) and wanted == got and not isinstance(got, list):
        return None
    return Difference(f"JSON {place}", shown(wanted), shown(got))


def described(value: Value) -> str:
    """What is asked of a value, in words."""
    if value.how in ("equals", "template"):
        return shown(value.what)
    if value.how in ("absent", "present"):
        return "none" if value.how == "absent" else "any"
    return f"{value.how} {shown(value.what)}"


def shown(value: Any) -> str:
    """A value on one short line. Only as much of it is written out as is shown: clients choose how large it is."""
    if not isinstance(value, str) or not value:
        pieces = json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value)
        value = "".join(islice(pieces, MOST_SHOWN))
    line = value[: 2 * MOST_SHOWN].replace("\n", "\\n")
    return line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN - 2]} …"


def _shown_all(values: Sequence[Any]) -> str:
    """Several values, or `none`."""
    more = [f"{len(values) - MOST_VALUES} more"] if len(values) > MOST_VALUES else []
    return " and ".join([*map(shown, values[:MOST_VALUES]), *more]) or "none"


def precedence(stub: Stub, number: int) -> tuple[int, int, int, int, int]:
    """Of several stubs that answer the one with the greatest goes first: by priority, then by how exact its path is,

    by how much of that is literal, by how much else it asks for, and at last the one that was added later (number).
    """
    request, path = stub.request, stub.request.path
    rank = 0 if path is None else PATTERNS.get(path.how, 4)
    literal = len(WILD.sub("", str(path.what))) if path else 0
    bound = stub.scenario is not None and stub.scenario.when is not None
    return stub.priority or 0, rank, literal, _asked(request) + 2 * bound, number


def _asked(request: Request) -> int:
    """What is asked for besides the path: two for what is exact, one for what is not."""
    many = (request.query, request.headers, request.form, request.jsonpath)
    found = [value for value in (request.host, request.body) if value]
    found += [value for values in many for value in values.values()]
    json = 2 * _leaves(request.json.value) + request.json.exact if request.json else 0
    return sum(2 if value.how == "equals" else 1 for value in found) + 2 * bool(request.methods) + json


def _leaves(value: Any) -> int:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(_leaves, inner)) or 1
