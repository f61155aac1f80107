"""What a stub answers: a status, a content type, a body and headers that the operation declares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from itest.mock.stubs import Json, Response, Stub
from itest.stubcheck.dummies import filled, is_template
from itest.stubcheck.findings import Finding
from itest.stubcheck.node import Node
from itest.stubcheck.openapi_request import is_json, typed
from itest.stubcheck.operations import Operation
from itest.stubcheck.schemas import mismatches
from itest.suite.yamlfile import Keys

BODY = {Json: ("json", "application/json"), str: ("body", "text/plain"), bytes: ("base64", "application/octet-stream")}


def findings(operation: Operation, stub: Stub) -> Iterator[Finding]:
    """What the operation doesn't answer. What faults and limits do is no answer of its."""
    for number, response in enumerate(stub.responses):
        keys: Keys = ("responses", number)
        declared = _declared(operation, response.status)
        if declared is None:
            codes = ", ".join(code for code, _ in operation.node.items("responses"))
            problem = f"{operation} declares no status {response.status}, only {codes}"
            yield Finding(stub, (*keys, "status"), problem, (operation.node.get("responses") or operation.node).where)
            continue
        yield from _headers(declared, stub, response, keys)
        if operation.method != "HEAD":
            yield from _body(operation, declared, stub, response, keys)


def _declared(operation: Operation, status: int) -> Node | None:
    """What is said of a status: by itself, by its hundred (`4XX`), or of all others."""
    codes = {code.upper(): node for code, node in operation.node.items("responses")}
    return codes.get(str(status)) or codes.get(f"{status // 100}XX") or codes.get("DEFAULT")


def _headers(declared: Node, stub: Stub, response: Response, keys: Keys) -> Iterator[Finding]:
    given = {name.lower(): (name, text) for name, text in response.headers.items()}
    for name, header in declared.items("headers"):
        sent, text = given.get(name.lower(), ("", ""))
        if not sent:
            if (required := header.get("required")) and required.value is True:
                yield Finding(
                    stub, (*keys, "headers"), f"the header {name} is missing, which is required", header.where
                )
        elif (schema := header.get("schema")) and not (response.template and is_template(text)):
            for one in mismatches(schema, typed(schema, text)):
                yield Finding(stub, (*keys, "headers", sent), f"header {name}: {one.problem}", one.where)


def _body(operation: Operation, declared: Node, stub: Stub, response: Response, keys: Keys) -> Iterator[Finding]:
    media = {name.partition(";")[0].strip().lower(): node for name, node in declared.items("content")}
    said = f"{operation}, status {response.status}"
    word, default = BODY[type(response.body)]
    if not response.body:
        if media:
            yield Finding(
                stub, keys, f"{said}: a body is declared ({', '.join(media)}), the stub has none", declared.where
            )
        return
    if not media:
        yield Finding(stub, (*keys, word), f"{said}: no body is declared", declared.where)
        return
    header = next((text for name, text in response.headers.items() if name.lower() == "content-type"), default)
    if response.template and is_template(header):
        return
    kind = header.partition(";")[0].strip().lower()
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    chosen = next((media[one] for one in ranges if one in media), None)
    if chosen is None:
        yield Finding(
            stub, (*keys, word), f"{said}: no content type {kind} is declared, only {', '.join(media)}", declared.where
        )
    elif is_json(kind):
        yield from _json(chosen, stub, response, (*keys, word))


def _json(media: Node, stub: Stub, response: Response, keys: Keys) -> Iterator[Finding]:
    schema = media.get("schema")
    try:
        value = _value(response)
    except ValueError as error:
        yield Finding(stub, keys, f"its content type is JSON, which it is not: {error}", media.where)
        return
    if schema is None or value is ...:
        return
    for one in mismatches(schema, value):
        yield Finding(stub, (*keys, *one.path), one.problem, one.where)


def _value(response: Response) -> Any:
    """The body as JSON, with templates replaced; `...` where that is known only once a request has come.

    Raises ValueError where it is no JSON.
    """
    if isinstance(response.body, Json):
        return filled(response.body.value) if response.template else response.body.value
    if isinstance(response.body, str) and response.template and is_template(response.body):
        return ...
    return json.loads(response.body)
