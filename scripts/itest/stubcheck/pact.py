"""Stubs against a pact (versions 2 to 4): each interaction that they answer gets the response that is promised."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from itest.mock import matching, replies
from itest.mock.incoming import NO_JSON, Incoming, Pairs
from itest.mock.replies import Answer
from itest.mock.stubs import Response, Stub
from itest.mock.templates import TemplateError, Templates
from itest.stubcheck import pact_rules
from itest.stubcheck.findings import Finding
from itest.stubcheck.node import Node
from itest.suite.schema import described, wrong
from itest.suite.yamlfile import Keys


@dataclass(frozen=True)
class Interaction:
    """One request of the pact and what is promised for it. node: its place."""

    node: Node
    request: Incoming
    status: int
    headers: Mapping[str, str]
    body: Any  # NO_JSON where nothing is said of it
    body_at: Node

    @property
    def title(self) -> str:
        return f'interaction "{self.node.text("description")}"'


def findings(document: Node, host: str, stubs: Sequence[Stub]) -> Iterator[Finding]:
    """Where none of the stubs that answer an interaction keeps the promise, what the nearest of them does.

    A pact has an interaction for each state of its provider, a scenario a stub: one of their answers has to be it.
    Raises ItestError (usage) for a pact of no use, and where the stubs answer none of its interactions.
    """
    answered = 0
    for interaction in _interactions(document, host):
        asked = [stub for stub in stubs if not stub.overlay and _answers(stub, interaction.request)]
        if asked:
            answered += 1
            tried = (
                partial(_broken, interaction, stub, number) for stub in asked for number in range(len(stub.responses))
            )
            yield from min((list(one()) for one in tried), key=len)
    if not answered:
        problem = f"the stubs for {host} answer no interaction of this pact"
        raise wrong(document.file, ("interactions",), problem, "compare method, path and what else the stubs ask for")


def _answers(stub: Stub, request: Incoming) -> bool:
    return next(matching.differences(stub.request, request), None) is None


def _broken(interaction: Interaction, stub: Stub, number: int) -> Iterator[Finding]:
    """What the answer of one stub is that was not promised."""
    response = stub.responses[number]
    keys: Keys = ("responses", number)
    try:
        answer = _rendered(stub, response, interaction.request)
    except TemplateError as error:
        yield Finding(stub, keys, f"{interaction.title}: {error}", interaction.node.where)
        return
    if answer.status != interaction.status:
        problem = f"{interaction.title}: status {interaction.status} is promised, not {answer.status}"
        yield Finding(
            stub, (*keys, "status"), problem, (interaction.node.get("response", "status") or interaction.node).where
        )
    yield from _headers(interaction, stub, answer, keys)
    if interaction.body is not NO_JSON:
        yield from _body(interaction, stub, answer, keys)


def _rendered(stub: Stub, response: Response, request: Incoming) -> Answer:
    templates = Templates()
    captures = matching.captures(stub.request.path, request) if stub.request.path else None
    return replies.rendered(response, templates, templates.context(request, captures or {}, 1, 0.0))


def _headers(interaction: Interaction, stub: Stub, answer: Answer, keys: Keys) -> Iterator[Finding]:
    rules = pact_rules.read(interaction.node, "header")
    got = {name.lower(): text for name, text in answer.headers}
    for name, wanted in interaction.headers.items():
        where = (interaction.node.get("response", "headers", name) or interaction.node).where
        if name.lower() not in got:
            yield Finding(
                stub, (*keys, "headers"), f"{interaction.title}: the header {name} is promised, and missing", where
            )
            continue
        text = got[name.lower()]
        if name.lower() == "content-type":  # what a parameter says of the charset is no part of a promise
            wanted, text = (one.partition(";")[0].strip().lower() for one in (wanted, text))
        for difference in pact_rules.differences(rules, (name.lower(),), wanted, text):
            yield Finding(
                stub, (*keys, "headers", name), f"{interaction.title}: header {name}: {difference.problem}", where
            )


def _body(interaction: Interaction, stub: Stub, answer: Answer, keys: Keys) -> Iterator[Finding]:
    try:
        got = json.loads(answer.body) if answer.body else None
    except ValueError:
        got = answer.body.decode("utf-8", "replace")
    rules = pact_rules.read(interaction.node, "body")
    for one in pact_rules.differences(rules, (), interaction.body, got):
        place = "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in one.path)
        where = interaction.body_at.file.where(*interaction.body_at.keys, *one.path)
        yield Finding(stub, (*keys, "json", *one.path), f"{interaction.title}: {place}: {one.problem}", where)


def _interactions(document: Node, host: str) -> Iterator[Interaction]:
    """Those over HTTP. Raises ItestError (usage) for one without a request or a response."""
    for node in document.each("interactions"):
        if node.text("type") in ("", "Synchronous/HTTP"):  # else a message's, which no stub answers
            yield _interaction(node, host)


def _interaction(node: Node, host: str) -> Interaction:
    request, response = node.get("request"), node.get("response")
    if not request or not response:
        raise wrong(node.file, node.keys, "an interaction needs `request` and `response`")
    said = response.get("status")
    status = said.value if said else 200
    if not isinstance(status, int):
        raise wrong(node.file, (*response.keys, "status"), f"`status` must be a number, not {described(status)}")
    body, at = _content(response)
    incoming = Incoming(
        method=request.text("method").upper() or "GET",
        path=request.text("path") or "/",
        query=_query(request),
        headers=tuple(_texts(request, "headers").items()),
        body=_written(_content(request)[0]),
        host=host,
    )
    return Interaction(node, incoming, status, _texts(response, "headers"), body, at)


def _content(holder: Node) -> tuple[Any, Node]:
    """The body of a request or a response, NO_JSON where there is none. Version 4 wraps it, at times in base64."""
    body = holder.get("body")
    if body is None or body.value is None:
        return NO_JSON, holder
    content = body.get("content")
    if content is None or not {"contentType", "encoded"} & set(body.value):
        return body.value, body
    return (_decoded(content) if body.value.get("encoded") else content.value), content


def _decoded(content: Node) -> Any:
    """What base64 holds, as JSON where it is some."""
    try:
        text = base64.b64decode(str(content.value)).decode("utf-8", "replace")
    except binascii.Error as error:
        raise wrong(content.file, content.keys, f"base64 can't be decoded: {error}") from error
    try:
        return json.loads(text)
    except ValueError:
        return text


def _written(body: Any) -> bytes:
    if body is NO_JSON:
        return b""
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _query(request: Node) -> Pairs:
    """A text in version 2, a mapping of lists since."""
    if text := request.text("query"):
        return Incoming.of("GET", f"/?{text}").query
    return tuple((name, str(one)) for name, several in request.items("query") for one in _several(several.value))


def _texts(holder: Node, name: str) -> dict[str, str]:
    return {key: ", ".join(map(str, _several(node.value))) for key, node in holder.items(name)}


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
