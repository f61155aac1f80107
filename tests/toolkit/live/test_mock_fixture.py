"""The mock as the tests of a suite see it: stubs of their own, what came, whose it was, and what that fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import requests

# Calls the mock as it starts, passes on to it, or to X-Url, what it gets, and tries again where that answers 503 or not
# at all.
CALLER = """
services:
  caller:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: http, port: 9000, ready: {http: /ready}}
    image: ${MOCK_IMAGE:-itest/mock:dev}
    init: true
    stop_grace_period: 0s
    ports: ["127.0.0.1::9000"]
    depends_on: {mock: {condition: service_healthy}}
    command:
      - python
      - -c
      - |
        import time, urllib.error, urllib.request
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        class Caller(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for pause in (0.05, 0.1, 0.2):
                    status, said = self.once(body)
                    if status not in (0, 503):
                        break
                    time.sleep(pause)
                self.send_response(status or 502)
                self.end_headers()
                self.wfile.write(said)

            def once(self, body):
                headers = {"Content-Type": "application/json", "baggage": self.headers.get("baggage", "")}
                url = self.headers.get("X-Url") or "http://mock:8080" + self.path
                asked = urllib.request.Request(url, body, headers)
                through = self.headers.get("X-Proxy")
                proxy = urllib.request.ProxyHandler({"https": through} if through else {})
                try:
                    with urllib.request.build_opener(proxy).open(asked, timeout=2) as answer:
                        return answer.status, answer.read()
                except urllib.error.HTTPError as answer:
                    return answer.code, answer.read()
                except OSError as error:
                    return 0, str(error).encode()

        urllib.request.urlopen("http://mock:8080/rates/started", b"")
        ThreadingHTTPServer(("", 9000), Caller).serve_forever()
"""
STUBS = """
- name: rates
  request: {method: POST, path: "/rates/{currency}"}
  response: {json: {rate: "{{ request.path.currency }}"}}
"""
GREEN = """
import pytest, requests

def test_a_stub_answers_and_what_came_is_known(mock, http):
    mock.stub("POST", "/v1/payments", status=201, json={"id": "p-1"})
    answer = http.post("/v1/payments?expand=true", json={"amount": 1200})
    assert (answer.status_code, answer.json()) == (201, {"id": "p-1"})
    call = mock.received("POST", "/v1/payments", json={"amount": 1200}).once()
    assert (call.query, call.headers["content-type"], call.status) == ({"expand": "true"}, "application/json", 201)
    assert call.where.startswith("tests/paid/test_green.py:")
    mock.received("POST", "/v1/refunds").never()

def test_it_is_gone_in_the_next_and_the_files_are_there(mock, http):
    assert http.post("/rates/EUR", json={}).json() == {"rate": "EUR"}
    assert [call.stub for call in mock.journal] == ["rates"]

def test_attempts_are_counted_and_their_gaps_seen(mock, http):
    mock.stub("POST", "/v1/payments", status=201)
    mock.fail("POST", "/v1/payments", first=2, status=503)
    assert http.post("/v1/payments", json={"n": 1}).status_code == 201
    calls = mock.received("POST", "/v1/payments").times(3)
    assert [call.status for call in calls] == [503, 503, 201]
    assert calls.pauses[0] >= 0.05
    assert calls.pauses[1] >= 0.1
    assert calls.bodies == [{"n": 1}] * 3
    assert calls.concurrency == 1
    calls.in_order(*["POST /v1/payments"] * 3, strict=True)

def test_stubs_of_the_files_fail_too_and_recover(mock, http):
    mock.fail("POST", "/rates/EUR", first=1, reset=True)
    assert http.post("/rates/EUR", json={}).json() == {"rate": "EUR"}
    assert [call.effect for call in mock.received(path="/rates/{currency}")] == ["reset", ""]

def test_the_order_of_calls_is_seen(mock, http):
    mock.stub(json={})
    for path in ("/a", "/b", "/c"):
        http.post(path, json={})
    mock.journal.in_order("/a", "/c")
    with pytest.raises(AssertionError, match="not after #"):
        mock.journal.in_order("/c", "/a")

def test_a_test_calls_it_itself_by_https_too(mock):
    mock.stub("GET", "/me", json="me")
    assert requests.get(f"{mock.url}/me", headers=mock.headers, timeout=5).json() == "me"
    through = {"https": mock.proxy}
    assert requests.get("https://partner.example/me", proxies=through, verify=mock.ca, timeout=5).json() == "me"
    assert [call.host for call in mock.received("GET", "/me")][1] == "partner.example"

def test_what_is_under_way_is_seen_and_does_not_last(mock):
    mock.stub("GET", "/never", fault={"never_answers": True})
    with pytest.raises(requests.Timeout):
        requests.get(f"{mock.url}/never", headers=mock.headers, timeout=0.2)
    assert mock.received("GET", "/never").once().outcome in ("", "disconnected")

def test_a_stub_and_a_fault_last_as_long_as_their_block(mock, http):
    with mock.stub("POST", "/rates/EUR", status=418, json={}), mock.fail("POST", "/rates/USD", status=402):
        assert [http.post(f"/rates/{one}", json={}).status_code for one in ("EUR", "USD")] == [418, 402]
    assert [http.post(f"/rates/{one}", json={}).status_code for one in ("EUR", "USD")] == [200, 200]

def test_a_mock_that_refuses_is_refused_and_comes_back(mock, http):
    with mock.refused():
        answer = http.post("/rates/EUR", json={})
        assert (answer.status_code, "refused" in answer.text) == (502, True)
    assert http.post("/rates/EUR", json={}).json() == {"rate": "EUR"}
    mock.journal.once()

def test_a_mistake_in_a_stub_is_told(mock):
    with pytest.raises(Exception, match="mock.stub.*statsu"):
        mock.stub("GET", "/", response={"statsu": 1})

def test_a_mock_that_was_restarted_knows_what_it_knew(mock, stack):
    stack.kill("mock")
    stack.start("mock")

def test_after_which_the_files_answer_again(mock, http):
    assert http.post("/rates/CHF", json={}).json() == {"rate": "CHF"}
"""
RED = """
import pytest

def test_unmatched(http):
    http.post("/rate/EUR", json={})

def test_unused(mock):
    mock.strict = True
    mock.stub("POST", "/v1/payments", name="a payment")

def test_not_once(mock, http):
    http.post("/rates/EUR", json={"n": 1})
    mock.received("POST", "/rates/USD").once()

def test_template(mock, http):
    mock.stub("POST", "/t", json="{{ request.query.nobody }}")
    http.post("/t", json={})

def test_own_assertion(http):
    assert http.post("/rate/USD", json={}).status_code == 200

def test_green(mock, http):
    assert not mock.journal

@pytest.fixture
def closing(http):
    yield
    http.post("/rates/closing", json={})

def test_green_to_its_end(closing, mock):
    mock.stub("POST", "/rates/closing", json="closed")
"""
MANY = """
import pytest, requests

def test_its_port_is_everybody_s(mock):
    with pytest.raises(Exception, match="mock.refused: a port is closed for everybody"), mock.refused():
        pass

@pytest.mark.parametrize("n", range(12))
def test_it_is_alone(mock, http, record_property, n):
    mock.stub("POST", "/same", json=n)
    mock.stub("GET", "/same", json=n)
    for _ in range(10):
        assert http.post("/same", json={"n": n}).json() == n
        assert requests.get(mock.url + "/same", headers=mock.headers, timeout=5).json() == n
    assert mock.received("POST", "/same").bodies == [{"n": n}] * 10
    assert mock.journal.count == 20
    record_property("scope", mock.scope)
"""

OUTSIDE = """
import pytest

@pytest.mark.parametrize("way", [
    {"X-Url": "https://api.partner.example/v1"},
    {"X-Url": "http://mock:8080/rates/EUR"},
    {"X-Url": "https://nobody.example/rates/EUR", "X-Proxy": "http://mock:8080"},
])
def test_it_is_answered(http, way):
    answer = http.post("/", json={}, headers=way)
    assert answer.status_code == 200, answer.text
"""


@pytest.fixture(scope="module")
def paid(shared_checkout) -> Iterator:
    """A checkout with a suite whose one service calls a third party."""
    shared_checkout.suite("paid", CALLER)
    shared_checkout.write("fixtures/paid/stubs/rates.yaml", STUBS)
    shared_checkout.replace(
        "compose/suites/paid.env", ":compose/layers/paid", ":compose/layers/mock.yaml:compose/layers/paid"
    )
    shared_checkout.replace("compose/suites/paid.env", "COMPOSE_FILE=", "MOCK_STUBS=fixtures/paid/stubs\nCOMPOSE_FILE=")
    said = "x-itest: {isolation: delete, per_worker: [caller], fixtures: [fixtures/paid]}\n"
    shared_checkout.write("compose/suites/paid.yaml", said)
    (shared_checkout.path / "tests/paid/test_paid.py").unlink()
    return shared_checkout


def scopes(checkout) -> set[str]:
    report = (checkout.latest / "paid/junit.xml").read_text()
    return set(re.findall(r'name="scope" value="([^"]+)"', report))


def test_a_suite_s_tests_have_stubs_of_their_own_and_see_what_came(paid):
    paid.write("tests/paid/test_green.py", GREEN)
    ended = paid.run("run", ITEST_SUITE="paid", ITEST_ARGS="tests/paid/test_green.py")
    assert ended.code == 0, ended.output
    journal = json.loads((paid.latest / "paid/mock.json").read_text())
    assert {"test_a_stub_answers_and_what_came_is_known"} <= {
        one["test"].rpartition("::")[2] for one in journal
    } or journal
    assert "rates, attempt 1" in (paid.latest / "paid/mock.txt").read_text()


def test_what_nothing_answers_and_what_did_not_come_fails_its_test_with_what_was_nearest(paid):
    paid.write("tests/paid/test_red.py", RED)
    ended = paid.run("run", ITEST_SUITE="paid", ITEST_ARGS="tests/paid/test_red.py")
    assert ended.code == 1, ended.output
    assert "5 failed, 2 passed" in ended.output  # of the tests themselves, not of their teardown
    for told in (
        "mock: no stub answers POST /rate/EUR\n  POST /rate/EUR: nearest is rates (fixtures/paid/stubs/rates.yaml:2)\n"
        "    path: expected /rates/{currency}, got /rate/EUR\n",
        "mock: stub a payment (tests/paid/test_red.py:9) answered nothing, and the test is strict\nhint",
        "POST /rates/USD: expected once, never came\n",
        "mock: stub tests/paid/test_red.py:16: template `{{ request.query.nobody }}`: "
        "'itest.mock.templates.Texts object' has no attribute 'nobody'\nhint",
        "Captured stdout of itest, what came to mock in this call",
    ):
        assert told in re.sub("(?m)^E +", "", ended.output)
    assert "ERROR" not in ended.output
    also = "mock: 1 request that no stub answered: path: expected /rates/{currency}, got /rate/USD"
    assert re.search(rf"::test_own_assertion  .*assert \d+ == 200; {re.escape(also)}\n", ended.output), ended.output
    report = (paid.latest / "paid/mock.txt").read_text()
    assert "test_red.py::test_unmatched   [default]" in report
    assert "nearest is rates" in report


def test_workers_that_call_the_same_url_see_their_own_only(paid):
    paid.write("tests/paid/test_many.py", MANY)
    ended = paid.run("run", ITEST_SUITE="paid", ITEST_ARGS="tests/paid/test_many.py -n 3")
    assert ended.code == 0, ended.output
    assert scopes(paid) == {"default", "worker1", "worker2"}
    journal = json.loads((paid.latest / "paid/mock.json").read_text())
    starts = [entry["scope"] for entry in journal if entry["request"]["path"] == "/rates/started"]
    assert sorted(starts) == ["default", "worker1", "worker2"]


def test_workers_that_share_what_calls_take_turns_and_are_told(paid):
    paid.write("compose/suites/paid.yaml", "x-itest: {isolation: delete, fixtures: [fixtures/paid]}\n")
    paid.write("tests/paid/test_many.py", MANY)
    ended = paid.run("run", ITEST_SUITE="paid", ITEST_ARGS="tests/paid/test_many.py -n 3")
    assert ended.code == 0, ended.output
    assert "took turns, as all workers share caller; per_worker: [caller] in compose/suites/paid.yaml" in ended.output


def test_they_do_not_where_it_passes_on_whose_request_it_works_at(paid):
    said = "x-itest: {isolation: delete, fixtures: [fixtures/paid]}\nservices: {caller: {x-itest: {baggage: true}}}\n"
    paid.write("compose/suites/paid.yaml", said)
    ended = paid.run("run", ITEST_SUITE="paid", ITEST_ARGS="tests/paid/test_many.py -n 3")
    assert ended.code == 0, ended.output
    assert "took turns" not in ended.output
    assert scopes(paid) == {"default", "worker1", "worker2"}


def test_a_sealed_suite_is_told_what_lets_the_mock_answer_and_then_it_does_in_all_three_ways(paid):
    said = "x-itest: {isolation: delete, fixtures: [fixtures/paid], egress: {fail: true}}\n"
    paid.write("compose/suites/paid.yaml", said)
    paid.replace("compose/profiles/sealed.yaml", "        1080=mock", "        9000=caller:9000\n        1080=mock")
    paid.replace(
        "compose/profiles/sealed.yaml", "      - 127.0.0.1::1080", "      - 127.0.0.1::1080\n      - 127.0.0.1::9000"
    )
    paid.write("tests/paid/test_outside.py", OUTSIDE)
    sealed = {"ITEST_SUITE": "paid", "ITEST_PROFILE": "sealed", "ITEST_ARGS": "tests/paid/test_outside.py"}

    ended = paid.run("run", **sealed)
    assert ended.code == 1, ended.output
    assert "2 failed, 1 passed" in ended.output  # by URL it works at once; nothing trusts the mock yet
    overlay, _, stubs = (paid.latest / "paid/egress.yaml").read_text().partition("---\n")
    assert overlay.count("api.partner.example") == stubs.count("host: api.partner.example") == 1
    assert "nobody.example" not in overlay + stubs

    paid.write("compose/suites/paid.yaml", said + overlay)
    paid.write("fixtures/paid/stubs/outside.yaml", stubs)
    ended = paid.run("run", **sealed)
    (paid.path / "fixtures/paid/stubs/outside.yaml").unlink()
    assert ended.code == 0, ended.output
    assert json.loads((paid.latest / "paid/egress.json").read_text()) == []


def test_a_mistake_in_a_stub_file_is_told_with_its_line_before_anything_starts(paid):
    paid.write("fixtures/paid/stubs/wrong.yaml", "- request: {path: /x}\n  respones: {status: 200}\n")
    ended = paid.run("run", ITEST_SUITE="paid")
    (paid.path / "fixtures/paid/stubs/wrong.yaml").unlink()
    assert ended.code == 2, ended.output
    assert "fixtures/paid/stubs/wrong.yaml:2: unknown key `respones`" in ended.output
    assert "did you mean `responses`?" in ended.output
    assert paid.leftovers() == {"containers": [], "networks": []}


def test_by_hand_the_stubs_of_the_suite_s_sets_count_and_seeding_reads_them_again(paid):
    up = paid.run("up", "--suite", "paid")
    assert up.code == 0, up.output
    try:
        url = re.search(r"mock +ready +(\S+)", up.output)[1]
        assert requests.post(f"{url}/rates/EUR", timeout=5).json() == {"rate": "EUR"}
        paid.replace("fixtures/paid/stubs/rates.yaml", "rate:", "price:")
        seeded = paid.run("seed", "--suite", "paid")
        assert "1 stub" in seeded.output
        assert requests.post(f"{url}/rates/EUR", timeout=5).json() == {"price": "EUR"}
    finally:
        assert paid.run("down", "--suite", "paid").code == 0
