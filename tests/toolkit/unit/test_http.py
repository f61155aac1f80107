"""A session that knows its service: what it would send, seen where it leaves the process."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from itest.errors import ItestError
from itest.stack.http import TIMEOUT, BaseUrlSession


class Wire(BaseAdapter):
    """Keeps what would be sent, and answers 200."""

    def send(self, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        self.url, self.given, self.headers = request.url, given, request.headers
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, str(request.url)
        return answer

    def close(self) -> None:
        pass


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def http(wire: Wire) -> BaseUrlSession:
    session = BaseUrlSession("http://127.0.0.1:32768")
    session.mount("http://", wire)
    return session


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("/items?limit=2", "http://127.0.0.1:32768/items?limit=2"),
        ("items", "http://127.0.0.1:32768/items"),
        ("", "http://127.0.0.1:32768/"),
        ("http://127.0.0.1:9/other", "http://127.0.0.1:9/other"),
    ],
)
def test_a_path_goes_to_the_service_and_a_whole_url_where_it_says(http, wire, url, sent):
    http.get(url)
    assert wire.url == sent


def test_no_request_waits_for_ever_unless_a_test_says_so(http, wire):
    http.get("/")
    assert wire.given["timeout"] == TIMEOUT
    http.post("/", timeout=0.5)
    assert wire.given["timeout"] == 0.5


def test_neither_proxies_nor_passwords_of_the_person_are_used(http, wire, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    http.get("/")
    assert not wire.given["proxies"]
    assert "Authorization" not in wire.headers


@contextmanager
def server(answer: Callable[[socket.socket], Any]) -> Iterator[str]:
    """The URL of a port whose one connection is handed to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_service_that_was_started_anew_is_reached_where_it_is_now_and_while_it_is_gone_where_it_was(wire):
    places = ["http://127.0.0.1:2"]

    def now() -> str:
        if not places:
            raise ItestError("service", "service shop: it does not run")
        return places.pop()

    session = BaseUrlSession("http://127.0.0.1:1", now=now)
    session.mount("http://", wire)
    for _ in range(2):
        session.get("/items")
        assert wire.url == "http://127.0.0.1:2/items"


def test_a_refused_connection_is_one_line_with_what_became_of_the_service():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(requests.ConnectionError) as caught:
        BaseUrlSession(base, lambda: "service shop: exited, code 3").get("/notes")
    assert str(caught.value) == f"GET /notes: {base} refused the connection (service shop: exited, code 3)"
    assert "urllib3" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(requests.ConnectionError, match=r"^PUT /notes: \S+ refused the connection$"):
        BaseUrlSession(base).put("/notes")


def test_an_answer_that_does_not_come_is_told_with_the_time_it_had():
    over = threading.Event()
    with server(lambda _: over.wait(10)) as base:
        with pytest.raises(requests.ReadTimeout) as caught:
            BaseUrlSession(base).get("/slow", timeout=0.1)
        over.set()
    assert str(caught.value) == f"GET /slow: {base} did not answer within 0.1 s"


def test_a_service_that_hangs_up_is_told_as_that():
    with server(lambda connection: connection.recv(1000)) as base, pytest.raises(requests.ConnectionError) as caught:
        BaseUrlSession(base).get("/crash")
    assert str(caught.value) == f"GET /crash: {base} closed the connection without an answer"
