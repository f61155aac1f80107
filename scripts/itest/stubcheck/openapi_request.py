"""What a stub asks of a request: parameters, headers and fields that are declared, values that are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from itest.mock.stubs import Stub, Value
from itest.stubcheck.findings import Finding
from itest.stubcheck.node import Node
from itest.stubcheck.operations import Operation
from itest.stubcheck.schemas import mismatches
from itest.suite.schema import nearest
from itest.suite.yamlfile import Keys

# Headers of HTTP itself and of traces, which nobody declares; OpenAPI ignores some of them even where somebody does.
# The last one is a draft of the IETF's that providers follow and seldom write down.
GENERAL = re.compile(
    r"accept.*|authorization|proxy-.*|cookie|content-.*|host|user-agent|referer|origin|range|if-.*|connection|expect|date|"
    r"cache-control|pragma|forwarded|x-forwarded-.*|via|te|trailer|transfer-encoding|upgrade|from|prefer|priority|"
    r"traceparent|tracestate|baggage|x-request-id|x-itest-scope|idempotency-key"
)
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def findings(operation: Operation, stub: Stub) -> Iterator[Finding]:
    """What a request of this operation can't be."""
    yield from _path(operation, stub)
    for place, values in (("query", stub.request.query), ("header", stub.request.headers)):
        for name, value in values.items():
            yield from _parameter(operation, stub, place, name, value)
    yield from _body(operation, stub)


def _path(operation: Operation, stub: Stub) -> Iterator[Finding]:
    """Values that are written out in the path."""
    path = stub.request.path
    if path is None or path.how != "equals":
        return
    for name, text in operation.path_values(str(path.what)).items():
        if parameter := operation.parameters.get(("path", name)):
            yield from _value(parameter, text, stub, ("request", "path"), name)


def _parameter(operation: Operation, stub: Stub, place: str, name: str, value: Value) -> Iterator[Finding]:
    keys: Keys = ("request", "query" if place == "query" else "headers", name)
    known = {key: node for (where, key), node in operation.parameters.items() if where == place}
    declared = known.get(name.lower() if place == "header" else name)
    if declared is not None:
        if value.how == "equals":
            yield from _value(declared, str(value.what), stub, keys, name)
    elif value.how != "absent" and not _undeclared_is_fine(operation, place, name):
        what = "query parameter" if place == "query" else "header"
        problem = f"{operation} declares no {what} `{name}`"
        yield Finding(stub, keys, problem, operation.node.where, nearest(name, known))


def _undeclared_is_fine(operation: Operation, place: str, name: str) -> bool:
    if place == "header" and GENERAL.fullmatch(name.lower()):
        return True
    if any(key.lower() == name.lower() for key in _keys(operation, place)):
        return True
    # An object is spread over several names: `filter[name]`, or its fields themselves.
    for (where, key), parameter in operation.parameters.items():
        schema = parameter.get("schema")
        if where == place == "query" and (
            name.startswith(f"{key}[") or (schema and name in (schema.get("properties") or schema))
        ):
            return True
    return False


def _keys(operation: Operation, place: str) -> Iterator[str]:
    """Names of API keys."""
    document = Node(operation.node.file, (), operation.node.file.data)
    for _, scheme in document.items("components", "securitySchemes"):
        if scheme.text("type") == "apiKey" and scheme.text("in") == place:
            yield scheme.text("name")


def _value(parameter: Node, text: str, stub: Stub, keys: Keys, name: str) -> Iterator[Finding]:
    """A text as a parameter's schema sees it. Lists and objects have a writing of their own, which is not read."""
    schema = parameter.get("schema")
    if schema is None or _types(schema) & {"array", "object"}:
        return
    for one in mismatches(schema, typed(schema, text)):
        yield Finding(stub, keys, f"parameter `{name}`: {one.problem.removeprefix('$: ')}", one.where)


