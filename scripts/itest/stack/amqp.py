"""An AMQP connection as probes, resets and tests want it, and what pika says where there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pika import BlockingConnection
    from pika.adapters.blocking_connection import BlockingChannel

TIMEOUT = 5.0  # seconds that an answer may take


def connect(url: str, name: str, timeout: float = TIMEOUT) -> BlockingConnection:
    """An AMQP connection. name: what RabbitMQ lists it under. timeout: seconds for each step of the handshake.

    Raises pika's AMQPError, or its AMQPConnectorException where a step takes too long. No heartbeats, which a
    connection that idles between tests could not answer.
    """
    import pika

    _keep_pika_quiet()
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = timeout
    parameters.heartbeat = 0
    parameters.client_properties = {"connection_name": name}
    return pika.BlockingConnection(parameters)


@contextmanager
def confirming(url: str, name: str) -> Iterator[BlockingChannel]:
    """A channel with publisher confirms, on a connection that is closed in the end, whatever became of it meanwhile."""
    from pika.exceptions import AMQPError

    connection = connect(url, name)
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        yield channel
    finally:
        with suppress(AMQPError):
            connection.close()


def words(error: BaseException) -> str:
    """What a pika error says, on one line; some say nothing as a text and all in their representation."""
    return " ".join((str(error) or repr(error)).split())


def _keep_pika_quiet() -> None:
    """Have pika's log go to whom it interests: without any handler, logging prints on stderr what pika also raises."""
    log = logging.getLogger("pika")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
