"""A recorded request and its answer, taken apart into single values, each with its place."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import unquote

from itest.mock.incoming import NO_JSON, Incoming, Pairs
from itest.recording import jsonplaces, kinds
from itest.recording.rules import TREATMENTS, Part, Rules, Treatment

Side = Literal["request", "answer"]


class Uncovered(Exception):
    """A body that nobody can look into; its text says what it is."""


@dataclass(frozen=True)
class Answered:
    """What the real service said."""

    status: int
    headers: Pairs
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True)
class Exchange:
    """A request, and the answer of the upstream of that name. problem: why there is none; test: whose it was."""

    number: int
    test: str
    upstream: str
    request: Incoming
    answer: Answered
    problem: str = ""


@dataclass(frozen=True)
class Leaf:
    """One value. name: of a header, a query's or a form's value; its JSONPath; of a path the number of its segment.

    treatment: what the rules say of it, "" for nothing.
    """

    side: Side
    part: Part
    name: str
    value: Any
    treatment: Treatment | Literal[""] = ""

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value)

    @property
    def place(self) -> str:
        """`answer, json $.customer.email`."""
        return f"{self.side}, {self.part} {self.name}".rstrip()

    @property
    def label(self) -> str:
        """The last word of its name, such as `api-key`."""
        words = re.findall(r"[A-Za-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", re.split(r"[.\[]", self.name)[-1]))
        return "-".join(words).lower() or "value"


def exchange_of(data: Mapping[str, Any]) -> Exchange:
    """From what the mock says of one."""
    request, answer = data["request"], data["answer"]
    plain = ("method", "scheme", "host", "port", "path")
    incoming = Incoming(
        **{name: request[name] for name in plain},
        query=_pairs(request["query"]),
        headers=_pairs(request["headers"]),
        body=base64.b64decode(request["base64"]),
    )
    answered = Answered(answer["status"], _pairs(answer["headers"]), base64.b64decode(answer["base64"]))
    return Exchange(data["number"], data["test"], data["upstream"], incoming, answered, data["problem"])


def _pairs(data: Iterable[Sequence[str]]) -> Pairs:
    return tuple((name, value) for name, value in data)


def leaves(exchange: Exchange, rules: Rules) -> list[Leaf]:
    """Every value of both sides, the request's first. Raises Uncovered for a body of a form that is not known."""
    request, answer = exchange.request, exchange.answer
    found = [*_path(request, rules)]
    found += [Leaf("request", "query", name, value, _said(rules, "query", name)) for name, value in request.query]
    found += [Leaf("request", "headers", key, value, _said(rules, "headers", key)) for key, value in request.headers]
    found += _body("request", body_of(request.header("content-type"), request.body), rules)
    found += [Leaf("answer", "headers", key, value, _said(rules, "headers", key)) for key, value in answer.headers]
    return found + list(_body("answer", answer_body(answer), rules))


def names(exchange: Exchange) -> Iterator[tuple[Side, str]]:
    """The name of all that has one in a query or a body, whatever its value. Raises Uncovered as `leaves` does."""
    request = exchange.request
    yield from (("request", name) for name, _ in request.query)
    bodies: tuple[tuple[Side, tuple[Part | Literal[""], Any]], ...] = (
        ("request", body_of(request.header("content-type"), request.body)),
        ("answer", answer_body(exchange.answer)),
    )
    for side, (part, value) in bodies:
        if part == "form":
            yield from ((side, name) for name, _ in value)
        elif part == "json":
            yield from ((side, name) for name in jsonplaces.fields(value))


def answer_body(answer: Answered) -> tuple[Part | Literal[""], Any]:
    """As `body_of`. Raises Uncovered for what is compressed, too."""
    if encoding := answer.header("content-encoding"):
        raise Uncovered(f"answer, body: it is compressed ({encoding})")
    return body_of((answer.header("content-type"),), answer.body)


def body_of(content_type: tuple[str, ...], body: bytes) -> tuple[Part | Literal[""], Any]:
    """Which sort of body it is, and what it holds: `json`, `form` (pairs), `body` (text), "" for none.

    Raises Uncovered for any other sort.
    """
    kind = ",".join(content_type).partition(";")[0].strip().lower()
    if not body:
        return "", None
    message = Incoming("", "/", headers=(("content-type", kind),), body=body)
    if kind.endswith(("/json", "+json")) and message.json is not NO_JSON:
        return "json", message.json
    if kind == "application/x-www-form-urlencoded":
        return "form", message.form
    if kind.startswith("text/") or kind.endswith(("/xml", "+xml")):
        try:
            return "body", body.decode()
        except UnicodeDecodeError as error:
            raise Uncovered(f"body: {kind} that is not UTF-8") from error
    broken = " that can't be parsed" if "json" in kind else ""
    raise Uncovered(f"body: {len(body)} bytes of {kind or 'no content type'}{broken}")


def _path(request: Incoming, rules: Rules) -> Iterator[Leaf]:
    for index, segment in enumerate(request.segments):
        yield Leaf("request", "path", str(index), segment, _of_segment(rules, request.path, index))


def _of_segment(rules: Rules, path: str, index: int) -> Treatment | Literal[""]:
    segments = path.split("/")
    for treatment in TREATMENTS:
        for wanted in (template.split("/") for template in rules.of(treatment, "path")):
            fits = len(wanted) == len(segments) and all(
                "{" in word or word == unquote(segment) for word, segment in zip(wanted, segments, strict=True)
            )
            if fits and "{" in wanted[index]:
                return treatment
    return ""


def _said(rules: Rules, part: Part, name: str) -> Treatment | Literal[""]:
    """By the rules, else by its name."""
    for treatment in TREATMENTS:
        if name.lower() in (one.lower() for one in rules.of(treatment, part)):
            return treatment
    return "mask" if kinds.of_name(name) else ""


def _body(side: Side, body: tuple[Part | Literal[""], Any], rules: Rules) -> Iterator[Leaf]:
    part, value = body
    if part == "form":
        yield from (Leaf(side, "form", name, text, _said(rules, "form", name)) for name, text in value)
    elif part == "body":
        yield Leaf(side, "body", "", value)
    elif part == "json":
        meant = jsonplaces.meant(value, rules)
        for path, one in jsonplaces.leaves(value):
            yield Leaf(side, "json", path, one, meant.get(path) or _by_names(path))


def _by_names(path: str) -> Treatment | Literal[""]:
    """By the names on the way to it: all that is below `address` is one."""
    names = ["", *re.findall(r"[\w-]+", re.sub(r"\[\d+\]", "", path))]
    return "mask" if any(kinds.of_name(name, before) for before, name in pairwise(names)) else ""
