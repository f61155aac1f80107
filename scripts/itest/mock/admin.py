"""The mock's own API: JSON over the admin port, which only this machine and the stack reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mitmproxy import http

from itest.errors import ItestError
from itest.mock import stubfile
from itest.mock.scopes import Verdict

if TYPE_CHECKING:
    from itest.mock.addon import Mock

SCOPE = r"/scopes/(?P<scope>[^/]+)"


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
            ("PUT", SCOPE): self.begin,
            ("DELETE", SCOPE): self.end,
            ("POST", f"{SCOPE}/stubs"): self.add,
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
                except (ValueError, TypeError, AttributeError, OSError) as error:
                    return answer(400, {"error": f"{request.method} {path}: {error}"})
                return said if isinstance(said, http.Response) else answer(200, said)
        routes = [f"{method} {pattern.replace(SCOPE, '/scopes/<scope>')}" for method, pattern in self.routes]
        return answer(404, {"error": f"no route {request.method} {path}", "routes": routes})

    def health(self, data: Any, query: Mapping[str, str]) -> Any:
        return {"status": "ok"}

    def certificate(self, data: Any, query: Mapping[str, str]) -> Any:
        return http.Response.make(200, self.mock.authority.certificate, {"content-type": "application/x-pem-file"})

    def everything(self, data: Any, query: Mapping[str, str]) -> Any:
        return [entry.as_data() for entry in self.scopes.since(int(query.get("since", "0")))]

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

    def begin(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        """A test begins. Answers with the verdict on what was there before, so that no request falls in between."""
        said, before = data or {}, as_data(self.scopes.verify(scope, self.mock.now()))
        self.mock.release(scope)
        self.scopes.begin(scope, self.mock.now(), str(said.get("test", "")), strict=bool(said.get("strict", False)))
        return before

    def end(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        self.mock.release(scope)
        self.scopes.reset(scope)

    def add(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        self.scopes.add(scope, stubfile.from_data(data, f"POST /scopes/{scope}/stubs"), self.mock.now())

    def journal(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        return [entry.as_data() for entry in self.scopes.journal(scope)]

    def verdict(self, data: Any, query: Mapping[str, str], scope: str) -> Any:
        return as_data(self.scopes.verify(scope, self.mock.now()))


def as_data(verdict: Verdict) -> dict[str, Any]:
    """For JSON."""
    entries = {name: getattr(verdict, name) for name in ("unmatched", "problems", "in_flight")}
    return {
        "test": verdict.test,
        "strict": verdict.strict,
        **{name: [entry.as_data() for entry in some] for name, some in entries.items()},
        "unused": [{"name": stub.name, "where": stub.where} for stub in verdict.unused],
        "lost": verdict.lost,
    }


def answer(status: int, data: Any) -> http.Response:
    return http.Response.make(status, json.dumps(data).encode(), {"content-type": "application/json"})
