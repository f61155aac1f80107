"""`response:` and `responses:` of a stub file."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itest.mock import stubfile_values as read_value
from itest.mock.stubs import Json, Response
from itest.suite.schema import described, integer, string, wrong
from itest.suite.yamlfile import Keys, YamlFile

BODIES = ("json", "body", "file", "base64")
KNOWN = ("status", "headers", *BODIES, "delay", "template")
MOST_BYTES = 16 * 1024 * 1024  # of a file that is a response's body


def responses(file: YamlFile, keys: Keys, stub: Mapping[str, Any], folder: Path | None) -> tuple[Response, ...]:
    """The responses of a stub, one that is empty where it says none. folder: where `file:` looks, None for nowhere."""
    if "responses" not in stub:
        return (_response(file, (*keys, "response"), stub.get("response", {}), folder),)
    place, several = (*keys, "responses"), stub["responses"]
    if "response" in stub:
        raise wrong(file, place, "`response` and `responses` can't both be", "keep one of them")
    if not isinstance(several, list) or not several:
        raise wrong(file, place, f"`responses` must be a list of responses, not {described(several)}")
    return tuple(_response(file, (*place, index), one, folder) for index, one in enumerate(several))


def _response(file: YamlFile, keys: Keys, value: Any, folder: Path | None) -> Response:
    given = read_value.known(file, keys, value, "a response", KNOWN)
    bodies = [name for name in BODIES if name in given]
    if len(bodies) > 1:
        raise wrong(file, (*keys, bodies[1]), f"`{bodies[0]}` and `{bodies[1]}` can't both be", "keep one of them")
    template = read_value.truth(file, (*keys, "template"), given.get("template", "file" not in given))
    headers = read_value.headers(file, (*keys, "headers"), given.get("headers", {}))
    body: Json | str | bytes = b""
    if bodies == ["file"]:
        body, kind = _contents(file, (*keys, "file"), given["file"], folder)
        body = body.decode("utf-8", "replace") if template else body
        if "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = kind
    elif bodies:
        body = _body(file, (*keys, bodies[0]), given[bodies[0]])
    if template:
        read_value.templates_in(file, (*keys, "headers"), headers)
        read_value.templates_in(file, (*keys, *bodies), body.value if isinstance(body, Json) else body)
    delay = read_value.delay(file, (*keys, "delay"), given["delay"]) if "delay" in given else None
    status = integer(file, (*keys, "status"), given.get("status", 200), 200, 599)
    return Response(status, headers, body, delay, template)


def _body(file: YamlFile, keys: Keys, value: Any) -> Json | str | bytes:
    """What is written in the stub itself, as json, body or base64."""
    if keys[-1] == "json":
        return Json(read_value.plain(file, keys, value))
    if not isinstance(value, str):
        raise wrong(file, keys, f"`{keys[-1]}` must be a text, not {described(value)}", "json: … for anything else")
    if keys[-1] == "body":
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong(file, keys, f"`base64` can't be decoded: {error}") from error


def _contents(file: YamlFile, keys: Keys, value: Any, folder: Path | None) -> tuple[bytes, str]:
    """A file next to the stub file, or below, and its content type."""
    name = string(file, keys, value)
    if folder is None:
        raise wrong(file, keys, "`file` is for stub files alone", "body: …, or base64: …")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise wrong(file, keys, f"`file: {name}` leads out of the stubs' folder", "copy it into the folder")
    if not path.is_file():
        raise wrong(file, keys, f"`file: {name}` is not there", f"its place is {file.path.parent / name}")
    if path.stat().st_size > MOST_BYTES:
        raise wrong(file, keys, f"`file: {name}` has more than {MOST_BYTES >> 20} MiB", "a smaller one")
    return path.read_bytes(), mimetypes.guess_type(name)[0] or "application/octet-stream"
