"""RabbitMQ between tests: one virtual host, its queues emptied and its topology as it was.

The baseline is the topology that is there when this process begins: what the services declared when they started.
What a test adds goes again, what it removes comes back. A service may also declare a queue later, when it first needs
it: a queue that somebody consumes stays therefore, emptied, with the bindings that lead to it and their exchanges.

A message that a service has taken and not yet acknowledged is the service's: nobody can take it away without ending the
service's connection. Should it come back to its queue later, it is removed before the next test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from itest.data.baseline import Contaminated
from itest.errors import ItestError
from itest.isolation.reached import reached
from itest.stack.rabbitmq import Management, connect, words
from itest.stack.stack import Stack

if TYPE_CHECKING:
    from pika import BlockingConnection
    from pika.adapters.blocking_connection import BlockingChannel

GRACE = 0.25  # seconds in which queues must become empty and stay so

Thing = Mapping[str, Any]  # a queue, an exchange … as the management API describes it
Topology = dict[str, dict[str, Thing]]  # by sort; within it by all that is known of a thing, as a text
SORTS = ("policies", "parameters", "bindings", "queues", "exchanges")  # in the order in which they can be removed


class RabbitStore:
    """Isolation of one service of kind rabbitmq. Only this worker's virtual host is touched."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.name = name
        self._stack = stack
        self._address = ""  # what the two below lead to: another port after a restart
        self._management: Management | None = None
        self._connection: BlockingConnection | None = None
        self._opened: BlockingChannel | None = None
        with self._reached():
            self._baseline = self._topology()

    def reset(self) -> None:
        """One request for the topology, one round trip for each queue; more only where a test left something.

        Raises ItestError: data when messages keep arriving, service when it can't be reached.
        """
        with self._reached():
            found = self._topology()
            if found != self._baseline:
                found = self._restore(found)
            self._empty([queue["name"] for queue in found["queues"].values() if not _is_stream(queue)])

    def dirt(self) -> list[str]:
        """Messages that wait in queues, and topology beyond the baseline or missing from it."""
        with self._reached():
            found = self._topology()
            added, gone = _beyond(found, self._baseline), _beyond(self._baseline, found)
            names = [queue["name"] for queue in found["queues"].values() if not _is_stream(queue)]
            counts = {name: self._look(name)[0] for name in names}
            kept = self._in_use(added)
        lines = [f"queue {name}: {count} messages left behind" for name, count in counts.items() if count]
        lines += [f"{_called(sort, one)} left behind" for sort, key, one in _each(added) if key not in kept[sort]]
        return lines + [f"{_called(sort, one)} is gone" for sort, _, one in _each(gone)]

    def close(self) -> None:
        """Close its connections."""
        with self._reached():
            self._hang_up()

    def _restore(self, found: Topology) -> Topology:
        """Remove what was added, but for what is in use, and bring back what is gone. Returns what is there then."""
        added = _beyond(found, self._baseline)
        for sort, stream in [("queues", key) for key, queue in self._baseline["queues"].items() if _is_stream(queue)]:
            added[sort][stream] = self._baseline[sort][stream]
        kept = self._in_use(added)
        for sort, key, one in _each(added):
            if key not in kept[sort]:
                self._remove(sort, one)
        if any(self._baseline[sort].keys() - found[sort].keys() for sort in SORTS):
            self._manage().call("POST", "definitions", self._manage().vhost, json=_definitions(self._baseline))
        return self._topology()

    def _in_use(self, added: Topology) -> Topology:
        """Of what was added, what a service declared late: queues that somebody consumes, and what leads to them."""
        queues = {key: queue for key, queue in added["queues"].items() if self._look(queue["name"])[1]}
        names = {queue["name"] for queue in queues.values()}
        into = ("queue", names)
        bindings = {
            key: binding
            for key, binding in added["bindings"].items()
            if binding["destination_type"] == into[0] and binding["destination"] in into[1]
        }
        sources = {binding["source"] for binding in bindings.values()}
        exchanges = {key: exchange for key, exchange in added["exchanges"].items() if exchange["name"] in sources}
        return dict.fromkeys(SORTS, {}) | {"queues": queues, "bindings": bindings, "exchanges": exchanges}
