"""A session that knows its service: what it would send, seen where it leaves the process."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

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
