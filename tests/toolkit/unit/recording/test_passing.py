"""Where requests go while a suite is recorded: to the upstream that is named, once it has proved who it is."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from itest.mock.incoming import Incoming
from itest.mock.passing import Passing, Unreached, Upstream, fetch
from itest.mock.scopes import Scopes
from itest.mock.stubfile import from_data


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("X-Asked", f"{self.path} {self.headers['Host']} {self.headers['Proxy-Authorization']}")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body + str(self.headers["Authorization"]).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Port and certificate of a service on loopback, whose certificate is for payments.example.com."""
    if not shutil.which("openssl"):
        pytest.skip("a certificate needs openssl")
    folder = tmp_path_factory.mktemp("service")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    new += ["-subj", "/CN=service", "-addext", "subjectAltName=DNS:payments.example.com"]
    new += ["-out", str(folder / "ca.pem"), "-keyout", str(folder / "key.pem")]
    subprocess.run(new, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, (folder / "ca.pem").read_text()
        server.shutdown()


def upstream(port: int, ca: str, host: str = "payments.example.com") -> Upstream:
    return Upstream("pay", f"https://{host}:{port}/api", "127.0.0.1", ca=ca)


def test_a_request_arrives_as_it_was_but_for_what_was_meant_for_the_proxy(service) -> None:
    port, ca = service
    headers = (("Authorization", "Bearer x"), ("Proxy-Authorization", "Basic y"), ("Host", "pay"))
    answer = fetch(upstream(port, ca), Incoming.of("POST", "/v1?a=b%20c", host="pay", headers=headers, body=b"{}"))
    assert (answer.status, answer.body) == (201, b"{}Bearer x")
    assert dict(answer.headers)["X-Asked"] == f"/api/v1?a=b%20c payments.example.com:{port} None"
    assert "Connection" not in dict(answer.headers)


def test_a_service_that_cannot_prove_who_it_is_gets_no_request(service) -> None:
    port, ca = service
    with pytest.raises(Unreached, match="Hostname mismatch"):
        fetch(upstream(port, ca, "mail.example.com"), Incoming.of("POST", "/"))
    system = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    with pytest.raises(Unreached, match="certificate verify failed"):
        fetch(upstream(port, system.read_text(errors="replace")), Incoming.of("POST", "/"))


def test_a_request_goes_to_the_upstream_of_its_host_and_path_and_to_no_other() -> None:
    passing, address = Passing(), {"address": "203.0.113.7"}
    mail = {"name": "mock:8080/mail", "url": "https://b.example.com"}
    passing.begin([{"name": "mock", "url": "https://a.example.com/api/"} | address, mail | address])
    asked = Incoming.of("GET", "/mail/send?x=a%20b", host="mock", port=8080)
    assert [one.name for one in passing.upstreams if one.fits(asked)] == ["mock:8080/mail", "mock"]
    assert passing.upstreams[0].target(asked) == "/send?x=a%20b"
    assert passing.upstreams[1].target(Incoming.of("GET", "/v1")) == "/api/v1"
    assert not any(one.fits(Incoming.of("GET", "/mail", host="other")) for one in passing.upstreams)
    assert not passing.upstreams[0].fits(Incoming.of("GET", "/mailbox", host="mock", port=8080))


@pytest.mark.parametrize(
    ("stub", "every", "passes"),
    [
        (None, False, True),
        ({"request": {"path": "/x"}}, False, False),
        ({"request": {"path": "/x"}}, True, True),
        ({"request": {"path": "/x"}, "where": "fixtures/a/stubs/recorded/mock.yaml:3"}, False, True),
        ({"request": {"path": "/x"}, "fault": {"status": 503}}, True, False),
    ],
)
def test_what_no_stub_answers_passes_or_only_a_recorded_one_and_a_fault_stays_one(stub, every, passes) -> None:
    passing, scopes, asked = Passing(), Scopes(), Incoming.of("GET", "/x", host="mock")
    scopes.set_global(from_data(stub, "test") if stub else (), 0.0)
    assert passing.upstream_of(scopes.answer(asked, 0.0), asked) is None
    passing.begin([{"name": "mock", "url": "http://a.example.com", "address": "203.0.113.7", "every": every}])
    assert (passing.upstream_of(scopes.answer(asked, 0.0), asked) is not None) == passes
