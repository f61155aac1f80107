"""Faults as the client meets them: a process beside it, in its own container, measures what its connections do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import pytest
import redis

from itest import containers, suite
from itest import stack as stacks
from itest.errors import EXIT_CODES, ItestError
from itest.faults.book import Book
from itest.faults.faults import Faults
from itest.faults.network import Sidecars
from itest.stack.eventually import eventually
from itest.stack.stack import Stack

LAYER = """
services:
  redis:
    extends: {file: defaults.yaml, service: defaults}
    x-itest: {kind: redis}
    image: redis:8.0.2
    user: "999:999"
    tmpfs: [/data]
    ports: ["127.0.0.1::6379"]
  client:
    extends: {file: defaults.yaml, service: defaults}
    image: itest/mock:dev
    command: [sleep, infinity]
    init: true
"""
# Reads what to do and how many seconds that may take; answers with what came of it, and how long it took.
CLIENT = r"""
import errno, json, socket, sys, time
SENT = {"ping": b"PING\r\n", "subscribe": b"SUBSCRIBE news\r\n", "me": b"CLIENT INFO\r\n", "hear": b""}
for line in sys.stdin:
    what, timeout = line.split()
    began = time.monotonic()
    try:
        if what == "connect":
            connection = socket.create_connection(("redis", 6379), timeout=float(timeout))
            said = "connected to " + connection.getpeername()[0]
        elif what == "port":
            said = str(connection.getsockname()[1])
        else:
            connection.settimeout(float(timeout))
            connection.sendall(SENT[what])
            said = connection.recv(1000).decode().strip() or "closed"
    except OSError as error:
        said = errno.errorcode.get(error.errno, type(error).__name__)
    print(json.dumps([said, time.monotonic() - began]), flush=True)
