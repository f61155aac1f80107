"""WireMock's JSON mappings, read as stubs. What has no counterpart here is said, and never left out in silence.

Source of the format: https://github.com/wiremock/wiremock, its schema of stub mappings. Two things are a little wider
here: a query that a `url` holds must be there, but others may be too, and a `urlPattern` says nothing about the query.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from itest.errors import ItestError
from itest.mock import jsonpath
from itest.mock.matching import CAPTURE
from itest.mock.stubs import BEGINNING, Json, Request, Scenario, Stub, Value
from itest.mock.wiremock_response import response_of
from itest.mock.wiremock_values import Unreadable, known, text_of, value_of, whole
from itest.suite.yamlfile import read_text

PRIORITY = 5  # WireMock's default; there 1 goes first, here the greatest
STUB = (
    *("id", "uuid", "name", "persistent", "insertionIndex", "metadata", "priority", "request", "response"),
    *("scenarioName", "requiredScenarioState", "newScenarioState"),
)
PATHS = ("url", "urlPath", "urlPattern", "urlPathPattern", "urlPathTemplate")
REQUEST = ("method", "host", *PATHS, "queryParameters", "headers", "formParameters", "basicAuthCredentials")


def read(root: Path, path: Path) -> tuple[Stub, ...]:
    """The stubs of a file of mappings. Raises ItestError (usage), which says all that can't be read."""
    try:
        data = json.loads(read_text(root, path))
    except (ValueError, RecursionError) as error:
        raise ItestError("usage", f"{path}: not valid JSON: {error}", cause="config") from error
    stubs, unread = from_data(data, path.as_posix(), (root / path).parent)
    if unread:
        hint = f"change it in {path}, or write that stub in YAML"
        rest = "\n".join(unread[1:])
        raise ItestError("usage", unread[0], hint=hint, cause="config", evidence=rest)
    return stubs


def from_data(data: Any, source: str, folder: Path | None = None) -> tuple[tuple[Stub, ...], tuple[str, ...]]:
    """The stubs of one mapping or of `{"mappings": […]}`, and for each other mapping what can't be read in it.

    source: what messages and names begin with; folder: where `bodyFileName` looks, in its `__files`.
    """
    mappings = data.get("mappings", [data]) if isinstance(data, dict) else data
    if not isinstance(mappings, list):
        return (), (f"{source}: no WireMock mappings",)
    stubs, unread = [], []
    for number, mapping in enumerate(mappings, 1):
        where = f"{source} mapping {number}"
        try:
            stubs.append(_stub(mapping, where, folder))
        except Unreadable as error:
            unread.append(f"{where}: {error}")
    return tuple(stubs), tuple(unread)


def _stub(mapping: Any, where: str, folder: Path | None) -> Stub:
    given = known(mapping, "a mapping", STUB)
    scenario = text_of(given, "scenarioName")
    when, then = (_state(text_of(given, key)) for key in ("requiredScenarioState", "newScenarioState"))
    priority = whole(given, "priority", PRIORITY, -1_000_000, 1_000_000)
    response, faults = response_of(given.get("response", {}), folder)
    return Stub(
        name=text_of(given, "name") or where,
        request=_request(known(given.get("request", {}), "a request", (*REQUEST, "bodyPatterns"))),
        responses=(response,),
        scenario=Scenario(scenario, when, then) if scenario else None,
        faults=faults,
        priority=PRIORITY - priority if priority != PRIORITY else None,
        where=where,
    )


def _state(name: str) -> str | None:
    return BEGINNING if name == "Started" else name or None


def _request(given: Mapping[str, Any]) -> Request:
    method = (text_of(given, "method") or "ANY").upper()
    path, query = _path(given)
    headers = _values(given, "headers")
    if credentials := given.get("basicAuthCredentials"):
        headers["Authorization"] = Value("equals", _basic(known(credentials, "credentials", ("username", "password"))))
    return Request(
        methods=() if method == "ANY" else (method,),
        host=value_of(given["host"]) if "host" in given else None,
        path=path,
        query=query | _values(given, "queryParameters"),
        headers=headers,
        form=_values(given, "formParameters"),
        **_bodies(given.get("bodyPatterns", [])),
    )


