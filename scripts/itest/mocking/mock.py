"""The `mock` fixture: stubs of a test's own, faults, and what came to the mock while the test ran."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from itest.errors import ItestError
from itest.mock import stubfile
from itest.mock.whose import HEADER
from itest.mocking import wanted
from itest.mocking.admin import Admin
from itest.mocking.call import Call, call_of
from itest.mocking.placed import Placed
from itest.mocking.received import Received
from itest.suite.schema import nearest

REST = ("name", "scenario", "fault", "limit", "priority")  # of a stub, and what is written shorter here:
ARGUMENTS = ("method", "path", "request", "response", "responses", "status", "headers", "json", "body", "delay")
NOTHING: Any = object()  # not given, where None is a JSON value


class Mock:
    """The mock server as one test sees it: what it adds is gone after the test, what others add it never meets.

    url: where a test itself reaches it, http://127.0.0.1:…; services know it as http://mock:8080. scope: whose requests
    are the test's. strict: whether the test fails for stubs of its own that answered nothing. others: who else uses the
    mock, in words, "" for nobody.
    """

    def __init__(
        self, admin: Admin, scope: str, url: str, root: Path, ca: Callable[[], Path], others: str = ""
    ) -> None:
        self.url, self.scope, self.strict = url, scope, False
        self._admin, self._root, self._ca, self._others = admin, root, ca, others

    @property
    def ca(self) -> Path:
        """A file with the certificate of the authority that signs for every host name: `verify=mock.ca`."""
        return self._ca()

    @property
    def headers(self) -> dict[str, str]:
        """What makes a request that the test sends by itself its own, whoever else sends some meanwhile."""
        return {HEADER: self.scope}

    @property
    def proxy(self) -> str:
        """The mock as a proxy for requests that the test sends by itself: `proxies={"https": mock.proxy}`."""
        return self.url.replace("://", f"://{quote(self.scope, safe='')}:x@")

    def stub(
        self,
        method: str | Sequence[str] = "",
        path: wanted.Path = "",
        *,
        request: Mapping[str, Any] | None = None,
        response: Mapping[str, Any] | None = None,
        responses: Sequence[Mapping[str, Any]] | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = NOTHING,
        body: str | None = None,
        delay: str | Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> Placed:
        """Answer requests like these from now on: `mock.stub("POST", "/v1/payments", status=201, json={"id": 1})`.

        request, response, responses: as in a stub file; status, headers, json, body, delay: of the response; rest:
        name, scenario, fault, limit, priority. Of stubs that are equally specific the newest answers. It stays to the
        end of the test, or of `with mock.stub(…):`, or until `.remove()` of what is returned.
        Raises ItestError (usage) for what a stub file could not say either.
        """
        if unknown := [name for name in rest if name not in stubfile.STUB]:
            problem = f"{_caller(self._root)}: mock.stub: unknown argument `{unknown[0]}`"
            raise ItestError("usage", problem, hint=nearest(unknown[0], (*ARGUMENTS, *REST)), cause="mock")
        short = {"status": status, "headers": headers, "body": body, "delay": delay}
        answer = {name: value for name, value in short.items() if value is not None}
        answer |= {} if json is NOTHING else {"json": json}
        asked = {"method": method, "path": path} | dict(request or {})
        given: dict[str, Any] = {"request": {name: value for name, value in asked.items() if value}, **rest}
        if responses is not None:
            given["responses"] = list(responses)
        if answer or response or responses is None:
            given["response"] = dict(response or {}) | answer
        return self._add(given, "mock.stub")

    def fail(
        self,
        method: str = "",
        path: wanted.Path = "",
        *,
        first: int | None = None,
        between: Sequence[str] | None = None,
        probability: float | None = None,
        seed: int | None = None,
        **effect: Any,
    ) -> Placed:
        """Let requests go wrong from now on: `mock.fail("POST", "/v1/payments", first=2, status=503)`.

        method, path: of those requests; without either: all. effect: one of status (and headers),
        slow_headers, slow_body, truncated, malformed, reset, never_answers, delay. When: the first so many, between two
        times (`["1s", "5s"]`), with a probability and a seed; always where none is given. What a fault doesn't hit is
        answered as ever. It goes as `stub` does. Raises ItestError (usage) likewise.
        """
        when = {"first": first, "between": between, "probability": probability, "seed": seed}
        fault = {name: value for name, value in when.items() if value is not None} | effect
        request = {name: value for name, value in (("method", method), ("path", path)) if value}
        return self._add({"request": request, "fault": fault, "overlay": True}, "mock.fail")

    @contextmanager
    def refused(self) -> Iterator[None]:
        """While in it, whoever connects to the mock gets `connection refused`, and who was connected is cut off.

        There is no request yet then that could say whose it is, so this is for a mock that no other worker uses.
        Raises ItestError (usage) otherwise.
        """
        if self._others:
            problem = f"mock.refused: a port is closed for everybody, and {self._others}"
            hint = "per_worker: [mock, …] in the suite's overlay; or mock.fail(reset=True), which is for one test alone"
            raise ItestError("usage", problem, hint=hint, cause="mock")
        self._admin.refuse(True)
        try:
            yield
        finally:
            self._admin.refuse(False)

    def received(self, method: str = "", path: wanted.Path = "", **matchers: Any) -> Received:
        """What came since the test began and fits, unfinished requests too: `mock.received("POST", "/v1/payments")`.

        matchers: host, query, headers, json (a part of it), json_exact, jsonpath, form, body, as in a stub file.
        """
        asked, journal = wanted.wanted(method, path, **matchers), self._admin.journal(self.scope)
        return Received([call_of(entry) for entry in journal.entries], asked, journal.lost)

    @property
    def journal(self) -> Received:
        """All that came since the test began."""
        return self.received()

    @property
    def in_flight(self) -> list[Call]:
        """Requests that have no complete answer yet."""
        return self.journal.in_flight

    def _add(self, given: Mapping[str, Any], source: str) -> Placed:
        """A stub that is named after the line of the test that made it, unless it has a name."""
        where = _caller(self._root)
        (stub,) = stubfile.from_data(given, f"{where}: {source}")
        name = where if stub.name == stub.where else stub.name
        (number,) = self._admin.add(self.scope, [replace(stub, name=name, where=where).as_data()])
        return Placed(name, where, partial(self._admin.remove, self.scope, number))


def _caller(root: Path) -> str:
    """`tests/external/test_pay.py:12`: the line outside of this file that is under way."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    file = Path(frame.f_code.co_filename)
    return f"{file.relative_to(root) if file.is_relative_to(root) else file}:{frame.f_lineno}"
