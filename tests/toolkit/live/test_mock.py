"""The mock server as its clients see it: three ways in, and everything that can go wrong on the wire."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from itest.errors import ItestError
from itest.mocking.admin import Admin

ROUNDS = 1000 if "ITEST_SLOW" in os.environ else 50  # of 16 requests at a time
CROSSING = 10_000 if "ITEST_SLOW" in os.environ else 800  # requests of 8 scopes
ENV = """
COMPOSE_PROJECT_NAME=itest-{name}
COMPOSE_FILE=compose/base.yaml:compose/layers/mock.yaml:compose/suites/mocked.yaml
"""
OVERLAY = """
x-itest: {isolation: none}
services:
  mock:
    networks: {default: {aliases: [api.partner.example]}}
  client:
    extends: {file: mocked.yaml, service: trusting}
    image: itest/mock:dev
    command: [sleep, infinity]
    init: true
"""


@dataclass(frozen=True)
class Mock:
    """Where the mock is. ports: URL and proxy, plain name, name with TLS, admin; client: runs Python next to it."""

    host: str
    ports: tuple[int, int, int, int]
    client: Callable[..., str]
    container: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.ports[0]}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.admin("GET", "/ca.pem", parse=False))

    def admin(self, method: str, path: str, data: Any = None, status: int = 200, *, parse: bool = True) -> Any:
        answer = requests.request(method, f"http://{self.host}:{self.ports[3]}{path}", json=data, timeout=30)
        assert answer.status_code == status, answer.text
        return answer.json() if parse else answer.text

    def begin(self, *stubs: dict[str, Any], scope: str = "default", **said: Any) -> None:
        self.admin("PUT", f"/scopes/{scope}", said)
        self.admin("POST", f"/scopes/{scope}/stubs", list(stubs))

    def journal(self, scope: str = "default") -> list[dict[str, Any]]:
        return self.admin("GET", f"/scopes/{scope}/journal")

    def pages(self, scope: str = "") -> list[dict[str, Any]]:
        """All of a journal, however many pages that is."""
        with Admin(f"http://{self.host}:{self.ports[3]}") as admin:
            return admin.journal(scope).entries

    def connect(self, port: int = 0) -> socket.socket:
        return socket.create_connection((self.host, port or self.ports[0]), timeout=20)

    def named(self, name: str) -> ssl.SSLSocket:
        """As a client that found the mock under another's name."""
        return self.trust.wrap_socket(self.connect(self.ports[2]), server_hostname=name)

    def tunnelled(self, name: str) -> ssl.SSLSocket:
        """Through the mock as a proxy."""
        plain = self.connect()
        plain.sendall(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
        assert b" 200 " in plain.recv(1000)
        return self.trust.wrap_socket(plain, server_hostname=name)


@pytest.fixture(scope="module")
def mock(shared_checkout) -> Mock:
    """The layer as it is, and a client next to it; reached at the container's own address, as by its neighbours."""
    name = f"mocked-{os.getpid()}"
    shared_checkout.write("compose/suites/mocked.env", ENV.format(name=name))
    shared_checkout.write("compose/suites/mocked.yaml", OVERLAY)
    shared_checkout.write("tests/mocked/test_it.py", "")
    up = shared_checkout.run("up", ITEST_SUITE="mocked", timeout=600)
    assert up.code == 0, up.output
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    host = docker("inspect", "--format", address, f"itest-{name}-mock-1").strip()

    def client(code: str, **environment: str) -> str:
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        return docker("exec", *given, f"itest-{name}-client-1", "python", "-c", code)

    return Mock(host, (8080, 80, 443, 1080), client, f"itest-{name}-mock-1")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def get(connection: socket.socket, path: str, host: str = "mock", **headers: str) -> http.client.HTTPResponse:
    """One request on a connection that is open."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


def stub(path: str, said: Any = None, **rest: Any) -> dict[str, Any]:
    return {"request": {"path": path}, "response": {"json": said if said is not None else {"path": path}}, **rest}


# Three ways in


def test_answers_by_url_as_a_proxy_through_a_tunnel_and_under_another_s_name(mock: Mock) -> None:
    mock.begin({"request": {"host": "api.partner.example", "path": "/x"}, "response": {"json": "theirs"}}, stub("/u"))
    proxied = {"http": mock.url}

    assert requests.get(f"{mock.url}/u", timeout=20).json() == {"path": "/u"}
    assert requests.get("http://api.partner.example/x", proxies=proxied, timeout=20).json() == "theirs"
    with mock.connect(mock.ports[1]) as plain:
        assert json.load(get(plain, "/x", "api.partner.example")) == "theirs"
    for way in (mock.tunnelled, mock.named):  # each verifies the certificate, and that it is for this name
        with way("api.partner.example") as secure:
            assert json.load(get(secure, "/x", "api.partner.example")) == "theirs"
    assert [entry["request"]["scheme"] for entry in mock.journal()] == ["http", "http", "http", "https", "https"]
    assert {entry["request"]["host"] for entry in mock.journal()[1:]} == {"api.partner.example"}


def test_clients_that_only_have_the_environment_trust_it_under_the_name_and_through_the_proxy(mock: Mock) -> None:
    mock.begin(stub("/x", "theirs"))
    code = "import urllib.request as r; print(r.urlopen('https://{}/x', timeout=20).read())"

    assert "theirs" in mock.client(code.format("api.partner.example"))
    assert "theirs" in mock.client(code.format("nobody.example"), HTTPS_PROXY="http://default:x@mock:8080")


def test_nothing_that_is_not_stubbed_leaves_and_the_answer_says_what_came_nearest(mock: Mock) -> None:
    mock.begin(stub("/v1/payments", name="a payment"))
    for way in (lambda name: mock.connect(), mock.tunnelled, mock.named):
        with way("198.51.100.7.example") as connection:
            answer = get(connection, "/v1/payment", "198.51.100.7.example")
            said = json.load(answer)
        assert answer.status == 501
        assert "a payment" in said["nearest"]
        assert "/v1/payments" in " ".join(said["differences"])
    assert [entry["matched"] for entry in mock.journal()] == [False] * 3
    assert len(mock.admin("GET", "/scopes/default/verdict")["unmatched"]) == 3


# What goes wrong on the wire


def test_an_answer_comes_after_its_delay(mock: Mock) -> None:
    mock.begin({"request": {"path": "/d"}, "response": {"json": 1, "delay": "300ms"}})
    began = time.monotonic()
    assert requests.get(f"{mock.url}/d", timeout=20).json() == 1
    assert time.monotonic() - began >= 0.3
    (entry,) = mock.journal()
    assert entry["completed"] - entry["arrived"] >= 0.3


@pytest.mark.parametrize("way", ["connect", "tunnelled", "named"])
def test_headers_come_slowly_byte_by_byte(mock: Mock, way: str) -> None:
    mock.begin(stub("/s", fault={"slow_headers": "600ms"}))
    with opened(mock, way) as connection:
        connection.sendall(b"GET /s HTTP/1.1\r\nHost: a.example\r\n\r\n")
        times, data = arrivals(connection)
    head = data.index(b"\r\n\r\n")
    assert data.endswith(b'{"path": "/s"}\n') or json.loads(data[head:]) == {"path": "/s"}
    assert len(times) > 5  # in pieces, so that a time-out per read doesn't notice
    assert times[-1] - times[0] > 0.4


@pytest.mark.parametrize("way", ["connect", "tunnelled", "named"])
def test_a_body_comes_slowly_after_headers_that_do_not(mock: Mock, way: str) -> None:
    mock.begin(stub("/s", "x" * 400, fault={"slow_body": "600ms"}))
    with opened(mock, way) as connection:
        began = time.monotonic()
        answer = get(connection, "/s", "a.example")
        assert time.monotonic() - began < 0.5
        assert json.load(answer) == "x" * 400
        assert time.monotonic() - began > 0.5
    assert mock.journal()[0]["outcome"] == "slow_body"


@pytest.mark.parametrize("way", ["connect", "tunnelled", "named"])
def test_a_body_breaks_off(mock: Mock, way: str) -> None:
    mock.begin(stub("/t", "x" * 98, fault={"truncated": 0.5}))
    with opened(mock, way) as connection, pytest.raises(http.client.IncompleteRead) as caught:
        get(connection, "/t", "a.example").read()
    assert len(caught.value.partial) * 2 == pytest.approx(101, abs=1)


def test_json_is_malformed_in_an_answer_that_is_fine_otherwise(mock: Mock) -> None:
    mock.begin(stub("/m", {"a": [1, 2]}, fault={"malformed": True}))
    answer = requests.get(f"{mock.url}/m", timeout=20)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"(?i)expecting|unterminated|delimiter"):
        answer.json()


@pytest.mark.parametrize("way", ["connect", "tunnelled", "named"])
def test_a_connection_is_reset(mock: Mock, way: str) -> None:
    mock.begin(stub("/r", fault={"reset": True}))
    with opened(mock, way) as connection:
        connection.sendall(b"GET /r HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert end_of(connection) == errno.ECONNRESET
    assert mock.journal()[0]["outcome"] == "reset"


def test_connections_are_refused_and_open_ones_break_until_it_is_over(mock: Mock) -> None:
    mock.begin(stub("/u"))
    with mock.connect() as before:
        assert get(before, "/u").read()
        mock.admin("PUT", "/refused", True)
        try:
            for port in mock.ports[:3]:
                with pytest.raises(ConnectionRefusedError):
                    mock.connect(port)
            assert end_of(before) == errno.ECONNRESET
        finally:
            mock.admin("PUT", "/refused", False)
    assert requests.get(f"{mock.url}/u", timeout=20).json() == {"path": "/u"}


def test_a_test_that_begins_ends_what_one_before_it_refused(mock: Mock) -> None:
    mock.admin("PUT", "/refused", True)
    mock.begin(stub("/u"))
    assert requests.get(f"{mock.url}/u", timeout=20).json() == {"path": "/u"}


def test_no_answer_ever_comes_and_the_next_test_does_not_inherit_the_wait(mock: Mock) -> None:
    mock.begin(stub("/n", fault={"never_answers": True}))
    with mock.connect() as connection:
        connection.sendall(b"GET /n HTTP/1.1\r\nHost: mock\r\n\r\n")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert [entry["completed"] for entry in mock.admin("GET", "/scopes/default/verdict")["in_flight"]] == [None]
        mock.begin()
        assert end_of(connection) == errno.ECONNRESET


@pytest.mark.parametrize("slowly", [{"response": {"delay": "30s"}}, {"fault": {"slow_headers": "30s"}}])
def test_a_client_that_gives_up_is_in_the_journal(mock: Mock, slowly: dict[str, Any]) -> None:
    mock.begin({"request": {"path": "/d"}, **slowly})
    with mock.connect() as connection:
        connection.sendall(b"GET /d HTTP/1.1\r\nHost: mock\r\n\r\n")
        assert eventually(mock.journal)
    assert eventually(lambda: mock.journal()[0]["outcome"]) == "disconnected"


# HTTP


def test_a_connection_serves_many_requests_of_any_method(mock: Mock) -> None:
    mock.begin(stub("/k"), {"request": {"path": "/none"}, "response": {"status": 204}})
    with requests.Session() as session:
        for _ in range(20):
            assert session.get(f"{mock.url}/k", timeout=20).json() == {"path": "/k"}
        assert session.head(f"{mock.url}/k", timeout=20).content == b""
        assert session.delete(f"{mock.url}/none", timeout=20).status_code == 204
        assert session.post(f"{mock.url}/k", data=b"x" * 300_000, timeout=20).ok
    assert len({entry["request"]["client"] for entry in mock.journal()}) == 1


H2 = """
import socket, ssl
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset

host = "api.partner.example"
context = ssl.create_default_context()
context.set_alpn_protocols(["h2"])
connection = context.wrap_socket(socket.create_connection((host, 443), 20), server_hostname=host)
assert connection.selected_alpn_protocol() == "h2"
h2 = H2Connection()
h2.initiate_connection()
for number, path in enumerate(PATHS):
    head = {":method": "GET", ":path": path, ":scheme": "https", ":authority": host}
    h2.send_headers(2 * number + 1, list(head.items()), end_stream=True)
connection.sendall(h2.data_to_send())
left, pieces = len(PATHS), {}
while left:
    for event in h2.receive_data(connection.recv(65535)):
        if isinstance(event, DataReceived) and event.data:
            pieces.setdefault(event.stream_id, []).append(event.data)
        if isinstance(event, (StreamEnded, StreamReset)):
            left -= 1
            print(PATHS[event.stream_id // 2], type(event).__name__, len(pieces[event.stream_id]))
"""


def test_http2_carries_answers_side_by_side_slow_and_truncated_ones_too(mock: Mock) -> None:
    mock.begin(
        stub("/slow", "s" * 40, fault={"slow_body": "400ms"}),
        stub("/cut", "c" * 40, fault={"truncated": 0.5}),
        stub("/plain", "p"),
        stub("/headers", "h", fault={"slow_headers": "700ms"}),
    )
    lines = mock.client(f"PATHS = ['/slow', '/cut', '/plain', '/headers']\n{H2}").splitlines()
    assert sorted(lines[:2]) == ["/cut StreamReset 1", "/plain StreamEnded 1"]
    path, how, parts = lines[2].split()
    assert (path, how) == ("/slow", "StreamEnded")
    assert int(parts) > 5
    assert lines[3] == "/headers StreamEnded 1"


# Scopes


def test_a_request_says_its_scope_by_proxy_credentials_header_baggage_or_the_address_it_came_to(mock: Mock) -> None:
    names = ("proxy", "tunnel", "header", "baggage", "place")
    for name in names:
        mock.begin(stub("/who", name), scope=name)
    mock.admin("PUT", "/addresses", {mock.host: "place"})
    mock.admin("PUT", "/scopes/default", {})
    through = {"http": mock.url.replace("//", "//proxy:x@")}
    try:
        said = [requests.get("http://a.example/who", proxies=through, timeout=20).json()]
        said.append(json.loads(mock.client(TUNNEL)))
        said.append(requests.get(f"{mock.url}/who", headers={"X-Itest-Scope": "header"}, timeout=20).json())
        said.append(requests.get(f"{mock.url}/who", headers={"baggage": "a=1,itest.scope=baggage"}, timeout=20).json())
        said.append(requests.get(f"{mock.url}/who", timeout=20).json())
    finally:
        mock.admin("PUT", "/addresses", {})
    assert said == list(names)
    assert [len(mock.journal(name)) for name in names] == [1] * 5
    assert requests.get(f"{mock.url}/who", timeout=20).status_code == 501  # nobody's stub is everybody's


TUNNEL = """
import os, urllib.request
os.environ["https_proxy"] = "http://tunnel:x@mock:8080"
print(urllib.request.urlopen("https://a.example/who", timeout=20).read().decode())
"""


@pytest.mark.soak
def test_one_request_alone_gets_what_a_scenario_has_for_the_first(mock: Mock) -> None:
    once = {"name": "once", "when": "started", "then": "used"}
    mock.begin()
    rest = {"name": "once", "when": "used"}

    async def rounds() -> list[list[str]]:
        connections = [await asyncio.open_connection(mock.host, mock.ports[0]) for _ in range(16)]
        seen = []
        for _ in range(ROUNDS):
            await asyncio.to_thread(mock.begin, stub("/c", "first", scenario=once), stub("/c", "later", scenario=rest))
            seen.append(await asyncio.gather(*(asked(*connection, "/c") for connection in connections)))
        for _, writer in connections:
            writer.close()
        return seen

    for answers in asyncio.run(rounds()):
        assert sorted(answers) == ["first"] + ["later"] * 15


@pytest.mark.soak
def test_eight_scopes_on_one_url_see_their_own_only(mock: Mock) -> None:
    for number in range(8):
        mock.begin(stub("/same", f"worker {number}"), scope=f"w{number}")

    async def worker(number: int) -> list[str]:
        connection = await asyncio.open_connection(mock.host, mock.ports[0])
        said = [await asked(*connection, "/same", f"w{number}") for _ in range(CROSSING // 8)]
        connection[1].close()
        return said

    async def everybody() -> list[list[str]]:
        return await asyncio.gather(*map(worker, range(8)))

    for number, said in enumerate(asyncio.run(everybody())):
        assert set(said) == {f"worker {number}"}
        assert [entry["body"].strip().strip('"') for entry in mock.pages(f"w{number}")] == said


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, scope: str = "default") -> str:
    """One request on a connection that is open, among others."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: mock\r\nX-Itest-Scope: {scope}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    return json.loads(await reader.readexactly(int(head.partition("content-length:")[2].split()[0])))


# What it holds, and what it can't


def test_large_bodies_neither_kill_it_nor_push_out_what_came_last(mock: Mock) -> None:
    mock.begin(stub("/large", "x" * 60_000))
    body = b"\0" * 60_000  # the most that JSON can make of a byte is six of them
    with requests.Session() as session:
        for number in range(700):  # 84 MB
            assert session.post(f"{mock.url}/large?{number}", data=body, timeout=20).ok
    journal = mock.pages("default")
    assert journal[-1]["request"]["query"] == [["699", ""]]
    assert [entry["size"] for entry in journal] == [len(body)] * len(journal)
    lost = mock.admin("GET", "/scopes/default/verdict")["lost"]
    assert 0 < lost == 700 - len(journal) < 350
    assert json.loads(docker("inspect", "--format", "{{json .RestartCount}}", mock.container)) == 0
    mock.begin()


@pytest.mark.parametrize(("length", "times"), [("Content-Length: 9000000", 8), ("Transfer-Encoding: chunked", 1)])
def test_a_body_larger_than_it_takes_is_answered_cut_off_and_in_the_journal(
    mock: Mock, length: str, times: int
) -> None:
    mock.begin(stub("/large"))
    for _ in range(times):  # left to itself, mitmproxy lets every fourth client wait for ever
        with mock.connect() as connection:
            connection.sendall(f"POST /large HTTP/1.1\r\nHost: mock\r\n{length}\r\n\r\n".encode())
            with suppress(ConnectionError):  # it hangs up on what still comes
                for _ in range(9):
                    connection.sendall(b"F4240\r\n" + b"x" * 1_000_000 + b"\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    entries = mock.journal()
    assert len(entries) == times
    entry = entries[0]
    assert (entry["status"], entry["outcome"], entry["matched"]) == (413, "turned away", False)
    assert "MOCK_LIMIT" in entry["problem"]


def test_a_regular_expression_that_would_take_for_ever_does_not_take_the_mock_along(mock: Mock) -> None:
    mock.begin({"request": {"path": "/r", "body": {"regex": "(a|aa)+"}}, "name": "endless"}, stub("/fine"))
    answer = requests.post(f"{mock.url}/r", data="a" * 60 + "!", timeout=20)
    assert (answer.status_code, answer.json()["stub"]) == (500, "endless")
    assert requests.get(f"{mock.url}/fine", timeout=20).ok
    (entry,) = mock.admin("GET", "/scopes/default/verdict")["problems"]
    assert "gave no answer within 0.5 s" in entry["problem"]


# The admin port


def test_a_journal_that_is_long_comes_in_pages(mock: Mock) -> None:
    mock.begin(stub("/p"))
    for _ in range(100):
        requests.post(f"{mock.url}/p", data=b"x" * 60_000, timeout=20)
    first = requests.get(f"http://{mock.host}:{mock.ports[3]}/scopes/default/journal", timeout=20)
    assert 'rel="next"' in first.headers["Link"]
    assert len(first.json()) < len(mock.pages("default")) == len(mock.pages()[-100:]) == 100


def test_a_stub_is_removed_by_the_number_that_it_was_given(mock: Mock) -> None:
    mock.begin()
    (number,) = mock.admin("POST", "/scopes/default/stubs", [stub("/gone")])
    assert requests.get(f"{mock.url}/gone", timeout=20).ok
    assert mock.admin("DELETE", f"/scopes/default/stubs/{number}") == {"removed": True}
    assert requests.get(f"{mock.url}/gone", timeout=20).status_code == 501
    assert mock.admin("DELETE", f"/scopes/default/stubs/{number}") == {"removed": False}


def test_a_mistake_in_a_stub_is_said_with_the_nearest_right_word(mock: Mock) -> None:
    said = mock.admin("POST", "/scopes/default/stubs", [{"request": {"pth": "/x"}}], status=400)
    assert "path" in json.dumps(said)


def test_what_is_no_json_is_said_however_deep_it_is(mock: Mock) -> None:
    for text in ("{", "[" * 100_000):
        answer = requests.put(f"http://{mock.host}:{mock.ports[3]}/scopes/default", data=text, timeout=20)
        assert (answer.status_code, "PUT /scopes/default" in answer.json()["error"]) == (400, True)


def test_more_stubs_than_it_takes_are_refused_with_the_setting_that_mends_it(mock: Mock) -> None:
    large = stub("/large", "x" * 9_000_000)
    with (
        Admin(f"http://{mock.host}:{mock.ports[3]}") as admin,
        pytest.raises(ItestError, match="more than it takes") as e,
    ):
        admin.add("default", [large])
    assert "MOCK_LIMIT" in e.value.hint


def test_the_admin_port_says_what_there_is_where_a_route_is_wrong(mock: Mock) -> None:
    said = mock.admin("GET", "/scops", status=404)
    assert "PUT /scopes/<scope>" in said["routes"]


def test_a_scope_that_begins_again_has_nothing_left(mock: Mock) -> None:
    mock.begin(stub("/b"), test="tests/x.py::test_it")
    requests.get(f"{mock.url}/b", headers={"traceparent": "00-1-2-01"}, timeout=20)
    (entry,) = mock.journal()
    assert (entry["test"], entry["traceparent"]) == ("tests/x.py::test_it", "00-1-2-01")
    mock.begin()
    assert mock.journal() == []
    assert requests.get(f"{mock.url}/b", timeout=20).status_code == 501
    assert mock.admin("GET", f"/journal?since={entry['number']}")[-1]["status"] == 501


def opened(mock: Mock, way: str) -> socket.socket:
    return mock.connect() if way == "connect" else getattr(mock, way)("a.example")


def end_of(connection: socket.socket) -> int:
    """The error that a connection ends with. From the system: http.client and ssl blur resets and other ends."""
    poll = select.poll()
    poll.register(connection, 0)  # nothing but errors and the end
    assert poll.poll(20_000)
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def arrivals(connection: socket.socket) -> tuple[list[float], bytes]:
    """When each piece came, and all of them, until the mock closes."""
    times, data = [], b""
    while piece := connection.recv(65536):
        times.append(time.monotonic())
        data += piece
    return times, data


@retry(retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(10), wait=wait_fixed(0.05), reraise=True)
def eventually(look: Callable[[], Any]) -> Any:
    """The first thing that is seen."""
    seen = look()
    assert seen
    return seen
