"""How WireMock says what is answered, and what goes wrong with it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itest.mock.replies import BREAK
from itest.mock.stubs import Delay, Effect, Fault, Json, Response
from itest.mock.wiremock_values import MILLISECOND, Unreadable, known, seconds, text_of, whole

BODIES = ("body", "jsonBody", "base64Body", "bodyFileName")
DELAYS = ("fixedDelayMilliseconds", "delayDistribution")
KNOWN = ("status", "statusMessage", "headers", *BODIES, *DELAYS, "fault", "chunkedDribbleDelay", "transformers")
FAULTS = {
    "CONNECTION_RESET_BY_PEER": Effect("reset"),
    "EMPTY_RESPONSE": Effect("truncated", 0.0),
    "MALFORMED_RESPONSE_CHUNK": Effect("truncated", 0.5),
}


def response_of(value: Any, folder: Path | None) -> tuple[Response, tuple[Fault, ...]]:
    """The response of a mapping and its faults. folder: the mappings', for `bodyFileName`. Raises Unreadable."""
    given = known(value, "a response", KNOWN)
    body = _body(given, folder)
    if given.get("transformers") and "{{" in str(body):
        raise Unreadable("a Handlebars template")
    headers = {name: _header(one) for name, one in known(given.get("headers", {}), "`headers`", None).items()}
    response = Response(whole(given, "status", 200, 200, 599), headers, body, _delay(given), template=False)
    return response, _faults(given)


def _header(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if BREAK.search(text):
        raise Unreadable("a header with a line break")
    return text


def _body(given: Mapping[str, Any], folder: Path | None) -> Json | str | bytes:
    names = [name for name in BODIES if name in given]
    if len(names) > 1:
        raise Unreadable(f"`{names[0]}` and `{names[1]}` at once")
    if not names:
        return b""
    value = given[names[0]]
    if names == ["jsonBody"]:
        return Json(value)
    if names == ["body"]:
        return str(value)
    if names == ["bodyFileName"]:
        return _contents(str(value), folder)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Unreadable(f"`base64Body`: {error}") from error


def _contents(name: str, folder: Path | None) -> bytes:
    """A file of `__files`, which stands next to the mappings, or next to their folder as WireMock has it."""
    for place in (folder / "__files", folder.parent / "__files") if folder else ():
        path = (place / name).resolve()
        if path.is_relative_to(place.resolve()) and path.is_file():
            return path.read_bytes()
    raise Unreadable(f"`bodyFileName: {name}`, which is not in `__files`")


def _delay(given: Mapping[str, Any]) -> Delay | None:
    if all(name in given for name in DELAYS):
        raise Unreadable("two delays at once")
    if "delayDistribution" not in given:
        fixed = seconds(given, "fixedDelayMilliseconds")
        return Delay("fixed", fixed) if fixed else None
    spread = known(given["delayDistribution"], "a delay", ("type", "lower", "upper", "median", "sigma", "milliseconds"))
    kind = text_of(spread, "type")
    if kind == "uniform":
        return Delay("uniform", *sorted((seconds(spread, "lower"), seconds(spread, "upper"))))
    if kind == "lognormal":
        return Delay("lognormal", seconds(spread, "median"), seconds(spread, "sigma") / MILLISECOND)
    if kind == "fixed":
        return Delay("fixed", seconds(spread, "milliseconds"))
    raise Unreadable(f"a delay of type `{kind}`")


def _faults(given: Mapping[str, Any]) -> tuple[Fault, ...]:
    if fault := text_of(given, "fault"):
        if fault not in FAULTS:
            raise Unreadable(f"the fault `{fault}`")
        return (Fault(FAULTS[fault]),)
    if "chunkedDribbleDelay" not in given:
        return ()
    dribble = known(given["chunkedDribbleDelay"], "a dribble", ("numberOfChunks", "totalDuration"))
    return (Fault(Effect("slow_body", seconds(dribble, "totalDuration"))),)
