"""Which requests a test asks for, in the words of the stub files: `mock.received("POST", "/v1/payments/{id}")`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from itest.errors import ItestError
from itest.mock import matching, stubfile
from itest.mock.stubs import EMPTY, Request
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
        """Raises ItestError (usage) where that hangs on what the mock's journal didn't keep."""
        return not self.differences(call)

    def differences(self, call: Call) -> list[str]:
        """What keeps a request from being one of these, a line each. Raises ItestError as `fits` does."""
        asked = self.request
        if call.body_missing:
            asked = replace(asked, body=None, json=None, jsonpath=EMPTY, form=EMPTY)
        if call.headers_missing:
            asked = replace(asked, headers=EMPTY, form=EMPTY)  # a form is known by its header
        found = list(map(str, matching.differences(asked, call.request)))
        if not found and asked != self.request:
            hint = "MOCK_DETAIL=full, or a greater MOCK_KEEP, in the suite's .env"
            problem = f"{self.title}: {call.title} (#{call.number}) may be one, but the mock's journal did not keep "
            problem += call.headers_missing if asked.headers != self.request.headers else call.body_missing
            raise ItestError("usage", problem, hint=hint, cause="mock")
        return found


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
