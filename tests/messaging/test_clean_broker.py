"""What a test leaves in the broker, the next one doesn't find. Each of these is run twice, and must not notice."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.parametrize("time", ["once", "again"])


def test_messages_nobody_took_and_a_queue_nobody_deleted(amqp, jobs, time):
    assert amqp.queue_declare(jobs, passive=True).method.message_count == 0
    amqp.basic_publish("", jobs, b"left behind")


def test_a_message_that_was_taken_and_not_acknowledged(amqp, jobs, take, time):
    amqp.basic_publish("", jobs, b"taken")
    assert not take(jobs).redelivered


def test_a_binding_that_would_bring_messages_to_the_wrong_queue(amqp, jobs, time):
    amqp.basic_publish("amq.fanout", "", b"to whoever is bound")
    assert amqp.queue_declare(jobs, passive=True).method.message_count == 0
    amqp.queue_bind(jobs, "amq.fanout")


def test_a_queue_of_the_same_name_and_other_properties(amqp, time):
    arguments = {"x-max-length": 1} if time == "once" else {}  # another is refused while the first is there
    declared = amqp.queue_declare("limited", durable=True, arguments=arguments)
    assert declared.method.message_count == 0