def _path(given: Mapping[str, Any]) -> tuple[Value | None, dict[str, Value]]:
    """The path, and what of the query the URL says."""
    names = [name for name in PATHS if name in given]
    if len(names) > 1:
        raise Unreadable(f"`{names[0]}` and `{names[1]}` at once")
    if not names:
        return None, {}
    name, text = names[0], text_of(given, names[0])
    if name == "urlPattern" and "\\?" in text:
        raise Unreadable("a `urlPattern` that holds a query; `urlPathPattern` with `queryParameters` can be read")
    if name in ("urlPattern", "urlPathPattern"):
        return value_of({"matches": text}), {}
    path, _, query = text.partition("?") if name == "url" else (text, "", "")
    captures = CAPTURE.findall(path) if name == "urlPathTemplate" else []
    strange = name == "urlPathTemplate" and re.search(r"[{?]", CAPTURE.sub("", path))
    if not path.startswith("/") or strange or len(set(captures)) < len(captures):
        raise Unreadable(f"`{name}: {text}`, which is no path")
    asked = {key: Value("equals", one) for key, one in parse_qsl(query, keep_blank_values=True)}
    return Value("template" if captures else "equals", path), asked


def _values(given: Mapping[str, Any], name: str) -> dict[str, Value]:
    return {key: value_of(one) for key, one in known(given.get(name, {}), f"`{name}`", None).items()}


def _bodies(patterns: Any) -> dict[str, Any]:
    """What body patterns ask for, as fields of Request."""
    if not isinstance(patterns, list):
        raise Unreadable("`bodyPatterns` must be a list")
    found: dict[str, Any] = {"jsonpath": {}}
    for pattern in patterns:
        name, value = _body(pattern)
        if name == "jsonpath":
            found["jsonpath"] |= value
        elif name in found:
            raise Unreadable("several body patterns of one kind")
        else:
            found[name] = value
    return found


def _body(pattern: Any) -> tuple[str, Any]:
    given = known(pattern, "a body pattern", None)
    readers: dict[str, Callable[[Mapping[str, Any]], tuple[str, Any]]] = {
        "equalToJson": _equal_to_json,
        "matchesJsonPath": _matches_json_path,
    }
    name = next((name for name in readers if name in given), "")
    return readers[name](given) if name else ("body", value_of(given))


def _equal_to_json(given: Mapping[str, Any]) -> tuple[str, Json]:
    known(given, "`equalToJson`", ("equalToJson", "ignoreExtraElements", "ignoreArrayOrder"))
    wanted = given["equalToJson"]
    try:
        wanted = json.loads(wanted) if isinstance(wanted, str) else wanted
    except ValueError as error:
        raise Unreadable(f"`equalToJson` holds no JSON: {error}") from error
    if given.get("ignoreArrayOrder"):
        raise Unreadable("`ignoreArrayOrder`")
    if "${json-unit." in json.dumps(wanted):
        raise Unreadable("a placeholder `${json-unit. …}`")
    return "json", Json(wanted, exact=not given.get("ignoreExtraElements", False))


def _matches_json_path(given: Mapping[str, Any]) -> tuple[str, dict[str, Value]]:
    wanted = known(given, "`matchesJsonPath`", ("matchesJsonPath",))["matchesJsonPath"]
    if isinstance(wanted, str):
        return "jsonpath", {_json_path(wanted): Value("present")}
    inner = dict(known(wanted, "`matchesJsonPath`", None))
    path, value = _json_path(str(inner.pop("expression", ""))), value_of(inner)
    # WireMock compares texts, there: a number fits its digits.
    return "jsonpath", {path: Value("regex", re.escape(value.what)) if value.how == "equals" else value}


def _json_path(text: str) -> str:
    try:
        jsonpath.steps(text)
    except jsonpath.JsonPathError as error:
        raise Unreadable(f"JSONPath {error}") from error
    return text


def _basic(credentials: Mapping[str, Any]) -> str:
    pair = f"{credentials.get('username', '')}:{credentials.get('password', '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
