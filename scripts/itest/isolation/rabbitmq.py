"""RabbitMQ between tests: one virtual host, its queues emptied and its topology as it was.

The baseline is the topology that is there when this process begins: what the services declared when they started.
What a test adds goes again, what it removes comes back. A service may also declare a queue later, when it first needs
one: an added queue that somebody consumes stays, emptied, with the bindings into it and the exchanges they come from.

A message that a service has taken and not yet acknowledged is the service's: nobody can take it away without ending the
service's connection. Should it come back to its queue later, it is removed before the next test.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from itest.errors import ItestError
from itest.isolation import topology
from itest.isolation.reached import reached
from itest.isolation.topology import Thing, Topology
from itest.stack.amqp import connect, words
from itest.stack.rabbitmq import Management
from itest.stack.stack import Stack

if TYPE_CHECKING:
    from pika import BlockingConnection
    from pika.adapters.blocking_connection import BlockingChannel

GRACE = 0.25  # seconds in which queues must become empty and stay so


class _Doors(NamedTuple):
    """The two ways to one broker; both are others after a restart, because its ports have changed."""

    management: Management
    connection: BlockingConnection


class RabbitStore:
    """Isolation of one service of kind rabbitmq. Only this worker's virtual host is touched."""

    def __init__(self, stack: Stack, name: str) -> None:
        """Raises ItestError (service)."""
        self.name = name
        self._stack = stack
        self._opened: _Doors | None = None
        self._channel: BlockingChannel | None = None
        with self._reached():
            self._baseline = self._topology()

    def reset(self) -> None:
        """One request for the topology and one round trip a queue; more only where a test left something.

        Raises ItestError: data when messages keep arriving, service when it can't be reached.
        """
        with self._reached():
            found = self._topology()
            if found != self._baseline or any(one.is_stream for one in found):
                found = self._restore(found)
            self._empty(topology.queues(found))

    def dirt(self) -> list[str]:
        """Messages that wait in queues, topology that was added and is nobody's, and topology that is gone."""
        with self._reached():
            found = self._topology()
            waiting = {name: self._waiting(name) for name in topology.queues(found)}
            added = found - self._baseline
            added -= self._in_use(added)
        lines = [f"queue {name}: {count} messages left behind" for name, count in waiting.items() if count]
        lines += [f"{one} left behind" for one in sorted(added)]
        return lines + [f"{one} is gone" for one in sorted(self._baseline - found)]

    def close(self) -> None:
        """Close its connections."""
        if self._opened is not None:
            from pika.exceptions import AMQPError

            self._opened.management.close()
            with suppress(AMQPError, OSError):
                self._opened.connection.close()
        self._opened = self._channel = None

    def _restore(self, found: Topology) -> Topology:
        """Remove what was added, unless it is in use, and bring back what is gone. Returns what is there then."""
        added = found - self._baseline
        streams = frozenset(one for one in self._baseline & found if one.is_stream)  # only a new one is empty
        for one in topology.in_order_of_removal((added | streams) - self._in_use(added | streams)):
            self._remove(one)
        gone = self._baseline - self._topology()
        if gone:
            management = self._doors().management
            management.call("POST", "definitions", management.vhost, json=topology.write(gone))
        return self._topology()

    def _remove(self, one: Thing) -> None:
        told, vhost, management = one.told, self._doors().management.vhost, self._doors().management
        if one.sort == "queues":
            self._amqp().queue_delete(one.name)
        elif one.sort == "exchanges":
            self._amqp().exchange_delete(one.name)
        elif one.sort == "policies":
            management.call("DELETE", "policies", vhost, one.name, missing=True)
        elif one.sort == "parameters":
            management.call("DELETE", "parameters", told["component"], vhost, one.name, missing=True)
        elif told["destination_type"] == "queue":
            self._amqp().queue_unbind(told["destination"], told["source"], told["routing_key"], told["arguments"])
        else:
            self._amqp().exchange_unbind(told["destination"], told["source"], told["routing_key"], told["arguments"])

    def _in_use(self, added: Topology) -> Topology:
        """Of what was added, what a service declared late: queues that somebody consumes, and what leads to them."""
        names = [one.name for one in added if one.sort == "queues"]
        return topology.leading_to(frozenset(name for name in names if self._consumers(name)), added)

    def _empty(self, queues: list[str]) -> None:
        """Purge until a whole pass finds nothing: what one queue rejects or lets expire may turn up in another."""
        deadline = time.monotonic() + GRACE
        while left := {name: count for name in queues if (count := self._waiting(name))}:
            if time.monotonic() > deadline:
                name, count = next(iter(left.items()))
                problem = f"service {self.name}: queue {name} does not become empty: {count} more messages have arrived"
                hint = "somebody keeps publishing: let the test wait until that has ended, with `eventually`"
                raise ItestError("data", problem, hint=hint, cause="contamination")
            for name in left:
                self._amqp().queue_purge(name)

    def _waiting(self, queue: str) -> int:
        """How many messages a queue holds. The queue itself says so; the management API's numbers are seconds old."""
        return self._declared(queue)[0]

    def _consumers(self, queue: str) -> int:
        return self._declared(queue)[1]

    def _declared(self, queue: str) -> tuple[int, int]:
        """Messages and consumers of a queue; none where it has gone meanwhile, as queues do that delete themselves."""
        from pika.exceptions import ChannelClosedByBroker

        try:
            answer = self._amqp().queue_declare(queue, passive=True).method
        except ChannelClosedByBroker:
            return 0, 0
        return answer.message_count, answer.consumer_count

    def _topology(self) -> Topology:
        management = self._doors().management
        return topology.read(management.call("GET", "definitions", management.vhost))

    def _amqp(self) -> BlockingChannel:
        """The channel; another one where RabbitMQ has closed it, as it does at every error."""
        if self._channel is None or self._channel.is_closed:
            self._channel = self._doors().connection.channel()
        return self._channel

    def _doors(self) -> _Doors:
        if self._opened is None or self._opened.connection.is_closed:
            self.close()
            connection = connect(self._stack.dsn(self.name), "itest reset")
            self._opened = _Doors(Management(self._stack, self.name), connection)
        return self._opened

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what pika raises into an error that names the service and says what it is now."""
        from pika.adapters.utils.connection_workflow import AMQPConnectorException
        from pika.exceptions import AMQPError

        with reached(self._stack, self.name):
            self._look()
            try:
                yield
            except (AMQPError, AMQPConnectorException) as error:
                raise ItestError("service", f"service {self.name}: {words(error)}", cause="amqp") from error

    def _look(self) -> None:
        """Notice a connection that was closed since it was last used, by a test or by a restart."""
        from pika.exceptions import AMQPError

        if self._opened is not None and self._opened.connection.is_open:
            with suppress(AMQPError, OSError):
                self._opened.connection.process_data_events(0)
