"""A mock's admin port: one connection that stays open, as two requests go with every test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

from itest.errors import ItestError

TIMEOUT = 10.0  # seconds
TOO_LARGE = "MOCK_LIMIT=32m in the suite's .env takes more, and MOCK_MEMORY goes with it"
LARGE = 1024**2  # bytes; what is larger may be more than the mock takes, which then hangs up


@dataclass(frozen=True)
class Journal:
    """What came, in the order of arrival. lost: entries that the mock had no room for, the oldest ones."""

    entries: list[dict[str, Any]]
    lost: int = 0


class Admin:
    """address: such as `http://127.0.0.1:32768`. greeting: called after every connect, as the mock may be a new one.

    Methods raise ItestError: service where the mock can't be reached, usage in its words for what it can't take.
    """

    def __init__(self, address: str, greeting: Callable[[Admin], object] = lambda _: None) -> None:
        self.address = address
        self._greeting = greeting
        self._connection: HTTPConnection | None = None

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, stubs: Iterable[Mapping[str, Any]]) -> bool:
        """Make these the stubs of everybody. Returns whether they are others than before."""
        return bool(self._ask("PUT", "/global/stubs", list(stubs))["changed"])

    def know(self, addresses: Mapping[str, str]) -> None:
        """What arrives at these addresses of the mock belongs to these scopes."""
        self._ask("PATCH", "/addresses", dict(addresses))

    def begin(self, scope: str, test: str = "") -> dict[str, Any]:
        """Nothing is left of what a scope had. Returns the verdict on what came to it since it last began."""
        found: dict[str, Any] = self._ask("PUT", _path(scope), {"test": test})
        return found

    def end(self, scope: str) -> None:
        """Forget a scope, and its addresses."""
        self._ask("DELETE", _path(scope))

    def add(self, scope: str, stubs: Iterable[Mapping[str, Any]]) -> list[int]:
        """Stubs that only this scope sees, until it begins again. Returns their numbers, for `remove`."""
        numbers: list[int] = self._ask("POST", f"{_path(scope)}/stubs", list(stubs))
        return numbers

    def remove(self, scope: str, number: int) -> None:
        """Take one of a scope's own stubs away; nothing where it is gone."""
        self._ask("DELETE", f"{_path(scope)}/stubs/{number}")

    def refuse(self, refused: bool) -> None:
        """Let nobody connect, but to this port; or everybody again."""
        self._ask("PUT", "/refused", refused)

    def verdict(self, scope: str) -> dict[str, Any]:
        """What is to be said about a scope since it began."""
        found: dict[str, Any] = self._ask("GET", f"{_path(scope)}/verdict")
        return found

    def journal(self, scope: str = "") -> Journal:
        """What came since a scope began; of all scopes, all that the mock still knows."""
        entries, lost, path = list[dict[str, Any]](), 0, f"{_path(scope)}/journal" if scope else "/journal"
        while path:  # a page at a time (RFC 8288)
            answer, said = self._send("GET", path, None)
            entries += json.loads(said)
            lost = max(lost, int(answer.headers.get("Itest-Lost", 0)))
            path = answer.headers.get("Link", "").partition("<")[2].partition(">")[0]
        return Journal(entries, lost)

    def begin_passing(self, upstreams: Iterable[Mapping[str, Any]]) -> None:
        """From now on requests that no stub answers go to real services; see mock/passing.py."""
        self._ask("PUT", "/passing", list(upstreams))

    def passed(self) -> list[dict[str, Any]]:
        """Those that did, and what was answered, secrets included."""
        found: list[dict[str, Any]] = self._ask("GET", "/passing")
        return found

    def certificate(self) -> bytes:
        """The mock's certificate authority, PEM."""
        return self._send("GET", "/ca.pem", None)[1]

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _ask(self, method: str, path: str, data: Any = None) -> Any:
        return json.loads(self._send(method, path, data)[1] or "null")

    def _send(self, method: str, path: str, data: Any) -> tuple[HTTPResponse, bytes]:
        body = None if data is None else json.dumps(data).encode()
        if self._connection:
            try:
                return self._once(self._connection, method, path, body)
            except (OSError, HTTPException):
                self.close()  # it was started anew since the last request, or has closed what nobody used
        try:
            return self._once(self._connected(), method, path, body)
        except (OSError, HTTPException) as error:
            self.close()
            problem = f"mock at {self.address}: {method} {path}: {error or type(error).__name__}"
            if body and len(body) > LARGE:
                problem += f", and {len(body)} bytes may be more than it takes"
                raise ItestError("usage", problem, hint=TOO_LARGE, cause="mock") from error
            raise ItestError("service", problem, hint="make logs", cause="unreachable") from error

    def _connected(self) -> HTTPConnection:
        where = urlsplit(self.address)
        self._connection = connection = HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT)
        connection.connect()
        try:
            self._greeting(self)
        except ItestError:
            self.close()
            raise
        return connection

    def _once(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[HTTPResponse, bytes]:
        connection.request(method, path, body)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == 413:
            problem = f"mock: {method} {path}: {len(body or b'')} bytes are more than it takes"
            raise ItestError("usage", problem, hint=TOO_LARGE, cause="mock")
        if answer.status != 200:
            raise _refused(f"{method} {path}: {answer.status}", said)
        return answer, said


def _refused(what: str, said: bytes) -> ItestError:
    try:
        words = json.loads(said)
        problem, hint = words["error"], words.get("hint", "")
    except (ValueError, TypeError, KeyError):
        problem, hint = f"{what} {said[:300].decode(errors='replace')}", ""
    return ItestError("usage", f"mock: {problem}", hint=hint, cause="mock")


def _path(scope: str) -> str:
    return f"/scopes/{quote(scope, safe='')}"
