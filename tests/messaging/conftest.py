"""Further clients of the broker, and a queue of jobs with a place for those that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

FAILED = "jobs.failed"


class Message(NamedTuple):
    """A message as a consumer got it. tag: by which it is acknowledged, on the channel that got it."""

    body: str
    tag: int
    redelivered: bool
    headers: dict[str, Any]


@pytest.fixture
def connect(stack: Any) -> Iterator[Callable[[], BlockingChannel]]:
    """`connect()`: a channel on a connection of its own, as another program would have it; closed afterwards."""
    with ExitStack() as opened:

        def open_one() -> BlockingChannel:
            connection = pika.BlockingConnection(pika.URLParameters(stack.dsn("rabbitmq")))
            opened.callback(lambda: connection.close() if connection.is_open else None)
            return connection.channel()

        yield open_one


@pytest.fixture
def jobs(amqp: BlockingChannel) -> str:
    """A queue; what is rejected or expires in it goes to `jobs.failed`."""
    amqp.queue_declare(FAILED, durable=True)
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": FAILED}
    return amqp.queue_declare("jobs", durable=True, arguments=dead).method.queue


@pytest.fixture
def take(amqp: BlockingChannel, eventually: Callable[..., Any]) -> Callable[..., Message]:
    """`take(queue)`: wait for its next message and take it, not acknowledged; on another channel with `channel=`."""

    def one(queue: str, channel: BlockingChannel = amqp) -> Message:
        method, properties, body = eventually(lambda: (got := channel.basic_get(queue))[0] and got)
        return Message(body.decode(), method.delivery_tag, method.redelivered, properties.headers or {})

    return one
