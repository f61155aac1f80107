"""Which probes a service gets, and what the probes that need no engine say of real sockets on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from itest.compose import Project
from itest.containers import Container
from itest.stack import probes
from itest.stack.logtext import collapsed, unprobed
from itest.stack.probes import NotReady, Refused, Target, checks_of, probe
from itest.suite.schema import PROBES, Check
from itest.suite.suite import Service

PORT = 8000  # inside the container


def service(kind: str = "", *checks: Check, port: int | None = PORT) -> Service:
    return Service("thing", kind, port, checks, 60.0, ())


def container(published: int = 0, health: str = "", status: str = "running") -> Container:
    ports = {PORT: ("127.0.0.1", published)} if published else {}
    state = {"Status": status} | ({"Health": {"Status": health}} if health else {})
    return Container("0", "itest-x", "thing", "thing:1", {}, ports, state, 0)


def target(published: int, kind: str = "") -> Target:
    return Target(service(kind), container(published), Project("itest-x", Path("/"), ()))


TCP, SQL, PING = Check("tcp", PORT), Check("sql", "SELECT 1"), Check("redis", "ping")
READY, HEALTHY, LOG = Check("http", "/ready"), Check("health", "healthy"), Check("log", "started")


@pytest.mark.parametrize(
    ("kind", "own", "all_of_them"),
    [
        ("postgres", (), (SQL,)),
        ("redis", (), (PING,)),
        ("rabbitmq", (), (Check("amqp", "open"),)),
        ("http", (), (TCP,)),
        ("tcp", (), (TCP,)),
        ("http", (READY,), (READY,)),
        ("postgres", (Check("sql", "SELECT 2"),), (Check("sql", "SELECT 2"),)),
        ("postgres", (LOG,), (SQL, LOG)),
        ("tcp", (Check("tcp", 9000),), (Check("tcp", 9000),)),
        ("http", (LOG, READY), (LOG, READY)),
        ("", (LOG,), (LOG,)),
    ],
)
def test_a_service_has_its_kind_s_probe_unless_it_has_one_of_the_same_sort_and_its_own(kind, own, all_of_them):
    assert checks_of(service(kind, *own), container(health="starting")) == all_of_them


def test_a_service_of_no_kind_is_ready_when_its_healthcheck_says_so_or_when_it_runs():
    assert checks_of(service(), container(health="starting")) == (HEALTHY,)
    assert checks_of(service(), container()) == ()


def test_every_probe_that_x_itest_knows_can_be_run():
    assert set(probes.PROBES) == {*PROBES, "ended"}  # of one-shots, which no x-itest names


def test_a_port_that_is_not_published_is_never_going_to_answer():
    with pytest.raises(Refused) as caught:
        probe(target(0), TCP)
    assert str(caught.value) == "port 8000 is not published (published: none); add 127.0.0.1::8000 to its ports"


def test_a_container_that_does_not_run_is_not_blamed_for_its_ports():
    with pytest.raises(Refused) as caught:
        Target(service(), container(status="exited"), Project("itest-x", Path("/"), ())).endpoint()
    assert str(caught.value) == "none: the container was not running"


@contextmanager
def server(answer: Callable[[socket.socket], Any]) -> Iterator[int]:
    """A port on which every connection is handed to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                connection, _ = listener.accept()
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def test_an_open_port_is_ready_whether_it_speaks_first_or_waits():
    with server(lambda connection: connection.sendall(b"220 welcome")) as port:
        assert probe(target(port), TCP) is None
    with server(lambda connection: connection.recv(1)) as port:
        assert probe(target(port), TCP) is None


def test_a_port_that_hangs_up_at_once_is_docker_s_proxy_without_a_service_behind():
    with server(lambda _: None) as port, pytest.raises(NotReady, match="port 8000: accepted and closed at once"):
        probe(target(port), TCP)


def test_a_closed_port_is_told_in_the_system_s_words():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReady, match="port 8000: Connection refused"):
        probe(target(port), TCP)


@pytest.fixture
def http_server() -> Iterator[tuple[int, dict[str, tuple[int, str]]]]:
    """A port, and the status and body by path that it answers with."""
    answers: dict[str, tuple[int, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, "nothing here"))
            self.send_response(status)
            self.send_header("Location", "/ready")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield httpd.server_address[1], answers
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        ((200, ""), READY),
        ((204, ""), Check("http", "/ready", 204)),
        ((200, '{"status": "ok", "load": 3}'), Check("http", "/ready", 200, {"status": "ok"})),
    ],
)
def test_the_status_and_the_fields_that_were_asked_for_are_enough(http_server, answer, check):
    port, answers = http_server
    answers["/ready"] = answer
    assert probe(target(port, "http"), check) is None


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        ((503, "no database yet"), {}, "GET /ready: 503, not 200: no database yet"),
        ((302, ""), {}, "GET /ready: 302, not 200: "),
        ((200, "fine"), {"status": "ok"}, "GET /ready: not JSON: fine"),
        ((200, "[1]"), {"status": "ok"}, "GET /ready: not a JSON object: [1]"),
        ((200, '{"status": "warming"}'), {"status": "ok"}, "GET /ready: {'status': 'warming'}, not {'status': 'ok'}"),
        ((200, "{}"), {"status": "ok"}, "GET /ready: {'status': None}, not {'status': 'ok'}"),
    ],
)
def test_any_other_answer_is_not_ready_and_shown(http_server, answer, expected, words):
    port, answers = http_server
    answers["/ready"] = answer
    with pytest.raises(NotReady) as caught:
        probe(target(port, "http"), Check("http", "/ready", 200, expected))
    assert str(caught.value) == words


def test_a_path_that_is_not_there_comes_with_the_place_to_look_at(http_server):
    with pytest.raises(NotReady) as caught:
        probe(target(http_server[0], "http"), READY)
    assert caught.value.hint == "no such path: check `ready` in the x-itest of thing"


def test_the_service_s_log_of_our_own_probes_is_left_out_and_repetitions_are_counted():
    ours = '172.18.0.1:{} "GET /ready HTTP/1.1" 503'
    printed = [line for port in range(40001, 40004) for line in (ours.format(port), f"try {port}: no database")]
    log = collapsed(unprobed(["starting", *printed, '"GET /ready-made HTTP/1.1" 200'], service("http", READY)))
    assert log == ["starting", "try 40003: no database (3 times)", '"GET /ready-made HTTP/1.1" 200']


def test_a_proxy_of_the_environment_does_not_come_between(http_server, monkeypatch):
    port, answers = http_server
    answers["/ready"] = (200, "")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert probe(target(port, "http"), READY) is None


def test_a_refused_connection_is_told_without_the_layers_around_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReady, match=r"GET /ready: .*Connection refused") as caught:
        probe(target(port, "http"), READY)
    assert "HTTPConnectionPool" not in str(caught.value)
