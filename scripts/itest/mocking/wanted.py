"""Which requests a test asks for, in the words of the stub files: `mock.received("POST", "/v1/payments/{id}")`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itest.errors import ItestError
from itest.mock import matching, stubfile
from itest.mock.stubs import Request
from itest.mocking.call import Call

Path = str | Mapping[str, Any]  # exact, with {names}, or {"glob": …}, {"regex": …}, {"contains": …}
Step = str | Mapping[str, Any]  # "POST /v1/payments", "/v1/payments", or the `request:` of a stub
STEP = re.compile(r"(?P<method>[A-Z]+)?\s*(?P<path>/\S*)?")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a request, and how that is said."""

    request: Request
    title: str

    def fits(self, call: Call) -> bool:
        return not self.differences(call)

    def differences(self, call: Call) -> list[str]:
        """What keeps a request from being one of these, a line each."""
        return list(map(str, matching.differences(self.request, call.request)))


def wanted(method: str = "", path: Path = "", **rest: Any) -> Wanted:
    """rest: host, query, headers, json (a part of it), json_exact, jsonpath, form, body, as in a stub's `request:`.

    Raises ItestError (usage) for what no request could have.
    """
    given = {"method": method, "path": path} | rest
    return _wanted({name: value for name, value in given.items() if value not in ("", None)}, "mock.received")


def step(given: Step) -> Wanted:
    """One step of an order. Raises ItestError (usage)."""
    if not isinstance(given, str):
        return _wanted(given, "in_order")
    found = STEP.fullmatch(given)
    if not found or not given:
        problem = f"in_order: `{given}` is no request"
        raise ItestError("usage", problem, hint='such as "POST /v1/payments"', cause="mock")
    return _wanted({name: value for name, value in found.groupdict().items() if value}, "in_order")


def _wanted(given: Mapping[str, Any], source: str) -> Wanted:
    request = stubfile.from_data({"request": dict(given)}, source)[0].request
    return Wanted(request, _title(request) or "any request")


def _title(request: Request) -> str:
    parts = ["|".join(request.methods), matching.described(request.path) if request.path else ""]
    if request.host:
        parts.append(f"to {matching.described(request.host)}")
    for name in ("query", "headers", "jsonpath", "form"):
        values = getattr(request, name)
        parts += [f"{name.rstrip('s')} {key}: {matching.described(value)}" for key, value in values.items()]
    if request.json:
        parts.append(f"JSON {matching.shown(request.json.value)}")
    if request.body:
        parts.append(f"body {matching.described(request.body)}")
    return " ".join(filter(None, parts))