"""
LOST = "TimeoutError"


@dataclass(frozen=True)
class Client:
    """A process in the client's container that holds one connection to Redis."""

    process: subprocess.Popen[str]

    @classmethod
    def of(cls, stack: Stack) -> Client:
        command = ["docker", "exec", "-i", stack.containers["client"].id, "python", "-u", "-c", CLIENT]
        return cls(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def does(self, what: str, timeout: float = 5) -> str:
        """What came of it: an answer, or the name of an error."""
        return self._do(what, timeout)[0]

    def round_trip(self) -> float:
        """Seconds."""
        said, seconds = self._do("ping", 10)
        assert said == "+PONG"
        return seconds

    def _do(self, what: str, timeout: float) -> tuple[str, float]:
        self.process.stdin.write(f"{what} {timeout}\n")
        self.process.stdin.flush()
        said, seconds = json.loads(self.process.stdout.readline())
        return said, seconds


@pytest.fixture(scope="module")
def stack(shared_checkout) -> Stack:
    """Redis and a client of it, kept for the module."""
    shared_checkout.suite("faulty", LAYER, "{isolation: none, faults: [client], per_worker: [client]}")
    shared_checkout.replace("compose/suites/faulty.env", "itest-faulty", f"itest-faulty-{os.getpid()}")
    up = shared_checkout.run("up", ITEST_SUITE="faulty", timeout=600)
    assert up.code == 0, up.output
    one = suite.load(shared_checkout.path, "faulty")
    return stacks.attach(one, one.kept_name)


@pytest.fixture(scope="module")
def sidecars(stack: Stack) -> Iterator[Sidecars]:
    made = Sidecars(stack, print)
    yield made
    made.close()


@pytest.fixture
def book(stack: Stack) -> Iterator[Book]:
    one = Book(stack)
    yield one
    one.heal()


@pytest.fixture
def faults(book: Book, sidecars: Sidecars) -> Faults:
    return Faults(book, sidecars)


@pytest.fixture
def client(stack: Stack, sidecars: Sidecars) -> Iterator[Client]:
    """With a connection that is open, through its sidecar."""
    sidecars.session("client")
    one = Client.of(stack)
    assert one.does("connect").startswith("connected")
    assert one.does("ping") == "+PONG"
    yield one
    one.process.communicate()


def test_a_sidecar_from_the_start_closes_no_connection_for_the_first_fault(faults, stack) -> None:
    client = Client.of(stack)
    client.does("connect")
    with faults.latency("client", "redis", ms=100):
        assert client.round_trip() >= 0.1
    client.process.communicate()


def test_latency_is_seen_at_once_on_a_connection_that_is_open_and_gone_after_the_block(faults, client) -> None:
    with faults.latency("client", "redis", ms=200):
        assert 0.2 <= client.round_trip() < 1
        client.does("connect")
        assert 0.2 <= client.round_trip() < 1
    assert client.round_trip() < 0.2


def test_faults_at_the_same_time_add_up_and_end_one_by_one(faults, client) -> None:
    with faults.latency("client", "redis", ms=100):
        with faults.latency("client", "redis", ms=150):
            assert client.round_trip() >= 0.25
        assert 0.1 <= client.round_trip() < 0.25


def test_a_partition_hangs_old_and_new_connections_which_go_on_when_it_is_healed(faults, client) -> None:
    before = client.does("connect")
    with faults.partition("client", "redis"):
        assert client.does("ping", 0.3) == LOST
    assert client.does("ping").startswith("+PONG")  # the same connection
    with faults.partition("client", "redis"):
        assert client.does("connect", 0.3) == LOST
    assert client.does("connect") == before  # the address too


def test_one_way_only_what_the_client_sends_is_lost(faults, client, stack) -> None:
    assert "subscribe" in client.does("subscribe")
    with redis.Redis.from_url(stack.dsn("redis")) as publisher:
        with faults.partition("client", "redis", one_way=True):
            publisher.publish("news", "heard")
            assert "heard" in client.does("hear")
            assert client.does("ping", 0.3) == LOST
        assert "pong" in client.does("hear")  # it was sent again
        with faults.partition("client", "redis"):
            publisher.publish("news", "unheard")
            assert client.does("hear", 0.3) == LOST


def test_a_reset_is_one_to_the_client_and_connections_after_it_are_good(faults, client) -> None:
    with faults.reset("client", "redis"):
        eventually(lambda: client.does("ping") == "ECONNRESET")
    client.does("connect")
    assert client.does("ping") == "+PONG"


def test_a_time_out_holds_what_is_sent_and_closes_after_its_time(faults, client) -> None:
    with faults.timeout("client", "redis"):
        assert client.does("ping", 0.2) == LOST
    client.does("connect")
    with faults.timeout("client", "redis", ms=100):
        assert client.does("ping") in ("closed", "ECONNRESET")


def test_a_timeline_is_seen_in_its_order(faults, client) -> None:
    slow = []
    with faults.timeline((0.2, 0.7, faults.latency("client", "redis", ms=150))) as timeline:
        while not timeline.over:
            slow.append(client.round_trip() >= 0.15)
        slow.append(client.round_trip() >= 0.15)
    assert [one for one, _ in groupby(slow)] == [False, True, False]


def test_a_client_that_was_started_anew_has_a_fault_all_the_same(faults, stack) -> None:
    """It has another network then."""
    stack.stop("client")
    stack.start("client")
    client = Client.of(stack)
    with faults.latency("client", "redis", ms=100):
        client.does("connect")
        assert client.round_trip() >= 0.1
    client.process.communicate()


def test_a_slow_way_is_slow_again_when_the_client_comes_back(faults, stack) -> None:
    with faults.latency("client", "redis", ms=100):
        with faults.restart("client"):
            pass
        client = Client.of(stack)
        client.does("connect")
        assert client.round_trip() >= 0.1
    assert client.round_trip() < 0.1
    client.process.communicate()


def test_what_does_not_run_has_no_network_to_have_faults_in_and_no_sidecar(faults, sidecars, stack) -> None:
    sidecar = sidecars.session("client").container
    stack.stop("client")
    try:
        eventually(lambda: not any(one.running for one in containers.inspect([sidecar])))
        with pytest.raises(ItestError, match=r"faults of client: it does not run \(exited"):
            faults.latency("client", "redis", ms=1).inject()
    finally:
        stack.start("client")


BLOCKED = """
import signal

def test_it(faults):
    with faults.latency("client", "redis", ms=150):
        signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_pytest_that_is_ended_leaves_no_fault_on_a_stack_that_stays(
    number, shared_checkout, sidecars, client
) -> None:
    shared_checkout.write("tests/faulty/test_blocked.py", BLOCKED)
    process = shared_checkout.start_pytest("tests/faulty/test_blocked.py")
    try:
        eventually(lambda: client.round_trip() >= 0.15, timeout=30)
    finally:
        process.send_signal(number)
        process.communicate()

    eventually(lambda: client.round_trip() < 0.1)
    assert sidecars.session("client").ask(op="list")["faults"] == []


OWN = """
import subprocess

import pytest

from itest.errors import ItestError

PING = '''
import socket, time
connection = socket.create_connection(("redis", 6379))
began = time.monotonic()
connection.sendall(b"PING\\\\r\\\\n")
connection.recv(9)
print(time.monotonic() - began)
'''


@pytest.mark.parametrize("ms", [400, 50] * 2)
def test_a_worker_meets_its_own_faults_only(faults, stack, ms):
    with faults.latency("client", "redis", ms=ms):
        command = ["docker", "exec", stack.containers["client"].id, "python", "-c", PING]
        seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ms / 1000 <= seconds < ms / 1000 + 0.35
    with pytest.raises(ItestError, match="2 workers share service redis"):
        faults.pause("redis")
"""


def test_each_worker_of_pytest_has_its_own_client_and_faults_of_its_own(shared_checkout, stack) -> None:
    shared_checkout.write("tests/faulty/test_own.py", OWN)
    done = shared_checkout.pytest("tests/faulty/test_own.py", "-n", "2", "--dist", "load")
    assert "4 passed" in done.output, done.output


USING = """
import json
import subprocess

import pytest

from itest.containers import docker


@pytest.fixture
def sidecars(stack):
    label = f"label=com.docker.compose.project={stack.name}"
    asked = "ps", "--filter", label, "--format", "{{.Names}}"
    return lambda: [name for name in docker(*asked).split() if "-faults-" in name]


def test_that_uses_none(sidecars):
    assert sidecars() == []


def test_that_fails(faults, sidecars):
    faults.latency("client", "redis", ms=150).inject()
    assert len(sidecars()) == 2


def test_that_forgets_to_inject(faults):
    faults.latency("client", "redis", ms=150)


def test_that_meets_nothing(faults):
    with faults.latency("client", "redis", ms=150):
        pass


def test_whose_sidecar_is_killed(faults, sidecars):
    with faults.latency("client", "redis", ms=150):
        docker("kill", *sidecars())


def test_that_comes_after_it(sidecars):
    command = ["docker", "exec", "-i", *sidecars(), "python", "-m", "itest.toxics.session"]
    answer = subprocess.run(command, input='{"op": "list"}\\n', capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["ok"]["faults"] == []
"""


def test_a_run_has_nothing_in_the_way_before_its_first_fault_heals_what_a_test_leaves_and_tells_of_it(
    shared_checkout,
) -> None:
    shared_checkout.suite("using", LAYER, test=USING)
    assert shared_checkout.run("run", ITEST_SUITE="using", timeout=600).code == EXIT_CODES["service"]
    folder = shared_checkout.latest / "using"
    said = (folder / "pytest.log").read_text()
    assert "3 failed, 3 passed" in said, said
    assert "fault latency client -> redis 150 ms: it was never injected (test_using.py:" in said
    assert "FaultWarning: latency client -> redis 150 ms: no connection was there for it to act on" in said
    assert "faults of client: its sidecar ended while client ran, and cut it off: exited, code 137" in said
    assert "faults injected in this" in said
    assert "latency client -> redis 150 ms, for" in (folder / "failure.txt").read_text()
    period = json.loads((folder / "faults.json").read_text())[0]
    assert (period["fault"], period["owner"]) == (
        "latency client -> redis 150 ms",
        "tests/using/test_using.py::test_that_fails",
    )
    assert 0 < period["ended"] - period["began"] < 60
    assert not (folder / "injected").exists()
    assert [name for name in shared_checkout.leftovers()["containers"] if "using" in name] == []
