"""Faults of containers as a client in another one sees them; and that none outlives its test, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from itest.stack.eventually import eventually

SUITE = "broken"
SEEN = Path(__file__).parent / "faults" / "seen_by_clients.py"
LAYER = """
services:
  redis:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: redis}
    image: redis:8.0.2
    user: "999:999"
    command: [redis-server, --save, "", --dir, /data]
    mem_limit: 64m
    tmpfs: ["/data:uid=999,gid=999,size=4m", "/large:uid=999,gid=999,size=128m", "/tmp:mode=1777"]
    ports: ["127.0.0.1::6379"]
    stop_grace_period: 1s
    networks: {default: {aliases: [store]}}
  client:
    extends: {file: defaults.yaml, service: defaults}
    image: redis:8.0.2
    command: [sleep, infinity]
    init: true
  app:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: http, port: 8000, ready: {http: /}}
    image: python:3.13.5-slim
    command:
      - python
      - -c
      - |
        import http.server, time
        class Clock(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f"{time.time()} {time.monotonic()}".encode())
        http.server.HTTPServer(("", 8000), Clock).serve_forever()
    init: true
    ports: ["127.0.0.1::8000"]
"""
OVERLAY = """isolation: none
services:
  clock: {extends: {file: clocked.yaml, service: clock}}
  app:
    extends: {file: clocked.yaml, service: clocked}
    depends_on: {clock: {condition: service_completed_successfully}}
volumes: {clock: {}}"""


@pytest.fixture(scope="module")
def broken(shared_checkout):
    """A checkout with the suite whose tests inject faults."""
    shared_checkout.suite(SUITE, LAYER, OVERLAY, test=SEEN.read_text(encoding="utf-8"))
    env = f"compose/suites/{SUITE}.env"
    shared_checkout.replace(env, f"=itest-{SUITE}\n", f"=itest-{SUITE}-{os.getpid()}\n")
    return shared_checkout


@pytest.fixture(scope="module")
def kept(broken):
    """The same, with a stack that is kept."""
    up = broken.run("up", "--suite", SUITE)
    assert up.code == 0, up.output
    return broken


def seen() -> tuple[str, str]:
    """What the kept stack's `client` hears from `redis`, and the blocks that are free on its disk. No verb is used."""
    stack = f"itest-{SUITE}-{os.getpid()}"
    ask = ["docker", "exec", f"{stack}-client-1", "timeout", "0.5", "redis-cli", "-h", "redis", "PING"]
    free = ["docker", "exec", f"{stack}-redis-1", "stat", "-f", "-c", "%a", "/data"]
    said = (subprocess.run(one, capture_output=True, text=True, check=False).stdout.strip() for one in (ask, free))
    return next(said), next(said)


WHOLE = "PONG", str((4 << 20) // 4096)


@contextmanager
def held(checkout, kind: str) -> Iterator[subprocess.Popen[str]]:
    """A pytest that is in the middle of two faults, on the kept stack. It is killed if it still runs in the end."""
    holding = checkout.path / "holding"
    holding.write_text("", encoding="utf-8")
    process = checkout.start_pytest(f"tests/{SUITE}", "-k", f"held and {kind}")
    try:
        eventually(lambda: holding.read_text(encoding="utf-8") or process.poll() is not None, timeout=30)
        assert process.poll() is None, process.communicate()[0]
        yield process
    finally:
        process.kill()
        process.communicate()
        holding.unlink()


def test_every_fault_is_seen_by_its_client_meant_to_the_run_and_healed(broken):
    run = broken.run("run", "--suite", SUITE)
    assert run.code == 0, run.output
    told = broken.summary["suites"][SUITE]
    assert (told["failures"], told["errors"], told["skipped"]) == (0, 0, 2)
    assert told["tests"] > 15


@pytest.mark.parametrize("kind", ["pause", "oom"])
def test_the_next_command_heals_what_a_killed_pytest_left_and_only_that(kept, kind):
    with held(kept, kind) as process:
        assert "healing" not in kept.run("ps").output, "its owner lives"
        assert seen() != WHOLE
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = kept.run("wait", "--suite", SUITE)
    assert after.code == 0, after.output
    told = [line for line in after.output.splitlines() if "healing" in line]
    ending = f"itest: healing itest-{SUITE}-{os.getpid()}: {{}}, left by a process that was killed"
    assert told == [ending.format(f"{kind} redis"), ending.format("fill_disk redis /data")], "the newest first"
    assert seen() == WHOLE
    assert "healing" not in kept.run("ps").output


def test_an_interrupted_pytest_heals_before_it_ends(kept):
    with held(kept, "pause") as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert seen() == WHOLE


def test_what_is_left_of_a_stack_that_is_gone_is_forgotten(kept):
    with held(kept, "pause") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(["docker", "rm", "--force", f"itest-{SUITE}-{os.getpid()}-redis-1"], check=True)
        after = kept.run("ps")
    assert after.code == 0, after.output
    assert "healing" not in after.output
    assert list((kept.path / "build/itest/faults").iterdir()) == []
