"""Recording from a real service and replaying it: what is written, what never is, and what is noticed later.

The real service is outside: in a network namespace behind a veth pair, with an address of a block for documentation
(RFC 5737), and no route back to containers. So it is reached through the way out that recording opens, or not at all.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

OUTSIDE, HOST = "203.0.113.7", "203.0.113.1"  # test_network.py has another block
KEY = "sk_live_9fQ2xW7bTz4LmN8pR1vYk3Js"
EMAIL, PHONE, CARD = "ada.canary@mail.invalid-example.com", "+491701234567", "4556737586899855"
SESSION = "s3ss10n-CANARY-b7c1d9e2f4a6"
PART = base64.urlsafe_b64encode
JWT = b".".join(
    PART(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', b'{"sub":"canary"}', b"c4n4ryS1gnature!")
).decode()
HIDDEN = "zQ8vL2mX5cN7bR4tY9wK1pJ6"  # what no rule covers, once the service says it
CANARIES = [KEY, EMAIL, PHONE, CARD, SESSION, JWT, HIDDEN]

PROVIDER = """
import json, os, ssl, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SAID = json.loads(sys.argv[1])

class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass

    def do_GET(self):
        if self.path.startswith("/v1/charges/"):
            return self.say(200, {"id": self.path.rpartition("/")[2], "status": "paid"} | SAID.get("charge", {}))
        self.say(200, [{"sku": "MUG", "price": 12.5}])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer " + SAID["key"]:
            return self.say(401, {"error": "who are you"})
        if self.path == "/v1/sessions":
            cookie = f"sid={SAID['session']}; Path=/; HttpOnly"
            return self.say(201, {"access": {"token": SAID["jwt"]}}, ("Set-Cookie", cookie))
        said = {"id": "ch_17", "amount": body["amount"], "reference": body["reference"]}
        said |= {"receipt": f"sent to {body['email']}", "customer": {"email": body["email"], "phone": SAID["phone"]}}
        self.say(201, said | SAID.get("charge", {}))

    def say(self, status, data, *headers):
        text = json.dumps(data).encode()
        self.send_response(status)
        usual = ("Content-Type", "application/json"), ("Content-Length", str(len(text))), ("X-Trace", SAID["session"])
        for name, value in (*usual, *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server = ThreadingHTTPServer(("", 8443), Provider)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
"""
RULES = f"""
upstreams:
  payments.example.com: {{url: "https://{OUTSIDE}:8443", ca: fixtures/paid/provider.pem}}
"""
ENV = """
COMPOSE_PROJECT_NAME=itest-paid
COMPOSE_FILE=compose/base.yaml:compose/layers/mock.yaml:compose/suites/paid.yaml
MOCK_STUBS=fixtures/paid/stubs
"""
# The application: its secrets come from where they would, its requests go through the mock.
TESTS = """
import os, uuid
import pytest, requests

@pytest.fixture
def ask(mock):
    def ask(method, path, **rest):
        headers = {"Authorization": "Bearer " + os.environ["PAYMENTS_KEY"], **rest.pop("headers", {})}
        print(method, path, headers, rest)
        url = "https://payments.example.com" + path
        through = {"proxies": {"https": mock.proxy}, "verify": mock.ca}
        return requests.request(method, url, headers=headers, timeout=20, **through, **rest)
    return ask

def test_a_charge_is_paid(ask, mock):
    body = {"amount": 1250, "email": os.environ["CUSTOMER"], "card": {"number": os.environ["CARD"]}}
    body["reference"] = str(uuid.uuid4())
    charge = ask("POST", "/v1/charges", json=body)
    assert charge.status_code == 201, charge.text
    assert charge.json()["customer"]["email"] == body["email"]
    assert charge.json()["reference"] == body["reference"]
    assert body["email"] in charge.json()["receipt"]
    assert ask("GET", "/v1/charges/" + charge.json()["id"]).json()["status"] == "paid"
    mock.received("POST", "/v1/charges", json={"amount": 1250}).once()

def test_what_it_issues_is_sent_back(ask, mock):
    session = ask("POST", "/v1/sessions", json={"client": "shop"})
    assert session.cookies["sid"]
    token = session.json()["access"]["token"]
    assert ask("GET", "/v1/items", params={"token": token}).json() == [{"sku": "MUG", "price": 12.5}]
    assert ask("GET", "/v1/items", params={"token": token}).status_code == 200

def test_a_stub_of_its_own_is_not_passed_on(ask, mock):
    mock.stub("GET", "/v1/down", status=503)
    assert ask("GET", "/v1/down").status_code == 503
"""
OTHERS = {"PAYMENTS_KEY": "sk_test_of_another_machine", "CUSTOMER": "grace@example.com", "CARD": "4000056655665556"}
OWN = {"PAYMENTS_KEY": KEY, "CUSTOMER": EMAIL, "CARD": CARD}

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("openssl"),
    reason="a network namespace needs root and iproute2, a certificate openssl",
)


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the outside's address, and its key."""
    folder = tmp_path_factory.mktemp("provider")
    made = folder / "provider.pem", folder / "key.pem"
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    call(
        *new,
        "-subj",
        "/CN=provider",
        "-addext",
        f"subjectAltName=IP:{OUTSIDE}",
        "-out",
        str(made[0]),
        "-keyout",
        str(made[1]),
    )
    return made


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """The name of a network namespace at an address outside of every docker network."""
    name, near, far = f"itestr-{os.getpid()}", f"ir{os.getpid()}h", f"ir{os.getpid()}o"
    call("ip", "netns", "add", name)
    try:
        call("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        for where, device, address in (([], near, HOST), (["-n", name], far, OUTSIDE)):
            call("ip", *where, "addr", "add", f"{address}/24", "dev", device)
            call("ip", *where, "link", "set", device, "up")
        yield name
    finally:
        call("ip", "netns", "delete", name)


@pytest.fixture
def provider(outside, certificate):
    """Starts the real service for as long as a block lasts; what it says may be another thing each time."""

    @contextmanager
    def run(**said: object) -> Iterator[None]:
        given = json.dumps({"key": KEY, "jwt": JWT, "session": SESSION, "phone": PHONE, **said})
        command = ["ip", "netns", "exec", outside, sys.executable, "-c", PROVIDER, given, *map(str, certificate)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            try:
                yield
            finally:
                process.kill()

    return run


@pytest.fixture(scope="module")
def paid(shared_checkout, certificate):
    """A suite whose third party is outside."""
    shared_checkout.write("compose/suites/paid.env", ENV)
    shared_checkout.write("compose/suites/paid.yaml", "x-itest: {fixtures: fixtures/paid}\n")
    shared_checkout.write("fixtures/paid/provider.pem", certificate[0].read_text())
    shared_checkout.write("fixtures/paid/record.yaml", RULES)
    shared_checkout.write("tests/paid/test_paid.py", TESTS)
    return shared_checkout


def given(checkout) -> dict[str, str]:
    """The application's own secrets, and a place for temporary files that is looked at, too."""
    folder = checkout.path / "build/tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return OWN | {"TMPDIR": str(folder)}


def written(checkout) -> dict[str, str]:
    folder = checkout.path / "fixtures/paid/stubs/recorded"
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}


def holding(checkout, canary: str) -> list[Path]:
    """Every file of the checkout and its build/ that holds a secret, in one of its notations."""
    forms = [
        canary.encode(),
        base64.b64encode(canary.encode())[:-4],
        canary.encode().hex().encode(),
        canary.replace("@", "%40").encode(),
    ]
    files = [path for path in checkout.path.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def test_nothing_is_written_while_tests_are_red_and_their_output_shows_no_secret(paid, provider) -> None:
    with provider(key="another"):
        red = paid.run("record", ITEST_SUITE="paid", timeout=300, **given(paid))
    assert red.code == 1, red.output
    assert "its tests fail against the real service, so nothing is written" in red.output
    assert "'Authorization': 'Bearer masked-authorization-1'" in red.output
    assert not [canary for canary in CANARIES if canary in red.output]
    assert written(paid) == {}


def test_it_is_recorded_without_secrets_replayed_without_the_service_and_drift_is_seen(paid, provider) -> None:
    with provider(charge={"note": HIDDEN}):
        refused = paid.run("record", ITEST_SUITE="paid", timeout=300, **given(paid))
    assert refused.code == 6, refused.output
    assert "POST payments.example.com/v1/charges: answer, json $.note: random token" in refused.output
    assert 'mask: {json: ["$.note"]}' in refused.output
    assert written(paid) == {}
    assert not [canary for canary in CANARIES if canary in refused.output]

    with provider():
        done = paid.run("record", ITEST_SUITE="paid", timeout=300, **given(paid))
    assert done.code == 0, done.output
    assert "payments.example.com.yaml: 4 stubs" in done.output
    stubs = yaml.safe_load(written(paid)["payments.example.com.yaml"])
    charge, items = (
        next(one for one in stubs if one["name"].startswith(name)) for name in ("POST /v1/charges", "GET /v1/items")
    )
    assert charge["request"]["json"] == {"amount": 1250, "card": {}}
    assert set(charge["request"]["jsonpath"]) == {"$.email", "$.card.number", "$.reference"}
    assert charge["response"]["json"]["customer"] == {"email": "{{ request.json.email }}", "phone": "+15550100001"}
    assert charge["response"]["json"]["receipt"] == "sent to {{ request.json.email }}"
    assert items["request"]["query"] == {"token": "masked-token-1"}
    assert {canary: holding(paid, canary) for canary in CANARIES} == {canary: [] for canary in CANARIES}
    assert not [canary for canary in CANARIES if canary in done.output]

    # The service is gone, and the application has another key, customer and card.
    replayed = paid.run("run", ITEST_SUITE="paid", timeout=300, **OTHERS)
    assert replayed.code == 0, replayed.output

    with provider():
        same = paid.run("record", ITEST_SUITE="paid", ITEST_ARGS="--check", timeout=300, **given(paid))
    assert (same.code, same.output.splitlines()[-1]) == (0, "fixtures/paid/stubs/recorded: as recorded")
    with provider(charge={"id": 17, "fee": "0.30"}):
        drifted = paid.run("record", ITEST_SUITE="paid", ITEST_ARGS="--check", timeout=300, **given(paid))
    assert drifted.code == 1
    assert "POST /v1/charges: $.id: recorded a text, now a number" in drifted.output
    assert "POST /v1/charges: $.fee: recorded nothing, now a text" in drifted.output
    assert {canary: holding(paid, canary) for canary in CANARIES} == {canary: [] for canary in CANARIES}


def test_a_suite_without_a_mock_is_told_that_before_any_rules_are_asked_for(shared_checkout) -> None:
    ended = shared_checkout.run("record", ITEST_SUITE="api")
    assert ended.code == 2
    assert "suite api: it has no mock, and one is needed to record\nhint: compose/layers/mock.yaml in" in ended.output
