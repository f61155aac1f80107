"""While a suite is recorded: requests go on to the real service, and what both said is kept, in memory alone.

The mock is on a network with a way out only then (compose/profiles/record.yaml), and connects to what it is told and to
nothing else, at addresses that whoever records has found: it asks no name server.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from itest.mock.incoming import Incoming, Pairs
from itest.mock.replies import Answer
from itest.mock.stubfile import RECORDED
from itest.mock.whose import HEADER

if TYPE_CHECKING:
    from itest.mock.scopes import Decision

PATIENCE = 30.0  # seconds that a real service may take to connect, and between two pieces of an answer
MOST_BODY = 4 * 1024 * 1024  # bytes of an answer
# Between two hops and no further (RFC 9110, 7.6.1), or the mock's own. What is compressed could not be masked.
NOT_SENT = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
NOT_SENT |= {"proxy-authorization", "host", "content-length", "accept-encoding", "baggage", HEADER.lower()}
NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "trailer", "alt-svc"}


class Unreached(Exception):
    """There is no answer of the real service; its text says why."""


@dataclass(frozen=True)
class Upstream:
    """A real service. name: the host for which it is asked, `host[:port][/path]`; url: where it is; address: the IP

    address of that; every: what stubs would answer goes there too; ca: PEM of the authorities that may vouch for it.
    """

    name: str
    url: str
    address: str
    every: bool = False
    ca: str = ""

    def fits(self, incoming: Incoming) -> bool:
        host, _, path = self.name.partition("/")
        inside = not path or f"{incoming.path}/".startswith(f"/{path}/")
        return inside and host.lower() in (incoming.host.lower(), f"{incoming.host}:{incoming.port}".lower())

    def target(self, incoming: Incoming) -> str:
        """What is asked for there: what follows the name's own path, below the URL's."""
        own = len(self.name.partition("/")[2])
        path = urlsplit(self.url).path.rstrip("/") + incoming.path[own + 1 if own else 0 :]
        return (path or "/") + (f"?{urlencode(incoming.query, quote_via=quote)}" if incoming.query else "")


@dataclass(frozen=True)
class Passed:
    """One request and what the real service said. problem: why it said nothing; test: whose request it was."""

    number: int
    test: str
    upstream: str
    request: Incoming
    answer: Answer
    problem: str = ""

    def as_data(self) -> dict[str, Any]:
        request = self.request.as_data() | {"base64": base64.b64encode(self.request.body).decode()}
        answer = {"status": self.answer.status, "headers": [list(pair) for pair in self.answer.headers]}
        answer["base64"] = base64.b64encode(self.answer.body).decode()
        plain = {name: getattr(self, name) for name in ("number", "test", "upstream", "problem")}
        return plain | {"request": request, "answer": answer}


class Passing:
    """Which requests pass, and those that did. None do until somebody names upstreams."""

    def __init__(self) -> None:
        self.upstreams: tuple[Upstream, ...] = ()
        self.passed: list[Passed] = []

    def begin(self, upstreams: Sequence[Mapping[str, Any]]) -> None:
        """From now on, and forget what was kept. Raises TypeError for what is no upstream."""
        found = [Upstream(**one) for one in upstreams]
        self.upstreams = tuple(sorted(found, key=lambda one: len(one.name), reverse=True))  # /payments before all of it
        self.passed = []

    def upstream_of(self, decision: Decision, incoming: Incoming) -> Upstream | None:
        """Where a request goes for which no stub was found, or only one that was recorded; None: nowhere.

        A fault that a test asked for stays one.
        """
        entry = decision.entry
        if entry.effect or entry.limited:
            return None
        ours = entry.matched and f"/{RECORDED}/" not in entry.where
        return next((one for one in self.upstreams if one.fits(incoming) and (one.every or not ours)), None)

    async def ask(self, upstream: Upstream, incoming: Incoming, number: int, test: str) -> Passed:
        """The real service's answer, or 502 and why there is none."""
        try:
            answer, problem = await asyncio.to_thread(fetch, upstream, incoming), ""
        except Unreached as error:
            problem = f"{upstream.name}: {upstream.url}: {error}"
            answer = Answer.of_json(502, {"error": problem})
        passed = Passed(number, test, upstream.name, incoming, answer, problem)
        self.passed.append(passed)
        return passed


def fetch(upstream: Upstream, incoming: Incoming) -> Answer:
    """Ask for real. The certificate must be for the URL's own host, whatever the address. Raises Unreached."""
    try:
        with closing(_connection(upstream)) as connection:
            _send(connection, upstream, incoming)
            answer = connection.getresponse()
            body = answer.read(MOST_BODY + 1)
            if len(body) > MOST_BODY:
                raise Unreached(f"its answer is longer than {MOST_BODY // 1024**2} MiB")
            return Answer(answer.status, _kept(answer.getheaders()), body)
    except (OSError, HTTPException, ValueError) as error:
        raise Unreached(str(error) or type(error).__name__) from error


def _send(connection: HTTPConnection, upstream: Upstream, incoming: Incoming) -> None:
    connection.putrequest(incoming.method, upstream.target(incoming), skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", urlsplit(upstream.url).netloc)
    for name, value in incoming.headers:
        if name.lower() not in NOT_SENT:
            connection.putheader(name, value.encode("utf-8", "surrogateescape"))
    connection.putheader("Accept-Encoding", "identity")
    if incoming.body or incoming.method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(incoming.body)))
    connection.endheaders(incoming.body or None)


def _kept(headers: Sequence[tuple[str, str]]) -> Pairs:
    return tuple((name, value) for name, value in headers if name.lower() not in NOT_PASSED_ON)


def _connection(upstream: Upstream) -> HTTPConnection:
    where = urlsplit(upstream.url)
    if where.scheme == "http":
        return HTTPConnection(upstream.address, where.port, timeout=PATIENCE)
    context = ssl.create_default_context(cadata=upstream.ca)
    return _Verified(where.hostname or "", upstream.address, where.port, context)


class _Verified(HTTPSConnection):
    """TLS to an address, with a certificate that is for a name."""

    def __init__(self, host: str, address: str, port: int | None, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=PATIENCE, context=context)
        self._name, self._tls = host, context

    def connect(self) -> None:
        HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)
