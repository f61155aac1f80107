"""Nothing outside answers a stack, and nothing leaves a sealed one. Each way out is tried from a service's own
network, against an outside of our own, and has a control: the same try from an ordinary network, which gets through.

The outside is a network namespace behind a veth pair, with addresses from the blocks for documentation (RFC 5737 and
3849), a listener, a name server and, like the world to container addresses, no route back to them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from itest import stack, suite
from itest.stack import door, egress, sealing
from itest.stack.stack import Stack

OUTSIDE, HOST = "198.51.100.7", "198.51.100.1"
OUTSIDE6, HOST6, CONTROL6 = "2001:db8:7::7", "2001:db8:7::1", "2001:db8:9::"
NAME = "partner.example.com"
PORT = 8080
ROOT = Path(__file__).resolve().parents[3]
PYTHON = "python:3.13.5-slim"
LISTENER = f"""
import socket, struct, threading
def names():
    while True:
        query, peer = server.recvfrom(512)
        end = query.index(0, 12) + 5
        ipv4 = query[end - 3] == 1
        answer = b"\\xc0\\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton("{OUTSIDE}") if ipv4 else b""
        server.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(answer), 0, 0) + query[12:end] + answer, peer)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("{OUTSIDE}", 53))
threading.Thread(target=names, daemon=True).start()
listener = socket.create_server(("", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"hello")
    connection.close()
"""
TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def said(target):
    try:
        with socket.create_connection(target, 4) as connection:  # a new IPv6 address may need two to be used
            return connection.recv(16).decode()
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip([target[0] for target in targets], pool.map(said, targets)))))
"""
REDIS = (Path(__file__).parent / "redis.yaml").read_text(encoding="utf-8")
EGRESS = f"egress: {{allow: ['{NAME}:{PORT}'], fail: true}}\n  isolation: none"
ASKS = """
def test_it(stack):
    stack.project.execute("redis", ["bash", "-c", "getent hosts api.example.com; getent hosts api.example.com; true"])
"""

WORKERS = """
import pytest, redis

@pytest.mark.parametrize("number", range(4))
def test_it(stack, worker_id, number):
    redis.Redis.from_url(stack.dsn("redis")).ping()
    asks = ["bash", "-c", f"getent hosts {worker_id}.example.com; true"]
    stack.project_of("redis").execute("redis", asks)
"""

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="a network namespace needs root and iproute2"
)


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def outside() -> Iterator[None]:
    """A listener and a name server at addresses outside of every docker network."""
    name, near, far = f"itest-{os.getpid()}", f"it{os.getpid()}h", f"it{os.getpid()}o"
    call("ip", "netns", "add", name)
    try:
        call("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        for where, device, addresses in (([], near, (HOST, HOST6)), (["-n", name], far, (OUTSIDE, OUTSIDE6))):
            call("ip", *where, "addr", "add", f"{addresses[0]}/24", "dev", device)
            call("ip", *where, "addr", "add", f"{addresses[1]}/64", "dev", device, "nodad")
            call("ip", *where, "link", "set", device, "up")
        # Docker translates no IPv6 address by default: it alone gets a route back, and to the control's network only.
        call("ip", "-n", name, "route", "add", f"{CONTROL6}/64", "via", HOST6)
        command = ["ip", "netns", "exec", name, sys.executable, "-c", LISTENER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "listening\n"
            yield
            listener.kill()
    finally:
        call("ip", "netns", "delete", name)  # its end of the veth pair goes with it, and so does ours


@pytest.fixture(scope="module")
def host() -> Iterator[int]:
    """The port of a listener on this machine, at each of its addresses."""
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed
                with connection:
                    connection.sendall(b"hello")

        Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def ordinary() -> Iterator[str]:
    """A network as docker makes them, with IPv6."""
    name = f"itest-control-{os.getpid()}"
    call("docker", "network", "create", "--ipv6", "--subnet", f"{CONTROL6}/64", name)
    try:
        yield name
    finally:
        call("docker", "network", "rm", name)


def tried(network: str, targets: list[tuple[str, int]], *options: str) -> dict[str, str]:
    """What a container on a network hears from each of some targets, by host; an error's name and words otherwise."""
    words = [PYTHON, "python", "-c", TRY, json.dumps(targets)]
    return json.loads(call("docker", "run", "--rm", "--network", network, *options, *words))


def tried_from(stack: Stack, service: str, targets: list[tuple[str, int]]) -> dict[str, str]:
    """What a service of a stack hears: with its addresses, its routes and its name server."""
    return tried(f"container:{stack.containers[service].id}", targets)


def gateway(network: str) -> str:
    """The IPv4 address by which containers of a network would reach the host."""
    configs = json.loads(call("docker", "network", "inspect", "--format", "{{json .IPAM.Config}}", network))
    return next(one["Gateway"] for one in configs if "." in one["Subnet"]).partition("/")[0]


def link_local(network: str) -> str:
    """The IPv6 address that the host's end of a network has without anybody's doing, as a container would write it."""
    bridge = "br-" + call("docker", "network", "inspect", "--format", "{{.Id}}", network)[:12]
    shown = json.loads(call("ip", "-json", "-6", "address", "show", "dev", bridge, "scope", "link"))
    return next(f"{one['local']}%eth0" for link in shown for one in link.get("addr_info", []) if "local" in one)


@pytest.fixture(scope="module")
def plain(shared_checkout) -> Iterator[Stack]:
    """A stack of one service, with no profile."""
    shared_checkout.suite("plain", REDIS)
    loaded = suite.load(shared_checkout.path, "plain")
    one = Stack(loaded, loaded.project(f"itest-network-{os.getpid()}"))
    try:
        stack.start(one)
        yield one
    finally:
        one.down()


@pytest.fixture(scope="module")
def sealed(shared_checkout) -> Iterator[Stack]:
    """The same one, sealed but for one name, which on this machine leads to the outside of our own."""
    shared_checkout.suite("closed", REDIS, EGRESS, ASKS)
    loaded = suite.load(shared_checkout.path, "closed", "sealed")
    one = Stack(loaded, loaded.project(f"itest-sealed-{os.getpid()}"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(door, "resolved", {NAME: OUTSIDE}.__getitem__)
            stack.start(one)
        yield one
    finally:
        one.down()


@needs_root
class TestAPlainStack:
    def test_nothing_outside_answers_by_address_by_name_or_over_ipv6(self, outside, plain):
        targets = [(OUTSIDE, PORT), (NAME, PORT), (OUTSIDE6, PORT)]
        with ordinary() as network:
            assert tried(network, targets, "--dns", OUTSIDE) == dict.fromkeys((OUTSIDE, NAME, OUTSIDE6), "hello")
        heard = tried_from(plain, "redis", targets)
        assert heard[OUTSIDE] == "TimeoutError: None"
        assert heard[NAME].startswith("gaierror")
        assert heard[OUTSIDE6] in ("OSError: Network is unreachable", "OSError: Cannot assign requested address")

    def test_its_published_ports_work(self, plain):
        assert plain.readiness["redis"].attempts >= 1

    def test_a_name_that_nobody_has_fails_at_once_instead_of_hanging(self, plain):
        script = "time -p getent hosts nobody.example; exit 0"
        said = plain.project.execute("redis", ["timeout", "5", "bash", "-c", f"{{ {script}; }} 2>&1"])
        assert float(said.split("real ")[1].split()[0]) < 2, said


@needs_root
class TestASealedStack:
    def test_nothing_leaves_it_to_the_outside_or_to_the_host(self, outside, host, sealed):
        network = f"{sealed.name}_default"
        with ordinary() as control:
            ways = [(OUTSIDE, PORT), (OUTSIDE6, PORT), ("other.example.com", PORT), (HOST, host)]
            open_ways = [*ways, (gateway(control), host), (link_local(control), host)]
            heard = tried(control, open_ways, "--dns", OUTSIDE)
            assert heard == {name: "hello" for name, _ in open_ways}
            closed_ways = [*ways, (gateway(network), host), (link_local(network), host), (gateway(control), host)]
            heard = tried_from(sealed, "redis", closed_ways)
        assert "hello" not in heard.values()
        assert heard[OUTSIDE] == heard[HOST] == "OSError: Network is unreachable"
        assert heard["other.example.com"] == "gaierror: Name or service not known"

    def test_the_host_has_no_address_on_its_network(self, sealed):
        bridge = "br-" + call("docker", "network", "inspect", "--format", "{{.Id}}", f"{sealed.name}_default")[:12]
        assert call("ip", "-4", "address", "show", "dev", bridge) == ""

    def test_its_published_ports_lead_through_the_door(self, sealed):
        assert sealed.readiness["redis"].attempts >= 1
        assert sealed.containers["redis"].ports[6379] == sealed.containers["door"].ports[6379]

    def test_what_egress_names_is_open_on_its_port_and_no_other(self, outside, sealed):
        assert tried_from(sealed, "redis", [(NAME, PORT)]) == {NAME: "hello"}
        assert "refused" in tried_from(sealed, "redis", [(NAME, PORT + 1)])[NAME]

    def test_attempts_are_recorded_with_service_host_and_time(self, outside, sealed):
        asked = "getent ahosts api.example.com; getent ahosts api.example.com; getent hosts word"
        sealed.project.execute("redis", ["bash", "-c", f"{asked}; getent ahosts {NAME}"])
        found = {one.host: one for one in egress.attempts([sealed])}
        assert (found["api.example.com"].service, found["api.example.com"].opened) == ("redis", False)
        assert found["api.example.com"].times == 2
        assert found["api.example.com"].first <= found["api.example.com"].last
        assert found[NAME].opened
        assert "word" not in found, "a stopped service is asked for like that"

    def test_connections_to_a_service_that_is_gone_are_closed_at_once(self, sealed):
        address = sealed.endpoint("redis")
        sealed.stop("redis")
        try:
            with socket.create_connection(address, 5) as connection:
                assert connection.recv(16) == b"", "closed at once, where docker's own proxy would have refused"
        finally:
            sealed.start("redis")


def test_a_suite_fails_for_an_attempt_where_it_says_so(shared_checkout, sealed):
    # The allowed name would be looked up on this machine.
    shared_checkout.replace("compose/suites/closed.yaml", f"allow: ['{NAME}:{PORT}'], ", "")
    ended = shared_checkout.run("run", ITEST_SUITE="closed", ITEST_PROFILE="sealed")
    assert ended.code == 1, ended.output
    assert "closed: egress: redis asked for api.example.com twice (refused)" in ended.output
    closed = shared_checkout.summary["suites"]["closed"]
    assert (closed["category"], closed["cause"], closed["failures"]) == ("test", "egress", 0)
    assert closed["egress"] == [{"service": "redis", "host": "api.example.com", "opened": False, "times": 2}]
    kept = json.loads((shared_checkout.latest / "closed/egress.json").read_text(encoding="utf-8"))
    assert [(one["service"], one["host"], one["times"]) for one in kept] == [("redis", "api.example.com", 2)]


def test_each_worker_has_a_door_of_its_own_that_records_too(shared_checkout):
    layer = REDIS.replace("redis:8.0.2", "${REDIS_IMAGE:-redis:8.0.2}")
    shared_checkout.suite("crowded", layer, "per_worker: [redis]", WORKERS)
    ended = shared_checkout.run("run", ITEST_SUITE="crowded", ITEST_PROFILE="sealed", ITEST_ARGS="-n 2")
    assert ended.code == 0, ended.output
    folder = shared_checkout.latest / "crowded"
    assert {"door.log", "door.worker1.log"} <= {path.name for path in (folder / "logs").iterdir()}
    kept = json.loads((folder / "egress.json").read_text(encoding="utf-8"))
    assert {(one["service"], one["host"]) for one in kept} == {
        ("redis", "gw0.example.com"),
        ("redis", "gw1.example.com"),
    }


def test_the_engine_keeps_what_the_compose_files_promise():
    assert sealing.can_enforce(PYTHON, ROOT) == sealing.Enforcement(plain=True, sealed=True)


def test_an_engine_that_lets_a_sealed_stack_out_is_found_out(monkeypatch):
    monkeypatch.setattr(sealing, "SEALED", sealing.PLAIN)
    found = sealing.can_enforce(PYTHON, ROOT)
    assert (found.plain, found.sealed) == (True, False)
    assert found.ways_out
