"""Stub files: a YAML list of stubs, checked in full before anything starts. The admin API takes the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itest.errors import ItestError
from itest.mock import stubfile_values as read_value
from itest.mock import wiremock
from itest.mock.stubfile_faults import faults, limit
from itest.mock.stubfile_responses import responses
from itest.mock.stubs import EMPTY, Json, Request, Scenario, Stub, Value
from itest.suite.schema import described, integer, string, strings, wrong
from itest.suite.yamlfile import Keys, YamlFile, parse, read_text

RECORDED = "recorded"  # the folder, in one of stubs, of those that `make record` writes; others go before them
STUB = (
    "name",
    "request",
    "response",
    "responses",
    "scenario",
    "fault",
    "limit",
    "priority",
    "scope_key",
    "overlay",
    "where",
)
REQUEST = ("method", "host", "path", "query", "headers", "json", "json_exact", "jsonpath", "form", "body")


def read(root: Path, path: Path) -> tuple[Stub, ...]:
    """The stubs of one YAML file. Raises ItestError (usage), which names file and line.

    root: the repository's; path: from there.
    """
    return _stubs(parse(path, read_text(root, path)), (root / path).parent)


def read_folder(root: Path, folder: Path) -> tuple[Stub, ...]:
    """The stubs of a folder's YAML files and of its WireMock mappings (JSON), file by file in the order of names, after

    those that were recorded. Without such a folder there are none. Raises ItestError (usage).
    """
    files = sorted((root / folder).iterdir()) if (root / folder).is_dir() else []
    found = list(read_folder(root, folder / RECORDED)) if (root / folder / RECORDED).is_dir() else []
    for path in (folder / file.name for file in files if not file.name.startswith(".")):
        if path.suffix in (".yaml", ".yml"):
            found += read(root, path)
        elif path.suffix == ".json":
            found += wiremock.read(root, path)
    return tuple(found)


def from_data(data: Any, source: str) -> tuple[Stub, ...]:
    """One stub or a list of them, as JSON. source: what messages begin with. Raises ItestError (usage)."""
    named = {source: data}
    if isinstance(data, list):
        named = {f"{source} stub {index}": one for index, one in enumerate(data, 1)}
    return tuple(
        stub
        for name, one in named.items()
        for stub in _stubs(YamlFile(Path(name), [one], {}), None)  # type: ignore[arg-type]
    )


def _stubs(file: YamlFile, folder: Path | None) -> tuple[Stub, ...]:
    """folder: where `file:` looks, None where nothing may be read."""
    items: Any = file.data
    if items is None:
        return ()  # a file of comments
    if not isinstance(items, list):
        problem = f"{file.path}: a list of stubs is expected, not {described(items)}"
        raise ItestError("usage", problem, hint="begin with `- request: …`", cause="config")
    return tuple(_stub(file, (index,), item, folder) for index, item in enumerate(items))


def _stub(file: YamlFile, keys: Keys, value: Any, folder: Path | None) -> Stub:
    given = read_value.known(file, keys, value, "a stub", STUB)
    if "request" not in given:
        raise wrong(file, keys, "a stub without `request:` answers nothing", "request: {method: GET, path: /}")
    if given.get("priority") is not None:
        integer(file, (*keys, "priority"), given["priority"], -1_000_000, 1_000_000)
    where = _word(file, keys, given, "where") or file.where(*keys)
    return Stub(
        name=_word(file, keys, given, "name") or where,
        request=_request(file, (*keys, "request"), given["request"]),
        responses=responses(file, keys, given, folder),
        scenario=_scenario(file, (*keys, "scenario"), given["scenario"]) if "scenario" in given else None,
        faults=faults(file, (*keys, "fault"), given.get("fault", [])),
        limit=limit(file, (*keys, "limit"), given["limit"]) if "limit" in given else None,
        priority=given.get("priority"),
        scope_key=_scope_key(file, keys, given),
        where=where,
        overlay=_overlay(file, keys, given),
    )


def _request(file: YamlFile, keys: Keys, value: Any) -> Request:
    given = read_value.known(file, keys, value, "a request", REQUEST)
    return Request(
        methods=tuple(map(str.upper, strings(file, (*keys, "method"), given["method"]))) if "method" in given else (),
        host=read_value.text_value(file, (*keys, "host"), given["host"]) if "host" in given else None,
        path=read_value.path_value(file, (*keys, "path"), given["path"]) if "path" in given else None,
        query=_values(file, keys, given, "query"),
        headers=_values(file, keys, given, "headers"),
        json=_json(file, keys, given),
        jsonpath=_values(file, keys, given, "jsonpath"),
        form=_values(file, keys, given, "form"),
        body=read_value.text_value(file, (*keys, "body"), given["body"]) if "body" in given else None,
    )


def _json(file: YamlFile, keys: Keys, given: Mapping[str, Any]) -> Json | None:
    names = [name for name in ("json", "json_exact") if name in given]
    if len(names) > 1:
        raise wrong(file, (*keys, "json_exact"), "`json` and `json_exact` can't both be", "keep one of them")
    return Json(read_value.plain(file, (*keys, names[0]), given[names[0]]), names[0] == "json_exact") if names else None


def _values(file: YamlFile, keys: Keys, given: Mapping[str, Any], name: str) -> Mapping[str, Value]:
    if name not in given:
        return EMPTY
    place, values = (*keys, name), given[name]
    if not isinstance(values, dict):
        raise wrong(file, place, f"`{name}` must be a mapping of names, not {described(values)}")
    if name == "jsonpath":
        for path in values:
            read_value.json_path(file, (*place, str(path)), str(path))
    read_one = read_value.any_value if name == "jsonpath" else read_value.text_value
    return {str(key): read_one(file, (*place, str(key)), value) for key, value in values.items()}


def _scenario(file: YamlFile, keys: Keys, value: Any) -> Scenario:
    given = read_value.known(file, keys, value, "a scenario", ("name", "when", "then"))
    name = string(file, (*keys, "name"), given.get("name"))
    return Scenario(name, _word(file, keys, given, "when") or None, _word(file, keys, given, "then") or None)


def _scope_key(file: YamlFile, keys: Keys, given: Mapping[str, Any]) -> str:
    key = _word(file, keys, given, "scope_key")
    return read_value.json_path(file, (*keys, "scope_key"), key) if key.startswith("$") else key


def _overlay(file: YamlFile, keys: Keys, given: Mapping[str, Any]) -> bool:
    if not read_value.truth(file, (*keys, "overlay"), given.get("overlay", False)):
        return False
    answering = [name for name in ("response", "responses", "scenario", "limit") if name in given]
    if answering or "fault" not in given:
        problem = f"an overlay has no `{answering[0]}`" if answering else "an overlay without `fault:` changes nothing"
        raise wrong(file, (*keys, "overlay"), problem, "it has faults alone, for whatever other stub answers")
    return True


def _word(file: YamlFile, keys: Keys, given: Mapping[str, Any], name: str) -> str:
    return string(file, (*keys, name), given[name]) if given.get(name) is not None else ""
