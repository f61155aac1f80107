"""Readiness on real containers: what it waits for, and how it ends at once, with evidence, when waiting is in vain."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterator

import pytest

from itest import stack, suite
from itest.errors import ItestError
from itest.stack import ready
from itest.stack.stack import Stack

Start = Callable[..., Stack]


@pytest.fixture
def start(checkout, request) -> Iterator[Start]:
    """Start a stack of one service, described by the lines under its name, and wait until it is ready."""
    started: list[Stack] = []

    def begin(service: str) -> Stack:
        name = f"ready{abs(hash(request.node.name)) % 10**8}"
        image = "" if "image:" in service else "image: redis:8.0.2\n"
        body = textwrap.indent(f"{image}stop_grace_period: 0s\n{textwrap.dedent(service).strip()}\n", "    ")
        checkout.suite(name, f"services:\n  thing:\n{body}")
        loaded = suite.load(checkout.path, name)
        one = Stack(loaded, loaded.project(f"itest-{name}"))
        started.append(one)
        stack.start(one)
        return one

    yield begin
    for one in started:
        one.down()


def failure(start: Start, service: str) -> ItestError:
    with pytest.raises(ItestError) as caught:
        start(service)
    print(caught.value)  # shown when an assertion below fails
    assert caught.value.category == "service"
    return caught.value


def test_a_service_that_exits_is_told_with_its_code_and_its_last_words(start):
    error = failure(
        start,
        """
        command: [sh, -c, 'echo the licence has expired; exit 3']
        x-itest: {kind: tcp, port: 7777, timeout: 30}
        ports: ["127.0.0.1::7777"]
        """,
    )
    assert error.cause == "exited"
    assert "service thing: exited with code 3 before it was ready" in error.message
    assert "the licence has expired" in error.evidence


def test_the_wait_ends_as_soon_as_the_container_does_and_not_at_the_deadline(start):
    began = time.monotonic()
    error = failure(start, "command: [sh, -c, 'sleep 0.5; exit 1']\nx-itest: {ready: {log: never}, timeout: 60}")
    assert error.cause == "exited"
    assert time.monotonic() - began < 20


def test_a_command_that_is_not_found_is_explained(start):
    error = failure(start, "command: [sh, -c, 'nosuchcommand']\nx-itest: {ready: {log: never}}")
    assert "code 127 (its command was not found in the image)" in error.message


def test_a_service_that_restarts_is_not_waited_for(start):
    error = failure(start, "command: [sh, -c, 'exit 4']\nrestart: always\nx-itest: {ready: {log: never}, timeout: 30}")
    assert error.cause in ("restarting", "exited")
    assert re.search("exited with code 4|exited and was restarted", error.message)


def test_a_service_over_its_memory_limit_is_told_as_oom_with_the_variable_to_raise(start):
    error = failure(
        start,
        """
        command: [sh, -c, 'x=aaaaaaaaaaaaaaaa; while :; do x=$$x$$x; done']
        mem_limit: 16m
        memswap_limit: 16m
        x-itest: {ready: {log: never}, timeout: 30}
        """,
    )
    assert error.cause == "oom"
    assert "more memory than its mem_limit" in error.message
    assert "THING_MEMORY" in error.hint


def test_an_unhealthy_service_is_told_with_what_its_healthcheck_said(start):
    error = failure(
        start,
        """
        command: [sleep, '60']
        healthcheck: {test: [CMD-SHELL, 'echo no leader elected; exit 1'], interval: 100ms, retries: 2}
        x-itest: {ready: {log: never}, timeout: 30}
        """,
    )
    assert error.cause == "unhealthy"
    assert "exit 1: no leader elected" in error.evidence


def test_a_service_that_never_answers_times_out_with_the_last_probe_in_its_own_words(start):
    error = failure(
        start,
        """
        command: [sleep, '60']
        ports: ["127.0.0.1::6379"]
        x-itest: {kind: redis, timeout: 1}
        """,
    )
    assert error.cause == "timeout"
    assert "service thing: not ready after 1 s and " in error.message
    assert "onnection" in error.evidence
    assert "ITEST_TIMEOUT_FACTOR" in error.hint


def test_a_wrong_path_is_told_as_that_without_the_noise_of_its_own_probes(start):
    error = failure(
        start,
        """
        image: python:3.13.5-slim
        command: [python, -m, http.server, '8000']
        healthcheck: {test: [CMD, 'true'], interval: 100ms}
        ports: ["127.0.0.1::8000"]
        x-itest: {kind: http, port: 8000, ready: {http: /nosuch}, timeout: 2}
        """,
    )
    assert error.hint == "no such path: check `ready` in the x-itest of thing"
    assert len(error.message) < 110
    assert "last probe: GET /nosuch: 404, not 200: <!DOCTYPE HTML> <html" in error.evidence
    assert "GET /nosuch HTTP" not in error.evidence
    assert re.search(r"log: .* code 404, message File not found \(\d+ times\)\n", error.evidence)
    assert re.search(r"health: exit 0( \(\d times\))?\n", error.evidence)


def test_a_paused_service_is_not_waited_for(start):
    one = start("x-itest: {kind: redis, timeout: 60}\nports: ['127.0.0.1::6379']")
    one.pause("thing")
    one.refresh()
    began = time.monotonic()
    with pytest.raises(ItestError) as caught:
        stack.settle(one)
    assert (caught.value.cause, caught.value.message) == ("paused", "service thing: is paused")
    assert time.monotonic() - began < 20


def test_a_fixture_that_needs_a_kind_that_is_not_there_says_where_to_add_it(start):
    with pytest.raises(ItestError) as caught:
        start("command: [sleep, '60']").only("http")
    assert re.fullmatch(r"add a layer of kind http to COMPOSE_FILE in compose/suites/ready\d+.env", caught.value.hint)


def test_wrong_credentials_end_the_wait_at_once(start):
    began = time.monotonic()
    error = failure(
        start,
        """
        command: [redis-server, --requirepass, one]
        environment: {REDIS_PASSWORD: another}
        ports: ["127.0.0.1::6379"]
        x-itest: {kind: redis, timeout: 60}
        """,
    )
    assert error.cause == "credentials"
    assert time.monotonic() - began < 20


def test_wrong_postgres_credentials_end_the_wait_at_once(start):
    error = failure(
        start,
        """
        image: postgres:17.11
        entrypoint: [sh, -c, 'POSTGRES_PASSWORD=another exec docker-entrypoint.sh postgres']
        environment: {POSTGRES_PASSWORD: one}
        ports: ["127.0.0.1::5432"]
        x-itest: {kind: postgres, timeout: 60}
        """,
    )
    assert error.cause == "credentials"
    assert 'password authentication failed for user "postgres"' in error.message


def test_a_port_that_is_not_published_is_told_with_the_line_to_add(start):
    error = failure(start, "x-itest: {kind: redis}")
    assert error.cause == "unpublished"
    assert "add 127.0.0.1::6379 to its ports" in error.message


@pytest.mark.parametrize(
    "ready_when",
    ["{exec: [test, -e, /tmp/ready]}", "{log: 'ready in \\d+ ms'}", "{health: healthy}", "{tcp: 7777}"],
    ids=["command", "log pattern", "health", "tcp"],
)
def test_every_kind_of_probe_waits_until_it_holds(start, ready_when):
    one = start(
        f"""
        command: [sh, -c, 'sleep 0.4; touch /tmp/ready; echo ready in 400 ms; exec redis-server --port 7777']
        ports: ["127.0.0.1::7777"]
        healthcheck: {{test: [CMD, test, -e, /tmp/ready], interval: 100ms, retries: 50}}
        x-itest: {{ready: {ready_when}, timeout: 20}}
        """
    )
    assert one.readiness["thing"].attempts > 1
    assert ready.verdict(one.project.containers()["thing"]) is None


def test_http_is_ready_only_with_the_status_and_the_fields_that_are_asked_for(start):
    server = (
        "import http.server as h, json, time; t = time.time(); "
        "H = type('H', (h.BaseHTTPRequestHandler,), {'do_GET': lambda s: (s.send_response(200), s.end_headers(), "
        "s.wfile.write(json.dumps({'status': 'ok' if time.time() - t > 1 else 'warming'}).encode()))}); "
        "h.HTTPServer(('', 8000), H).serve_forever()"
    )
    one = start(
        f"""
        image: python:3.13.5-slim
        command: [python, -c, "{server}"]
        ports: ["127.0.0.1::8000"]
        x-itest: {{kind: http, port: 8000, ready: {{http: /, json: {{status: ok}}}}, timeout: 20}}
        """
    )
    assert one.readiness["thing"].ready_s > 0.5
