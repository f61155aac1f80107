"""What a virtual host consists of, as the management API tells it, compared and put in order."""

from __future__ import annotations

from typing import Any

from itest.isolation import topology


def queue(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "durable": True, "auto_delete": False, "arguments": arguments}


def binding(source: str, destination: str, kind: str = "queue") -> dict[str, Any]:
    told = {"source": source, "destination": destination, "destination_type": kind}
    return told | {"routing_key": "#", "arguments": {}}


DEFINITIONS = {
    "rabbit_version": "4.0.5",
    "queues": [queue("jobs"), queue("events", **{"x-queue-type": "stream"})],
    "exchanges": [{"name": "orders", "type": "topic"}, {"name": "other", "type": "fanout"}],
    "bindings": [binding("orders", "jobs"), binding("other", "orders", "exchange")],
    "policies": [{"name": "short", "pattern": "", "definition": {"max-length": 1}}],
}


def test_what_is_read_is_written_as_it_was():
    for sort, things in topology.write(topology.read(DEFINITIONS)).items():
        given = DEFINITIONS.get(sort, [])
        assert len(things) == len(given)
        assert all(one in given for one in things)


def test_a_queue_with_another_argument_is_another_queue():
    before, after = ({"queues": [queue("jobs", **{"x-max-length": length})]} for length in (1, 2))
    assert topology.read(before) != topology.read(after)


def test_the_order_of_an_answer_and_of_its_keys_means_nothing():
    turned = DEFINITIONS | {"queues": [dict(reversed(one.items())) for one in reversed(DEFINITIONS["queues"])]}
    assert topology.read(DEFINITIONS) == topology.read(turned)


def test_a_stream_is_not_among_the_queues_that_can_be_purged():
    assert topology.queues(topology.read(DEFINITIONS)) == ["jobs"]


def test_bindings_are_removed_before_what_they_bind():
    things = list(topology.in_order_of_removal(topology.read(DEFINITIONS)))
    assert [one.sort for one in things] == ["policies", *["bindings"] * 2, *["queues"] * 2, *["exchanges"] * 2]


def test_what_leads_to_a_queue_is_its_bindings_and_the_exchanges_that_they_come_from():
    found = topology.leading_to(frozenset({"jobs"}), topology.read(DEFINITIONS))
    assert sorted(map(str, found)) == ["binding orders -> jobs (#)", "exchange orders", "queue jobs"]
    assert topology.leading_to(frozenset(), topology.read(DEFINITIONS)) == frozenset()


def test_things_are_called_by_sort_and_name():
    assert sorted(map(str, topology.read(DEFINITIONS))) == [
        "binding orders -> jobs (#)",
        "binding other -> orders (#)",
        "exchange orders",
        "exchange other",
        "policy short",
        "queue events",
        "queue jobs",
    ]