def typed(schema: Node, text: str) -> Any:
    """A text as a value of the type that a schema wants, where it can be one."""
    types = _types(schema)
    if "integer" in types and re.fullmatch(r"-?\d+", text):
        return int(text)
    if "number" in types and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    return text == "true" if "boolean" in types and text in ("true", "false") else text


def _types(schema: Node) -> set[str]:
    said = [schema.get("type"), *schema.each("type")]
    return {one.value for one in said if one and isinstance(one.value, str)}


def _body(operation: Operation, stub: Stub) -> Iterator[Finding]:
    request = stub.request
    asked = [name for name in ("form", "jsonpath", "body") if getattr(request, name)]
    if request.json:
        asked.append("json_exact" if request.json.exact else "json")
    if not asked:
        return
    content = dict(operation.node.items("requestBody", "content"))
    if not content:
        yield Finding(stub, ("request", asked[0]), f"{operation} takes no body", operation.node.where)
        return
    media = {name.partition(";")[0].strip().lower(): node for name, node in content.items()}
    forms = [schema for name in FORMS if name in media and (schema := media[name].get("schema"))]
    schemas = [schema for name, node in media.items() if is_json(name) and (schema := node.get("schema"))]
    for schema in forms[:1]:
        for name in request.form:
            yield from _undeclared(schema, {name: None}, stub, ("request", "form"))
    for schema in schemas[:1]:
        yield from _json(schema, stub)


def _json(schema: Node, stub: Stub) -> Iterator[Finding]:
    wanted = stub.request.json
    if wanted:
        keys: Keys = ("request", "json_exact" if wanted.exact else "json")
        yield from _undeclared(schema, wanted.value, stub, keys)
        for one in mismatches(schema, wanted.value, partial=not wanted.exact):
            yield Finding(stub, (*keys, *one.path), f"the request's {one.problem}", one.where)
    for path in stub.request.jsonpath:
        example: Any = None
        for step in reversed(_names(path)):
            example = [example] if isinstance(step, int) else {step: example}
        yield from _undeclared(schema, example, stub, ("request", "jsonpath", path), below=False)


def _names(path: str) -> list[str | int]:
    """The way that a JSONPath goes, as far as it is one way; an index is 0, as items are alike."""
    found = re.match(r"\$((?:\.[A-Za-z_]\w*|\[\d+\]|\[\*\]|\['[^']+'\])*)", path)
    parts = re.findall(r"\.(\w+)|\[(\d+|\*)\]|\['([^']+)'\]", found[1] if found else "")
    return [name or quoted or 0 for name, _, quoted in parts]


def _undeclared(schema: Node, value: Any, stub: Stub, keys: Keys, *, below: bool = True) -> Iterator[Finding]:
    """Names that the schema doesn't have, although it has some. below: whether the stub's keys lead to them, too."""
    if isinstance(value, list) and (items := schema.get("items")):
        for index, one in enumerate(value):
            yield from _undeclared(items, one, stub, (*keys, index) if below else keys, below=below)
    known = dict(_properties(schema)) if isinstance(value, Mapping) else {}
    for name, one in value.items() if known else ():
        place = (*keys, name) if below else keys
        if name in known:
            yield from _undeclared(known[name], one, stub, place, below=below)
        elif not _is_open(schema):
            yield Finding(stub, place, f"the request's schema has no `{name}`", schema.where, nearest(name, known))


def _properties(schema: Node) -> Iterator[tuple[str, Node]]:
    """What a schema and those that it is made of know."""
    yield from schema.items("properties")
    for part in _parts(schema):
        yield from _properties(part)


def _is_open(schema: Node) -> bool:
    """Whether it says that there may be other names."""
    more = schema.get("additionalProperties")
    said = more is not None and more.value not in (False, None)
    return said or "patternProperties" in schema or any(map(_is_open, _parts(schema)))


def _parts(schema: Node) -> Iterator[Node]:
    for word in ("allOf", "anyOf", "oneOf"):
        yield from schema.each(word)


def is_json(media: str) -> bool:
    """Whether a content type, in small letters and without parameters, is JSON's."""
    return media == "application/json" or media.endswith("+json")
