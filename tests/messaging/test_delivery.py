"""Confirms, order, who gets what, and what returns when a consumer rejects a message or dies."""

from __future__ import annotations

import pytest
from pika.exceptions import UnroutableError


def publish(channel, queue, *bodies):
    for body in bodies:
        channel.basic_publish("", queue, body.encode(), mandatory=True)


def waiting(channel, queue):
    """How many messages a queue holds that nobody has taken."""
    return channel.queue_declare(queue, passive=True).method.message_count


def test_messages_of_a_queue_arrive_in_the_order_in_which_they_were_published(amqp, jobs, take):
    sent = [f"job {number}" for number in range(20)]
    publish(amqp, jobs, *sent)
    assert [take(jobs).body for _ in sent] == sent


def test_a_message_that_no_queue_takes_is_returned_to_who_published_it(amqp):
    with pytest.raises(UnroutableError):
        publish(amqp, "nowhere", "lost")


def test_a_topic_reaches_the_queues_that_asked_for_it_and_no_other(amqp, take):
    for queue, topic in {"all": "order.#", "paid": "order.*.paid", "other": "invoice.#"}.items():
        amqp.queue_declare(queue, durable=True)
        amqp.queue_bind(queue, "amq.topic", topic)
    amqp.basic_publish("amq.topic", "order.7.paid", b"7", mandatory=True)
    assert (take("all").body, take("paid").body) == ("7", "7")
    assert waiting(amqp, "other") == 0


def test_a_consumer_that_acknowledges_nothing_gets_no_more_than_its_prefetch(amqp, jobs, connect, eventually):
    slow, got = connect(), []
    slow.basic_qos(prefetch_count=2)
    slow.basic_consume(jobs, lambda _channel, _method, _properties, body: got.append(body))
    publish(amqp, jobs, "1", "2", "3", "4", "5")
    eventually(lambda: slow.connection.process_data_events(0) or got == [b"1", b"2"])
    assert waiting(amqp, jobs) == 3


def test_a_rejected_message_returns_to_its_place_and_says_so(amqp, jobs, take):
    publish(amqp, jobs, "first", "second")
    amqp.basic_nack(take(jobs).tag, requeue=True)
    again = take(jobs)
    assert (again.body, again.redelivered) == ("first", True)


def test_what_a_consumer_had_not_acknowledged_when_it_died_goes_to_another(amqp, jobs, connect, take):
    publish(amqp, jobs, "half done")
    other = connect()
    assert not take(jobs, other).redelivered
    assert waiting(amqp, jobs) == 0
    other.connection.close()
    again = take(jobs)
    assert (again.body, again.redelivered) == ("half done", True)
