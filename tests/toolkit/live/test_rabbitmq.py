"""The RabbitMQ image, the wait for it, its state between tests, and a worker's virtual host, on a real broker."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from itest import stack as stacks
from itest import suite
from itest.errors import ItestError
from itest.isolation import rabbitmq
from itest.isolation.rabbitmq import RabbitStore
from itest.stack.amqp import connect
from itest.stack.eventually import eventually
from itest.stack.probes import NotReady, Refused, probe
from itest.stack.rabbitmq import Management, drop_vhost, make_vhost
from itest.stack.stack import Stack
from itest.suite.schema import Check

IMAGE = "rabbitmq:4.0.5-management"
LOCKED_DOWN = ("--user=999:999", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only")
OPEN = Check("amqp", "open")
MEMORY = ("--tmpfs=/var/lib/rabbitmq:uid=999,gid=999,mode=0700", "--tmpfs=/tmp")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def logs(container: str) -> str:
    done = subprocess.run(["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.decode()


@pytest.fixture
def run() -> Iterator[Callable[..., str]]:
    """Start a broker, docker's arguments given. Returns the container's id; it is removed afterwards."""
    started: list[str] = []

    def start(*arguments: str) -> str:
        common = ("--detach", "--label=itest.test=rabbitmq", "--publish=127.0.0.1::5672")
        started.append(docker("container", "run", *common, *MEMORY, *arguments, IMAGE))
        return started[-1]

    yield start
    for container in started:
        docker("container", "rm", "--force", "--volumes", container)


def reached(container: str, address: str) -> BlockingChannel:
    """A channel to the broker in a container, as soon as it answers. address: `user:password@/vhost`."""
    who, _, vhost = address.partition("@/")
    port = docker("container", "port", container, "5672/tcp").rpartition(":")[2]

    def channel() -> BlockingChannel | None:
        assert docker("inspect", "--format={{.State.Status}}", container) == "running", logs(container)
        try:
            return connect(f"amqp://{who}@127.0.0.1:{port}/{vhost}", "test").channel()
        except pika.exceptions.IncompatibleProtocolError:  # docker's port proxy has accepted, and nobody listens yet
            return None

    return eventually(channel, timeout=60)


# The image


def test_the_broker_starts_without_any_privilege_with_the_user_and_the_virtual_host_that_it_is_given(run):
    given = ("--env=RABBITMQ_DEFAULT_USER=me", "--env=RABBITMQ_DEFAULT_PASS=it's", "--env=RABBITMQ_DEFAULT_VHOST=app")
    broker = run(*LOCKED_DOWN, *given)
    assert reached(broker, "me:it%27s@/app").is_open
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        reached(broker, "guest:guest@/app")


def test_the_broker_gives_root_up_lets_guest_in_from_outside_and_reads_the_files_of_conf_d(run, tmp_path):
    (tmp_path / "20-mine.conf").write_text("channel_max = 7\n")
    tmp_path.chmod(0o755)
    broker = run(f"--volume={tmp_path / '20-mine.conf'}:/etc/rabbitmq/conf.d/20-mine.conf:ro")
    assert reached(broker, "guest:guest@/%2F").connection._impl.params.channel_max == 7
    assert docker("exec", broker, "stat", "--format=%u:%g", "/proc/1") == "999:999"
    assert "rabbitmq_management" in docker("exec", broker, "rabbitmq-plugins", "list", "--enabled", "--minimal")


def test_the_broker_refuses_a_variable_that_is_no_longer_known(run):
    broker = run("--env=RABBITMQ_DEFAULT_PASS_FILE=/run/secrets/password")
    assert docker("wait", broker) == "1"
    assert "RABBITMQ_DEFAULT_PASS_FILE is set but deprecated" in logs(broker)


# The wait for it


@pytest.fixture(scope="module")
def stack(shared_checkout) -> Iterator[Stack]:
    """A stack of the suite `messaging`."""
    loaded = suite.load(shared_checkout.path, "messaging")
    one = Stack(loaded, loaded.project(f"itest-{shared_checkout.path.parent.name}-messaging".lower()))
    try:
        stacks.start(one)
        yield one
    finally:
        one.down()


def test_the_wait_ends_at_once_when_the_password_is_wrong(stack):
    [target] = stack.targets(["rabbitmq"])
    probe(target, OPEN)
    wrong = dict(target.container.environment) | {"RABBITMQ_DEFAULT_PASS": "wrong"}
    with pytest.raises(Refused, match="ACCESS_REFUSED"):
        probe(replace(target, container=replace(target.container, environment=wrong)), OPEN)


def test_a_port_at_which_nobody_answers_is_not_a_broker_yet(stack):
    [target] = stack.targets(["rabbitmq"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReady, match="Connection refused"):
        probe(replace(target, container=replace(target.container, ports={5672: ("127.0.0.1", port)})), OPEN)


# Between tests


def hang_up(connection: pika.BlockingConnection) -> None:
    with suppress(pika.exceptions.AMQPError):  # closed already, by either side
        connection.close()


class Broker:
    """The virtual host of this test alone, and the store that resets it."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.clients = stack, ExitStack()
        self.url = stack.dsn("rabbitmq")

    def client(self) -> BlockingChannel:
        """A channel on a connection of its own: a service, or a test."""
        connection = connect(self.url, "client")
        self.clients.callback(hang_up, connection)
        channel = connection.channel()
        channel.confirm_delivery()
        return channel

    def store(self) -> RabbitStore:
        store = RabbitStore(self.stack, "rabbitmq")
        self.clients.callback(store.close)
        return store


