"""Faults as a client sees them whose connections go through the sidecar: what arrives, when, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

IMAGE = "python:3.13.5-slim"
ENV = """
COMPOSE_PROJECT_NAME=itest-{name}
COMPOSE_FILE=compose/base.yaml:compose/suites/toxic.yaml
"""
# 7000 sends back what comes, 7001 counts it until its end, 7002 sends without an end, 7003 says who calls.
SERVER = """
import socket, threading

def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)

def count(connection):
    size = 0
    while data := connection.recv(65536):
        size += len(data)
    connection.sendall(str(size).encode())

def flood(connection):
    while True:
        connection.sendall(bytes(65536))

def who(connection):
    connection.sendall(connection.getpeername()[0].removeprefix("::ffff:").encode())

def answer(connection, how):
    with connection:
        try:
            how(connection)
        except OSError:
            pass

def listen(port, how):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0], how), daemon=True).start()

for port, how in enumerate((echo, count, flood), 7000):
    threading.Thread(target=listen, args=(port, how), daemon=True).start()
listen(7003, who)
"""
OVERLAY = f"""
x-itest: {{isolation: none}}
services:
  server:
    extends: {{file: defaults.yaml, service: defaults}}
    pids_limit: 2000
    image: {IMAGE}
    command: [python, -c, {json.dumps(SERVER)}]
    init: true
  client:
    extends: {{file: defaults.yaml, service: defaults}}
    image: {IMAGE}
    command: [sleep, infinity]
    init: true
  sidecar:
    extends: {{file: faults.yaml, service: faults}}
    network_mode: service:client
"""
# What every program of the client begins with. It says what it found by `say`, and waits for the test by `input()`.
CLIENT = """
import json, resource, socket, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

def say(found):
    print(json.dumps(found), flush=True)

