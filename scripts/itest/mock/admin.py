"""The mock's own API: JSON over the admin port, which only this machine and the stack reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from mitmproxy import http

from itest.errors import ItestError
from itest.mock import stubfile
from itest.mock.journal import Entry, weight
from itest.mock.stubs import EMPTY

if TYPE_CHECKING:
    from itest.mock.addon import Mock

SCOPE = r"/scopes/(?P<scope>[^/]+)"
PAGE = 1024**2  # bytes of entries in one answer: JSON takes several times as much memory while it is made
LOST = "Itest-Lost"  # a journal's entries for which there was no room


class Admin:
    """Routes, and what they do to a mock's scopes."""

    def __init__(self, mock: Mock) -> None:
        self.mock, self.scopes = mock, mock.scopes
        self.routes: dict[tuple[str, str], Callable[..., Any]] = {
            ("GET", "/health"): self.health,
            ("GET", "/ca.pem"): self.certificate,
            ("GET", "/journal"): self.everything,
            ("PUT", "/addresses"): self.addresses,
            ("PATCH", "/addresses"): self.more_addresses,
            ("PUT", "/refused"): self.refused,
            ("PUT", "/global/stubs"): self.replace,
            ("PUT", "/passing"): self.begin_passing,
            ("GET", "/passing"): self.passed,
            ("PUT", SCOPE): self.begin,
            ("DELETE", SCOPE): self.end,
            ("POST", f"{SCOPE}/stubs"): self.add,
            ("DELETE", rf"{SCOPE}/stubs/(?P<number>\d+)"): self.remove,
            ("GET", f"{SCOPE}/journal"): self.journal,
            ("GET", f"{SCOPE}/verdict"): self.verdict,
        }

    async def response(self, request: http.Request) -> http.Response:
        """Whatever comes of a request: 400 and a reason for a person's mistake, 404 and the routes for no route."""
        path = request.path.partition("?")[0]
        for (method, pattern), handle in self.routes.items():
            if method == request.method and (found := re.fullmatch(pattern, path)):
                try:
                    data = json.loads(request.content) if request.content else None
                    said = handle(
                        data, request.query, **{key: unquote(text) for key, text in found.groupdict().items()}
                    )
                    said = await said if isawaitable(said) else said
                except ItestError as error:
                    return answer(400, {"error": error.message, "hint": error.hint})
                except (ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
                    return answer(400, {"error": f"{request.method} {path}: {error}"})
                return said if isinstance(said, http.Response) else answer(200, said)
        routes = [re.sub(r"\(\?P(<\w+>).*?\)", r"\1", " ".join(route)) for route in self.routes]
        return answer(404, {"error": f"no route {request.method} {path}", "routes": routes})

    def health(self, data: Any, query: Mapping[str, str]) -> Any:
        return {"status": "ok"}

    def certificate(self, data: Any, query: Mapping[str, str]) -> Any:
        return http.Response.make(200, self.mock.authority.certificate, {"content-type": "application/x-pem-file"})

    def everything(self, data: Any, query: Mapping[str, str]) -> Any:
        """Of all scopes. lost: all that ever were, though not after the number that is asked for."""
        after = int(query.get("since", "0"))
        return page(self.scopes.since(after), "/journal", max(0, self.scopes.forgotten - after))

    def addresses(self, data: Any, query: Mapping[str, str]) -> Any:
        self.scopes.set_addresses({str(address): str(scope) for address, scope in data.items()})

    def more_addresses(self, data: Any, query: Mapping[str, str]) -> Any:
        self.scopes.know_addresses({str(address): str(scope) for address, scope in data.items()})

    async def refused(self, data: Any, query: Mapping[str, str]) -> None:
        if not isinstance(data, bool):
            raise ValueError("true or false")
        await self.mock.refuse(data)

    def replace(self, data: Any, query: Mapping[str, str]) -> Any:
        stubs = stubfile.from_data(data, "PUT /global/stubs")
        return {"changed": self.scopes.set_global(stubs, self.mock.now())}

    def begin_passing(self, data: Any, query: Mapping[str, str]) -> Any:
        self.mock.passing.begin(data)

    def passed(self, data: Any, query: Mapping[str, str]) -> Any:
        return [one.as_data() for one in self.mock.passing.passed]

    async def begin(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        """A test begins. Answers with the verdict on what was there before, so that no request falls in between."""
        if self.mock.refusing:  # who wanted that is gone
            await self.mock.refuse(False)
        said, before = data or {}, self.scopes.verify(scope, self.mock.now()).as_data()
        self.mock.release(scope)
        self.scopes.begin(scope, self.mock.now(), str(said.get("test", "")), strict=bool(said.get("strict", False)))
        return before

    def end(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        self.mock.release(scope)
        self.scopes.reset(scope)

    def add(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        """Answers with a number for each, by which it can be removed."""
        return self.scopes.add(scope, stubfile.from_data(data, f"POST /scopes/{scope}/stubs"), self.mock.now())

    def remove(self, data: Any, query: Mapping[str, str], scope: str, number: str) -> Any:
        return {"removed": self.scopes.remove(scope, int(number))}

    def journal(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        after = int(query.get("since", "0"))
        entries = [entry for entry in self.scopes.journal(scope) if entry.number > after]
        return page(
            entries, f"/scopes/{quote(scope, safe='')}/journal", self.scopes.verify(scope, self.mock.now()).lost
        )

    def verdict(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        return self.scopes.verify(scope, self.mock.now()).as_data()


def page(entries: Sequence[Entry], path: str, lost: int) -> http.Response:
    """As many of a journal's entries as one answer holds, one at least. Where more follow, `Link` says (RFC 8288).

    path: of the journal.
    """
    sizes = accumulate(map(weight, entries))
    shown = entries[: max(1, sum(size <= PAGE for size in sizes))]
    headers = {LOST: str(lost)}
    if len(shown) < len(entries):
        headers["Link"] = f'<{path}?since={shown[-1].number}>; rel="next"'
    return answer(200, [entry.as_data() for entry in shown], headers)


def answer(status: int, data: Any, headers: Mapping[str, str] = EMPTY) -> http.Response:
    return http.Response.make(status, json.dumps(data).encode(), {"content-type": "application/json", **headers})