@pytest.fixture
def broker(stack, request) -> Iterator[Broker]:
    name = "itest-live"
    make_vhost(stack, "rabbitmq", name)
    stack.places = {"rabbitmq": name}
    one = Broker(stack)
    try:
        yield one
    finally:
        one.clients.close()
        stack.places = {}
        drop_vhost(stack, "rabbitmq", name)


def waiting(channel: BlockingChannel, queue: str) -> int:
    return channel.queue_declare(queue, passive=True).method.message_count


def test_messages_go_and_what_the_services_declared_stays(broker):
    service = broker.client()
    service.exchange_declare("orders", "topic", durable=True)
    service.queue_declare("mail", durable=True)
    service.queue_bind("mail", "orders", "paid")
    store = broker.store()
    service.basic_publish("orders", "paid", b"1")
    assert store.dirt() == ["queue mail: 1 messages left behind"]
    store.reset()
    assert (store.dirt(), waiting(service, "mail")) == ([], 0)
    service.basic_publish("orders", "paid", b"2", mandatory=True)
    assert waiting(service, "mail") == 1


def test_what_a_test_added_goes(broker):
    service = broker.client()
    service.queue_declare("mail", durable=True)
    store = broker.store()
    service.queue_declare("mine")
    service.exchange_declare("my exchange", "fanout")
    service.exchange_bind("my exchange", "amq.topic", "a.#")
    service.queue_bind("mail", "amq.topic", "#", arguments={"why": "no reason"})
    store._doors().management.call(
        "PUT", "policies", "itest-live", "short", json={"pattern": "", "definition": {"max-length": 1}}
    )
    assert store.dirt() == [
        "binding amq.topic -> mail (#) left behind",
        "binding amq.topic -> my exchange (a.#) left behind",
        "exchange my exchange left behind",
        "policy short left behind",
        "queue mine left behind",
    ]
    store.reset()
    assert store.dirt() == []


def test_what_a_test_removed_or_declared_anew_comes_back_as_it_was(broker):
    service = broker.client()
    for queue in ("mail", "sms"):
        service.queue_declare(queue, durable=True, arguments={"x-max-length": 7})
        service.queue_bind(queue, "amq.topic", f"{queue}.#")
    store = broker.store()
    service.queue_delete("mail")
    service.queue_delete("sms")
    service.queue_declare("sms", durable=True)
    assert "queue mail is gone" in store.dirt()
    store.reset()
    assert store.dirt() == []
    service.queue_declare("sms", durable=True, arguments={"x-max-length": 7})  # refused, were it another
    service.basic_publish("amq.topic", "mail.new", b"1", mandatory=True)


def test_a_queue_that_a_service_declares_late_stays_and_is_emptied(broker):
    store = broker.store()
    service, test = broker.client(), broker.client()
    service.exchange_declare("late", "direct", durable=True)
    service.queue_declare("late.jobs", durable=True)
    service.queue_bind("late.jobs", "late", "job")
    service.basic_qos(prefetch_count=1)
    taken: list[int] = []
    service.basic_consume("late.jobs", lambda _channel, method, *_: taken.append(method.delivery_tag))
    for body in (b"taken", b"waiting"):
        test.basic_publish("late", "job", body, mandatory=True)
    eventually(lambda: service.connection.process_data_events(0) or taken)
    store.reset()
    assert store.dirt() == []
    service.basic_nack(taken[0], requeue=True)  # what the service held comes back after the reset …
    service.basic_cancel(service.consumer_tags[0])
    assert eventually(lambda: store.dirt())
    store.reset()  # … and goes before the next test, as does a queue that nobody consumes any more
    assert store.dirt() == []
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        waiting(test, "late.jobs")