def connect(port=7000, host="server", timeout=20):
    made = socket.create_connection((host, port), timeout=timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made

def exactly(connection, size):
    data = b""
    while len(data) < size and (more := connection.recv(1 << 20)):
        data += more
    return data

def trip(connection, data=b"x"):
    "Seconds until all of it has come back."
    began = time.monotonic()
    threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
    assert exactly(connection, len(data)) == data
    return time.monotonic() - began

def ended(connection):
    "What comes until the end, how it ends, and after how many seconds."
    began, data = time.monotonic(), b""
    try:
        while more := connection.recv(1 << 20):
            data += more
        how = "closed"
    except OSError as error:
        how = type(error).__name__
    return [data.decode(), how, time.monotonic() - began]

def fails(port=7000, host="server", timeout=0.4, until_its_end=False):
    "What a new connection fails with, at first or until its end; nothing if it doesn't."
    try:
        made = connect(port, host, timeout)
        return ended(made)[1] if until_its_end else None
    except OSError as error:
        return type(error).__name__
"""


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, text=True)


class Program:
    """Python that runs in the client, step by step: it says something, or waits for the test."""

    def __init__(self, container: str, code: str) -> None:
        command = ["docker", "exec", "--interactive", container, "python", "-c", CLIENT + code]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self) -> Any:
        line = self.process.stdout.readline()
        assert line, f"the program ended with {self.process.wait()}"
        return json.loads(line)

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Session:
    """A session with the sidecar, as the host's side of faults has it."""

    def __init__(self, container: str) -> None:
        command = ["docker", "exec", "--interactive", container, "python", "-m", "itest.toxics.session"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def do(self, op: str, **request: Any) -> dict[str, Any]:
        answer = self.ask(op=op, **request)
        assert "ok" in answer, answer
        return answer["ok"]

    def add(self, kind: str, to: Any = "server", **given: Any) -> str:
        return self.do("add", kind=kind, to=to, **{"with": given})["id"]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass(frozen=True)
class World:
    """A client, a server, and the sidecar in between."""

    name: str

    def container(self, service: str) -> str:
        return f"itest-{self.name}-{service}-1"

    def address(self, service: str) -> str:
        of_each = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", of_each, self.container(service)).stdout.strip()

    def sidecar(self, *words: str) -> str:
        return docker("exec", self.container("sidecar"), *words).stdout

    def another_sidecar(self, client: str, *options: str) -> subprocess.CompletedProcess[str]:
        """By `docker run`, in the network namespace of this client."""
        mounts = docker("inspect", "--format", "{{json .Mounts}}", self.container("sidecar")).stdout
        given = [word for one in json.loads(mounts) for word in ("-v", f"{one['Source']}:{one['Destination']}:ro")]
        return docker("run", "--rm", f"--network=container:{client}", *given, *options, "itest/faults:dev", check=False)


@pytest.fixture(scope="module")
def world(shared_checkout) -> World:
    """The sidecar as compose/faults.yaml has it, beside a client of a server."""
    name = f"toxic-{os.getpid()}"
    shared_checkout.write("compose/suites/toxic.env", ENV.format(name=name))
    shared_checkout.write("compose/suites/toxic.yaml", OVERLAY)
    shared_checkout.write("tests/toxic/test_it.py", "")
    up = shared_checkout.run("up", ITEST_SUITE="toxic", timeout=600)
    assert up.code == 0, up.output
    return World(name)


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    made = Session(world.container("sidecar"))
    yield made
    if made.process.poll() is None:
        made.do("heal")  # before the next test's, which would otherwise come while this one's go
    made.end()


@pytest.fixture
def start(world: World) -> Iterator[Callable[[str], Program]]:
    """Start a program in the client."""
    programs = []

    def start(code: str) -> Program:
        programs.append(Program(world.container("client"), code))
        return programs[-1]

    yield start
    for program in programs:
        program.end()


@pytest.fixture
def run(start) -> Callable[[str], Any]:
    """What a program says first."""
    return lambda code: start(code).said()


@retry(retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(20), wait=wait_fixed(0.05), reraise=True)
def until(holds: Callable[[], object]) -> None:
    assert holds()


# With no fault


def test_bytes_arrive_as_they_were_sent_and_the_server_sees_the_client_s_own_address(world, run):
    assert run("import os; say(trip(connect(), os.urandom(5_000_000)))") < 20
    assert run("say(ended(connect(7003))[0])") == world.address("client")


def test_the_end_of_one_direction_is_passed_on_and_the_other_one_stays_open(run):
    assert run("c = connect(7001); c.sendall(bytes(300_000)); c.shutdown(1); say(ended(c))")[:2] == ["300000", "closed"]


def test_a_server_that_refuses_ends_the_connection_by_rst(run):
    assert run("say(fails(7999, until_its_end=True))") == "ConnectionResetError"


def test_a_thousand_connections_are_open_at_a_time(session, start):
    program = start("all = [connect() for _ in range(1000)]; say([trip(c) for c in all]); input()")
    assert len(program.said()) == 1000
    assert len(session.do("list")["connections"]) >= 1000


def test_a_client_that_does_not_read_fills_no_memory(session, start):
    start("c = connect(7002); exactly(c, 1); say(0); input()").said()
    assert all(one["held"] <= 1 << 17 for one in session.do("list")["connections"])


# Streams


def test_a_round_trip_takes_as_much_longer_as_the_latency_is_on_a_connection_that_is_open_and_until_healed(
    session, start
):
    program = start("c = connect()\nwhile True: input(); say(trip(c))")

    def trip() -> float:
        program.go_on()
        return program.said()

    assert trip() < 0.3
    first = session.add("latency", ms=300)
    assert 0.3 <= trip() < 0.6
    session.add("latency", ms=300)
    assert 0.6 <= trip() < 1.2
    session.do("remove", id=first)
    assert 0.3 <= trip() < 0.6
    session.do("heal")
    assert trip() < 0.3


def test_a_latency_costs_time_and_no_throughput(session, run):
    session.add("latency", ms=200)
    # 150 chunks of 64 KiB: were each to wait for the one before it, 30 s.
    assert 0.2 <= run("say(trip(connect(), bytes(10_000_000)))") < 10


def test_a_fault_is_for_one_server_and_not_for_the_others(world, session, run):
    session.add("latency", to=["192.0.2.1"], ms=2000)
    assert run("say(trip(connect()))") < 1
    session.add("latency", to={"name": "nobody.invalid", "addresses": [world.address("server")]}, ms=300)
    assert run("say(trip(connect()))") >= 0.3


def test_a_bandwidth_takes_size_by_rate(session, run):
    session.add("bandwidth", kb_per_s=100)
    assert 0.3 <= run("say(trip(connect(), bytes(30_000)))") < 3


def test_a_timeout_holds_what_was_sent_until_it_is_healed(session, start):
    program = start("c = connect(); say(trip(c)); input(); say(0); say(trip(c))")
    program.said()
    session.add("timeout")
    program.go_on()
    program.said()
    until(lambda: any(one["held"] == 1 for one in session.do("list")["connections"]))
    session.do("heal")
    assert program.said() > 0


def test_a_timeout_of_so_much_closes_the_connection_after_it(session, run):
    session.add("timeout", ms=200)
    data, how, seconds = run("c = connect(); c.sendall(b'x'); say(ended(c))")
    assert (data, how) == ("", "closed")
    assert 0.15 <= seconds < 2  # from when the sidecar accepted it, which was before


def test_a_reset_ends_open_connections_and_new_ones_by_rst(session, start, run):
    program = start("c = connect(); trip(c); say(0); say(ended(c))")
    program.said()
    session.add("reset", after_ms=100)
    assert program.said()[1] == "ConnectionResetError"
    assert run("say(fails(until_its_end=True))") == "ConnectionResetError"
    session.do("heal")
    assert run("say(trip(connect()))") < 1


def test_slices_come_in_small_pieces_one_after_the_other(session, run):
    session.add("slice", bytes=10, delay_ms=20)
    began = "c = connect(); t = time.monotonic(); c.sendall(bytes(50)); first = len(c.recv(99));"
    first, seconds = run(f"{began} exactly(c, 50 - first); say([first, time.monotonic() - t])")
    assert first == 10
    assert seconds >= 0.08


def test_a_limit_closes_the_connection_after_so_many_bytes_of_answers(session, run):
    session.add("limit_data", bytes=10)
    assert run("c = connect(); c.sendall(b'0123456789abcdef'); say(ended(c))")[:2] == ["0123456789", "closed"]


def test_a_slow_close_is_late_each_way_and_the_data_before_it_is_not(session, run):
    session.add("slow_close", ms=200)
    data, how, seconds = run("c = connect(7001); c.sendall(b'x'); c.shutdown(1); say(ended(c))")
    assert (data, how) == ("1", "closed")
    assert seconds >= 0.4


# Packets


@pytest.mark.parametrize("one_way", ["", "out", "in"])
def test_a_partition_lets_new_connections_time_out_and_open_ones_wait_for_its_end(session, start, run, one_way):
    program = start("c = connect(); say(trip(c)); input(); say(0); say(trip(c))")
    program.said()
    session.add("partition", one_way=one_way)
    program.go_on()
    program.said()
    assert run("say(fails())") == "TimeoutError"
    session.do("heal")
    assert program.said() > 0.3  # the client's own retransmission, after the 0.4 s that a connect waited
    assert run("say(fails(timeout=20))") is None


def test_a_loss_of_everything_is_a_partition_and_a_loss_of_nothing_is_none(session, run):
    session.add("loss", percent=0)
    assert run("say(fails())") is None
    session.add("loss", percent=100)
    assert run("say(fails())") == "TimeoutError"


def test_packets_to_others_are_not_lost(session, run):
    session.add("partition", to=["192.0.2.1"])
    assert run("say(trip(connect()))") < 1


# Sessions


def test_a_session_that_is_killed_leaves_no_fault_behind_but_those_it_was_to_keep(world, session):
    other = Session(world.container("sidecar"))
    kept = other.do("add", kind="latency", to="server", keep=True, **{"with": {"ms": 1}})["id"]
    gone = other.add("partition")
    assert {one["id"] for one in session.do("list")["faults"]} == {kept, gone}
    other.end()
    until(lambda: [one["id"] for one in session.do("list")["faults"]] == [kept])
    until(lambda: "DROP" not in world.sidecar("iptables", "-t", "mangle", "-S"))
    session.do("heal")
    assert session.do("list")["faults"] == []


def test_this_machine_can_do_all_of_it(session):
    kinds = {"latency", "bandwidth", "timeout", "reset", "slice", "limit_data", "slow_close", "partition", "loss"}
    assert session.do("can") == dict.fromkeys(kinds | {"redirect", "open_before"}, "")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"op": "add", "kind": "lag", "to": "server"}, "no fault is called lag; there are latency, "),
        ({"op": "add", "kind": "reset", "to": "nobody"}, "no address of nobody is known here"),
        ({"op": "add", "kind": "reset"}, '"to" is a name, a list of addresses, or both'),
        ({"op": "add", "kind": "loss", "to": "server", "with": {"percent": 101}}, "percent is 101, which is out of"),
        ({"op": "add", "kind": "reset", "to": ["x"]}, "'x' does not appear to be an IPv4 or IPv6 address"),
        ({"op": "dance"}, "op is add, remove, list, heal or can"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_the_session_goes_on(session, request_, said):
    assert said in session.ask(**request_)["error"]
    assert session.do("list")["faults"] == []


LATE = """
def first():
    try:
        return connect(host="late")
    except OSError:
        time.sleep(0.05)
        return first()

c = first()
while True:
    say(trip(c))
    input()
"""


def test_a_fault_goes_with_the_name_when_another_server_has_it(world, session, start):
    session.add("latency", to={"name": "late", "addresses": ["192.0.2.1"]}, ms=300)
    network = docker("inspect", "--format", "{{.HostConfig.NetworkMode}}", world.container("server")).stdout.strip()
    of_the_network = ("--network", network, "--network-alias", "late")
    docker("run", "--detach", "--rm", "--name", f"{world.name}-late", *of_the_network, IMAGE, "python", "-c", SERVER)
    try:
        program = start(LATE)

        def trip() -> float:
            seconds = program.said()
            program.go_on()
            return seconds

        until(lambda: trip() >= 0.3)
        assert trip() >= 0.3
    finally:
        docker("rm", "--force", f"{world.name}-late")


# Toxiproxy's API


class Toxiproxy:
    """Its API, at the client's own address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, method: str, path: str, data: Any = None, status: int = 200) -> Any:
        answer = requests.request(method, f"http://{self.address}:8474{path}", json=data, timeout=20)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
def toxiproxy(world: World) -> Iterator[Toxiproxy]:
    api = Toxiproxy(world.address("client"))
    yield api
    for name in api.ask("GET", "/proxies"):
        api.ask("DELETE", f"/proxies/{name}", status=204)


HERE = "say(trip(connect(9000, '127.0.0.1')))"


def test_toxiproxy_s_version_is_one_that_clients_know(toxiproxy):
    assert toxiproxy.ask("GET", "/version")["version"].startswith("2.")


def test_a_server_by_name_and_port_is_a_proxy_that_is_there_already(toxiproxy, run):
    toxics = "/proxies/server:7000/toxics"
    toxic = toxiproxy.ask("POST", toxics, {"type": "latency", "stream": "upstream", "attributes": {"latency": 300}})
    assert toxic["name"] == "latency_upstream"
    assert toxic["attributes"] == {"latency": 300, "jitter": 0}
    assert run("say(trip(connect()))") >= 0.3
    assert run("c = connect(7003); t = time.monotonic(); c.recv(99); say(time.monotonic() - t)") < 0.3
    toxiproxy.ask("DELETE", f"{toxics}/latency_upstream", status=204)
    assert run("say(trip(connect()))") < 0.3


def test_an_explicit_proxy_listens_where_it_is_told_to_and_its_toxics_are_its_own(toxiproxy, run):
    proxy = {"name": "echo", "listen": "127.0.0.1:9000", "upstream": "server:7000"}
    made = toxiproxy.ask("POST", "/proxies", proxy, status=201)
    assert made == {**proxy, "enabled": True, "toxics": []}
    toxiproxy.ask("POST", "/proxies/echo/toxics", {"name": "slow", "type": "latency", "attributes": {"latency": 300}})
    assert run(HERE) >= 0.3
    assert run("say(trip(connect()))") < 0.3
    changed = toxiproxy.ask("PATCH", "/proxies/echo/toxics/slow", {"attributes": {"latency": 600}})
    assert changed["attributes"]["latency"] == 600
    assert run(HERE) >= 0.6
    assert toxiproxy.ask("GET", "/proxies/echo/toxics") == [changed]
    assert toxiproxy.ask("GET", "/proxies")["echo"]["toxics"] == [changed]


def test_a_proxy_that_is_disabled_ends_what_is_open_and_refuses_until_the_reset(toxiproxy, start, run):
    proxy = {"name": "e", "listen": "127.0.0.1:9000", "upstream": "server:7000"}
    assert toxiproxy.ask("POST", "/populate", [proxy], 201)["proxies"] == [{**proxy, "enabled": True, "toxics": []}]
    toxiproxy.ask("POST", "/proxies/e/toxics", {"type": "timeout"})
    program = start("c = connect(9000, '127.0.0.1'); say(0); say(ended(c))")
    program.said()
    assert toxiproxy.ask("POST", "/proxies/e", {"enabled": False})["enabled"] is False
    assert program.said()[1] == "closed"
    assert run("say(fails(9000, '127.0.0.1'))") == "ConnectionRefusedError"
    toxiproxy.ask("POST", "/reset", status=204)
    assert toxiproxy.ask("GET", "/proxies/e")["toxics"] == []
    assert run(HERE) < 1


def test_a_server_by_name_that_is_disabled_resets_connections_until_it_is_enabled(toxiproxy, run):
    toxiproxy.ask("PATCH", "/proxies/server:7000", {"enabled": False})
    assert run("say(fails(until_its_end=True))") == "ConnectionResetError"
    assert toxiproxy.ask("PATCH", "/proxies/server:7000", {"enabled": True})["enabled"] is True
    assert run("say(trip(connect()))") < 1


def test_toxicity_is_the_share_of_connections_that_a_toxic_acts_on(toxiproxy, run):
    for toxicity in (0.0, 0.5):
        toxic = {"name": f"t{toxicity}", "type": "limit_data", "toxicity": toxicity}
        toxiproxy.ask("POST", "/proxies/server:7000/toxics", toxic)
        answered = "sum(c.sendall(b'x') is None and len(c.recv(1)) for c in [connect() for _ in range(40)])"
        assert run(f"say({answered})") in ([40] if toxicity == 0 else range(5, 36))


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "said"),
    [
        ("GET", "/proxies/none", None, 404, "proxy not found"),
        ("GET", "/proxies/nobody:1", None, 404, "proxy not found"),
        ("POST", "/proxies", {"name": "x"}, 400, "missing required field: upstream"),
        ("POST", "/proxies", ["x"], 400, "bad request body"),
        ("POST", "/proxies/server:7000", {"upstream": "other:7000"}, 400, "server:7000 is transparent"),
        ("POST", "/proxies/server:7000/toxics", {"type": "x"}, 400, "invalid toxic type"),
        ("DELETE", "/proxies/server:7000/toxics/x", None, 404, "toxic not found"),
        ("POST", "/proxies", {"name": "x", "upstream": "server:1", "listen": "0.0.0.0:8474"}, 500, "in use"),
    ],
)
def test_what_toxiproxy_would_refuse_is_refused_with_its_status(toxiproxy, method, path, data, status, said):
    error = toxiproxy.ask(method, path, data, status)
    assert said in error["error"]
    assert error["status"] == status


# The sidecar itself


def test_a_second_sidecar_says_that_there_is_one_and_touches_nothing(world, run):
    before = world.sidecar("iptables", "-t", "nat", "-S")
    second = world.another_sidecar(world.container("client"), "--cap-add", "NET_ADMIN")
    assert (second.returncode, second.stderr) == (
        2,
        "itest: error: there is a sidecar in this network namespace already\n",
    )
    assert world.sidecar("iptables", "-t", "nat", "-S") == before
    assert run("say(fails())") is None


def test_it_takes_its_rules_away_when_it_is_stopped_and_closes_what_is_open_when_it_is_placed(world, start, run):
    sidecar = world.container("sidecar")
    docker("stop", sidecar)
    program = start("c = connect(); say(trip(c)); say(ended(c))")
    assert program.said() < 1
    # One that may not do it says so, and what it began is not there.
    without = world.another_sidecar(world.container("client"), "--cap-drop=ALL", "--env", "FAULTS_PORT=8475")
    assert without.returncode == 3
    assert without.stderr.startswith("itest: error: cannot redirect connections: iptables")
    assert run("say(fails())") is None
    docker("start", sidecar)
    assert program.said()[1].startswith("Connection")
    until(lambda: "connections that were open before: 1, closed" in docker("logs", sidecar).stdout)
    assert run("say(fails())") is None


OVER_IPV6 = """
while True:
    input()
    made = socket.socket(socket.AF_INET6)
    made.settimeout(0.4)
    try:
        made.connect((server, 7000))
        say(trip(made))
    except OSError as error:
        say(type(error).__name__)
"""


@pytest.fixture
def over_ipv6(world: World) -> Iterator[tuple[Callable[[], float | str], Session]]:
    """A round trip between two containers of their own over IPv6, and a session with the sidecar in between."""
    names = [f"{world.name}-{one}-6" for one in ("network", "server", "client", "sidecar")]
    network, server, client, sidecar = names
    docker("network", "create", "--ipv6", "--subnet", f"fd17:e5:{os.getpid() & 0xFFFF:x}::/64", network)
    in_background = ("run", "--detach", "--rm", "--init", "--name")
    try:
        docker(*in_background, server, "--network", network, IMAGE, "python", "-c", SERVER)
        docker(*in_background, client, "--network", network, IMAGE, "sleep", "infinity")
        placed = world.another_sidecar(client, "--detach", "--name", sidecar, "--cap-drop=ALL", "--cap-add=NET_ADMIN")
        assert placed.returncode == 0, placed.stderr
        session = Session(sidecar)
        session.do("can")  # which it answers once it is placed
        address = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}"
        where = docker("inspect", "--format", address, server).stdout.strip()
        program = Program(client, f"server = {where!r}\n{OVER_IPV6}")

        def trip() -> float | str:
            program.go_on()
            return program.said()

        yield trip, session
        program.end()
        session.end()
    finally:
        docker("rm", "--force", *names[1:], check=False)
        docker("network", "rm", network)


def test_what_a_client_sends_over_ipv6_goes_through_it_too(over_ipv6):
    trip, session = over_ipv6
    until(lambda: isinstance(trip(), float))  # the server listens
    to = session.do("list")["connections"][0]["to"].rpartition(":")[0].strip("[]")
    assert to.startswith("fd17:e5:")
    session.add("latency", to=[to], ms=150)
    assert trip() >= 0.15
    session.add("partition", to=[to])
    assert trip() == "TimeoutError"
    session.do("heal")
    assert trip() < 0.15
