"""mitmproxy's events on one side, Scopes on the other. What isn't stubbed doesn't leave: nothing connects out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import gc
import os
import time
from collections.abc import Sequence
from typing import Any

from mitmproxy import http
from mitmproxy.net.http import status_codes

from itest.mock import admin
from itest.mock.authority import Authority
from itest.mock.detail import Detail
from itest.mock.incoming import Incoming
from itest.mock.passing import Passing, Upstream
from itest.mock.patience import Patience
from itest.mock.replies import Answer
from itest.mock.scopes import Decision, Scopes
from itest.mock.stubs import Stub
from itest.mock.wire import Gathered, Gone, Wire, hang_up, reset

TOO_LARGE = "body_size_limit"  # in what mitmproxy says of a request that it answers with 413 by itself
LINGER = 0.2  # seconds that a client has for reading why it is turned away
WASTE = 16 * 1024**2  # bytes of bodies after which what mitmproxy left of them is collected
NO_BODY = (204, 304)  # RFC 9110, 6.4.1; and any answer to HEAD
LENGTHS = {b"content-length", b"transfer-encoding"}  # headers that say where a body ends


class Mock:
    """The add-on. modes: where it listens, but for the admin port."""

    def __init__(
        self, stubs: Sequence[Stub], authority: Authority, modes: list[str], port: int, detail: Detail
    ) -> None:
        self.authority, self.modes, self.port, self.detail = authority, modes, port, detail
        self.began = time.time() - time.monotonic()
        self.scopes = Scopes(os.environ, detail, patience=Patience())
        self.scopes.set_global(stubs, self.now())
        self.gone: dict[str, asyncio.Event] = {}  # by the id of a client's connection
        self.credentials: dict[str, str] = {}  # likewise, given with CONNECT
        self.held: dict[str, set[Wire]] = {}  # by scope: requests that wait for their answer
        self.passing = Passing()
        self.refusing = False
        self.waste = 0  # bytes of bodies since they were last collected
        self.admin = admin.Admin(self)

    def configure_master(self, master: Any) -> None:
        """mitmproxy's options, which are its add-ons' and so there only after these."""
        self.master = master
        master.options.update(
            mode=[*self.modes, f"regular@{self.port}"],
            confdir=str(self.authority.confdir),
            connection_strategy="lazy",
            upstream_cert=False,
            keep_host_header=True,
            rawtcp=False,
            body_size_limit=str(self.detail.limit),
        )

    def now(self) -> float:
        """Seconds since the epoch, by a clock that nobody turns back."""
        return self.began + time.monotonic()

    async def refuse(self, refused: bool) -> None:
        """Close every port but the admin's, with the connections of all clients; or open them again.

        Raises OSError where one can't be opened.
        """
        server, self.refusing = self.master.addons.get("proxyserver"), refused
        self.master.options.update(mode=[*([] if refused else self.modes), f"regular@{self.port}"])
        if not await server.setup_servers():  # which the options began; this waits for it
            raise OSError("a port can't be opened; the mock's log says which and why")
        for handler in list(server.connections.values()) if refused else ():
            if handler.client.sockname[1] != self.port:
                reset(handler)

    def release(self, scope: str) -> None:
        """Break off what waits for an answer in a scope whose test is over."""
        for wire in self.held.pop(scope, set()):
            wire.reset()

    def client_connected(self, client: Any) -> None:
        self.gone[client.id] = asyncio.Event()
        io = self.master.addons.get("proxyserver").connections[client.id].transports[client]
        io.writer = Gathered(io.writer)

    def client_disconnected(self, client: Any) -> None:
        self.gone.pop(client.id).set()
        self.credentials.pop(client.id, None)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """A tunnel through the mock: whose it is is said here, and not again by the requests in it."""
        self.credentials[flow.client_conn.id] = user(flow.request.headers.get("proxy-authorization", ""))

    def server_connect(self, data: Any) -> None:
        """Only a bug leads here. It doesn't lead out."""
        data.server.error = "the mock connects to nobody; its log says why it had no answer"

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.client_conn.sockname[1] == self.port:
            flow.response = await self.admin.response(flow.request)
            self.clean(len(flow.request.content or b"") + len(flow.response.content or b""))
            return
        incoming = self.incoming(flow)
        decision = self.scopes.answer(incoming, self.now())
        self.clean(len(incoming.body) + len(decision.answer.body))
        flow.metadata["number"] = decision.entry.number
        if upstream := self.passing.upstream_of(decision, incoming):
            flow.response = response_of(await self.passed(upstream, incoming, decision), flow.request.method)
            return
        flow.response = response_of(decision.answer, flow.request.method)
        if decision.delay or decision.effect:
            await self.hold(decision, Wire(flow, self.gone[flow.client_conn.id]))

    async def passed(self, upstream: Upstream, incoming: Incoming, decision: Decision) -> Answer:
        """The real service's answer, while a suite is recorded."""
        number = decision.entry.number
        # At once: the test that it belongs to may look meanwhile.
        self.scopes.amend(number, stub=f"passed on to {upstream.name}", where="", status=0, nearest="", differences=())
        passed = await self.passing.ask(upstream, incoming, number, decision.entry.test)
        self.scopes.amend(number, status=passed.answer.status, body=passed.answer.body, problem=passed.problem)
        return passed.answer

    def clean(self, size: int) -> None:
        """mitmproxy's flows refer to themselves, so large bodies would fill the memory until their number is due."""
        self.waste += size
        if self.waste > WASTE:
            self.waste = 0
            gc.collect()

    async def hold(self, decision: Decision, wire: Wire) -> None:
        """What an answer has to wait for, and what the wire does to it."""
        outcome: str = (
            decision.effect.what if decision.effect else ""
        )  # of none mitmproxy tells, see response and error
        held = self.held.setdefault(decision.scope, set())
        held.add(wire)
        try:
            await wire.wait(decision.delay)
            if decision.effect:
                await wire.spoil(decision.effect)
        except Gone:
            outcome = "disconnected"
            wire.leave()
        finally:
            held.discard(wire)
            if outcome:
                self.scopes.completed(decision.entry.number, self.now(), outcome)

    def response(self, flow: http.HTTPFlow) -> None:
        """mitmproxy writes what it has at once after this."""
        if number := flow.metadata.get("number"):
            self.scopes.completed(number, self.now())

    def error(self, flow: http.HTTPFlow) -> None:
        if number := flow.metadata.get("number"):
            self.scopes.completed(number, self.now(), "disconnected")
        elif TOO_LARGE in flow.error.msg:
            self.turn_away(flow)

    def turn_away(self, flow: http.HTTPFlow) -> None:
        """A body that is too large. mitmproxy answers, but sometimes leaves a client alone that is still sending it."""
        if not flow.request.is_http2:  # there it ends the stream alone
            handler = self.master.addons.get("proxyserver").connections[flow.client_conn.id]
            asyncio.get_running_loop().call_later(LINGER, hang_up, handler.transports[handler.client])
        if flow.client_conn.sockname[1] != self.port:
            problem = f"its body has more than the {self.detail.limit} bytes that MOCK_LIMIT allows"
            number = self.scopes.turn_away(self.incoming(flow), self.now(), 413, problem)
            self.scopes.completed(number, self.now(), "turned away")

    def incoming(self, flow: http.HTTPFlow) -> Incoming:
        request, client, fields = flow.request, flow.client_conn, flow.request.headers.fields
        headers = tuple((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in fields)
        said = next((value for name, value in headers if name.lower() == "proxy-authorization"), "")
        host = request.pretty_host
        return Incoming.of(
            request.method,
            request.path,
            headers=headers,
            body=request.get_content(strict=False) or b"",
            scheme="https" if client.tls else "http",
            host=host,
            port=request.port if request.host == host else client.sockname[1],
            client=f"{client.peername[0]}:{client.peername[1]}",
            address=client.sockname[0].removeprefix("::ffff:"),
            credentials=user(said) if said else self.credentials.get(client.id, ""),
        )


def user(authorization: str) -> str:
    """The user name of `Basic …` credentials (RFC 7617), "" where there is none."""
    try:
        return base64.b64decode(authorization.partition(" ")[2], validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def response_of(answer: Answer, method: str) -> http.Response:
    """An answer as mitmproxy sends it, with its length where the stub doesn't say another."""
    fields = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in answer.headers]
    body = b"" if answer.status in NO_BODY else answer.body
    if answer.status not in NO_BODY and not LENGTHS.intersection(name.lower() for name, _ in fields):
        fields.append((b"Content-Length", b"%d" % len(body)))
    if method == "HEAD":
        body = b""
    reason = status_codes.RESPONSES.get(answer.status, "").encode()
    return http.Response(b"HTTP/1.1", answer.status, reason, http.Headers(fields), body, None, time.time(), None)
