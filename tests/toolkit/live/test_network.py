"""Nothing outside answers a stack. Proven against an outside of our own, with a control that does get through.

The outside is a network namespace behind a veth pair with an address from the block for documentation (RFC 5737) and,
like the world to container addresses, no route back to them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from itest import stack, suite
from itest.stack.stack import Stack

OUTSIDE, HOST = "198.51.100.7", "198.51.100.1"
LISTENER = (
    "import socket; s = socket.create_server(('198.51.100.7', 8080)); print('listening', flush=True)\n"
    "while True: c, _ = s.accept(); c.sendall(b'hello from outside'); c.close()"
)
REDIS = """
services:
  redis:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: redis}
    image: redis:8.0.2
    user: "999:999"
    tmpfs: [/data]
    ports: ["127.0.0.1::6379"]
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="a network namespace needs root and iproute2"
)


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def outside() -> Iterator[None]:
    """A listener at an address outside of every docker network."""
    name, near, far = f"itest-{os.getpid()}", f"it{os.getpid()}h", f"it{os.getpid()}o"
    call("ip", "netns", "add", name)
    try:
        call("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        call("ip", "addr", "add", f"{HOST}/24", "dev", near)
        call("ip", "link", "set", near, "up")
        call("ip", "-n", name, "addr", "add", f"{OUTSIDE}/24", "dev", far)
        call("ip", "-n", name, "link", "set", far, "up")
        command = ["ip", "netns", "exec", name, sys.executable, "-c", LISTENER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "listening\n"
            yield
            listener.kill()
    finally:
        call("ip", "netns", "delete", name)  # its end of the veth pair goes with it, and so does ours


def call_outside(network: str) -> str:
    """What a container on a network hears from outside."""
    script = f"exec 3<>/dev/tcp/{OUTSIDE}/8080 && cat <&3"
    command = ["docker", "run", "--rm", "--network", network, "redis:8.0.2", "timeout", "2", "bash", "-c", script]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


@pytest.fixture
def tiny(checkout) -> Iterator[Stack]:
    checkout.suite("tiny", REDIS)
    loaded = suite.load(checkout.path, "tiny")
    one = Stack(loaded, loaded.project(f"itest-network-{os.getpid()}"))
    stack.start(one)
    yield one
    one.down()


def test_nothing_outside_answers_a_stack_while_its_published_ports_work(outside, tiny):
    ordinary = f"itest-control-{os.getpid()}"
    call("docker", "network", "create", ordinary)
    try:
        assert call_outside(ordinary) == "hello from outside"
    finally:
        call("docker", "network", "rm", ordinary)
    assert call_outside(f"{tiny.name}_default") == ""
    assert tiny.readiness["redis"].attempts >= 1


def test_a_name_that_nobody_has_fails_at_once_instead_of_hanging(tiny):
    script = "time -p getent hosts nobody.example; exit 0"
    said = tiny.project.execute("redis", ["timeout", "5", "bash", "-c", f"{{ {script}; }} 2>&1"])
    assert float(said.split("real ")[1].split()[0]) < 2, said