def test_a_message_that_turns_up_in_a_queue_that_was_empty_a_moment_ago_is_found_there(broker, monkeypatch):
    service = broker.client()
    service.queue_declare("failed", durable=True)
    service.queue_declare("jobs", durable=True)
    store = broker.store()
    looked, moving = RabbitStore._waiting, [b"dead-lettered, or expired"]

    def look(self: RabbitStore, queue: str) -> int:
        count = looked(self, queue)
        if moving and queue == "failed":
            service.basic_publish("", queue, moving.pop())
        return count

    monkeypatch.setattr(RabbitStore, "_waiting", look)
    service.basic_publish("", "jobs", b"1")
    store.reset()
    assert (store.dirt(), moving) == ([], [])


def test_a_stream_is_declared_anew_for_it_can_not_be_purged(broker):
    service = broker.client()
    service.queue_declare("events", durable=True, arguments={"x-queue-type": "stream"})
    store = broker.store()
    service.basic_publish("", "events", b"old")
    store.reset()
    service.basic_publish("", "events", b"new")
    service.basic_qos(prefetch_count=10)
    got: list[bytes] = []
    service.basic_consume("events", lambda *args: got.append(args[3]), arguments={"x-stream-offset": "first"})
    eventually(lambda: service.connection.process_data_events(0) or got)
    assert got == [b"new"]


def test_a_queue_that_is_not_empty_in_time_is_told_by_name(broker, monkeypatch):
    service = broker.client()
    service.queue_declare("mail", durable=True)
    store = broker.store()
    service.basic_publish("", "mail", b"")
    monkeypatch.setattr(rabbitmq, "GRACE", 0.0)  # as if somebody had published all the while
    with pytest.raises(ItestError, match="queue mail does not become empty: 1 more messages") as caught:
        store.reset()
    assert (caught.value.category, caught.value.cause) == ("data", "contamination")


def test_other_virtual_hosts_are_not_touched(broker, stack):
    broker.stack.places = {}
    neighbour = connect(stack.dsn("rabbitmq"), "neighbour").channel()
    neighbour.queue_declare("theirs")
    neighbour.basic_publish("", "theirs", b"1")
    broker.stack.places = {"rabbitmq": "itest-live"}
    store = broker.store()
    store.reset()
    assert waiting(neighbour, "theirs") == 1
    neighbour.queue_delete("theirs")
    neighbour.connection.close()


def test_a_new_virtual_host_is_empty_whatever_was_left_and_lets_the_same_users_in(broker, stack):
    broker.client().queue_declare("left", durable=True)
    management = Management(stack, "rabbitmq")
    own = stack.env("rabbitmq")["RABBITMQ_DEFAULT_VHOST"]
    rights = {"configure": "", "write": "mail", "read": ".*"}
    management.call("PUT", "users", "reader", json={"password": "reader", "tags": ""})
    management.call("PUT", "permissions", own, "reader", json=rights)
    stack.places = {}
    make_vhost(stack, "rabbitmq", "itest-live")
    found = management.call("GET", "permissions", "itest-live", "reader")
    assert {right: found[right] for right in rights} == rights
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        waiting(broker.client(), "left")


def test_a_broker_that_was_killed_and_started_again_gets_its_topology_back(stack):
    store = RabbitStore(stack, "rabbitmq")
    store.reset()
    channel = connect(stack.dsn("rabbitmq"), "service").channel()
    channel.queue_declare("mail", durable=True)
    store = RabbitStore(stack, "rabbitmq")
    stack.kill("rabbitmq")
    with pytest.raises(ItestError, match="a test took it away"):
        store.reset()
    stack.start("rabbitmq")
    assert store.dirt() == ["queue mail is gone"]
    store.reset()
    assert store.dirt() == []
    store.close()


def test_the_management_api_that_is_not_published_is_missed_by_name(stack):
    container = stack.containers["rabbitmq"]
    only_amqp = {5672: container.ports[5672]}
    without = replace(stack, containers={"rabbitmq": replace(container, ports=only_amqp)})
    with pytest.raises(ItestError, match="port 15672 is not published") as caught:
        RabbitStore(without, "rabbitmq")
    assert caught.value.category == "usage"
