"""What a virtual host of RabbitMQ consists of: its queues, exchanges, bindings, policies and parameters, compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SORTS = ("policies", "parameters", "bindings", "queues", "exchanges")  # in the order in which they can be removed


@dataclass(frozen=True, order=True)
class Thing:
    """One part of a topology. sort: one of SORTS. text: all that the management API says of it, as JSON.

    Two are the same when nothing differs: a queue that was declared anew with another argument is another one.
    """

    sort: str
    text: str

    @property
    def told(self) -> Mapping[str, Any]:
        """What the management API says of it."""
        found: Mapping[str, Any] = json.loads(self.text)
        return found

    @property
    def name(self) -> str:
        return str(self.told["name"])

    @property
    def is_stream(self) -> bool:
        """Whether it is a queue that can't be purged: https://www.rabbitmq.com/docs/streams"""
        return self.sort == "queues" and self.told["arguments"].get("x-queue-type") == "stream"

    def __str__(self) -> str:
        if self.sort != "bindings":
            return f"{self.sort.removesuffix('s').replace('policie', 'policy')} {self.name}"
        told = self.told
        return f"binding {told['source']} -> {told['destination']} ({told['routing_key']})"


Topology = frozenset[Thing]


def read(definitions: Mapping[str, Any]) -> Topology:
    """The topology in what the management API calls definitions. Exclusive queues are not in it."""
    return frozenset(
        Thing(sort, json.dumps(one, sort_keys=True)) for sort in SORTS for one in definitions.get(sort, ())
    )


def write(things: Topology) -> dict[str, list[Mapping[str, Any]]]:
    """Definitions that the management API makes things from; what is there already stays as it is."""
    return {sort: [one.told for one in sorted(things) if one.sort == sort] for sort in SORTS}


def queues(things: Topology) -> list[str]:
    """The names of the queues that can be purged."""
    return sorted(one.name for one in things if one.sort == "queues" and not one.is_stream)


def in_order_of_removal(things: Topology) -> Iterator[Thing]:
    """Bindings before what they bind."""
    return iter(sorted(things, key=lambda one: (SORTS.index(one.sort), one.text)))


def leading_to(consumed: frozenset[str], things: Topology) -> Topology:
    """Of some things, the queues of these names, the bindings into them, and the exchanges that those come from."""
    bound = {
        one
        for one in things
        if one.sort == "bindings" and one.told["destination_type"] == "queue" and one.told["destination"] in consumed
    }
    sources = {one.told["source"] for one in bound}
    return frozenset(bound) | {
        one
        for one in things
        if (one.sort == "queues" and one.name in consumed) or (one.sort == "exchanges" and one.name in sources)
    }
