"""Where messages go that are rejected, expire, or find their queue full."""

from __future__ import annotations

import pika
import pytest

FAILED = "jobs.failed"


def test_a_job_that_is_rejected_for_good_is_kept_with_the_reason(amqp, jobs, take):
    amqp.basic_publish("", jobs, b"broken")
    amqp.basic_nack(take(jobs).tag, requeue=False)
    failed = take(FAILED)
    assert failed.body == "broken"
    assert [(death["queue"], death["reason"]) for death in failed.headers["x-death"]] == [(jobs, "rejected")]


def test_a_message_past_its_time_to_live_is_delivered_to_nobody(amqp, jobs, take):
    amqp.basic_publish("", jobs, b"stale", pika.BasicProperties(expiration="0"))
    failed = take(FAILED)
    assert (failed.body, failed.headers["x-first-death-reason"]) == ("stale", "expired")
    assert amqp.basic_get(jobs) == (None, None, None)


@pytest.mark.parametrize(
    ("overflow", "kept", "dead"), [("drop-head", ["2", "3"], ["1"]), ("reject-publish-dlx", ["1", "2"], ["3"])]
)
def test_a_full_queue_gives_up_its_oldest_message_or_refuses_the_newest(amqp, jobs, take, overflow, kept, dead):
    limit = {"x-max-length": 2, "x-overflow": overflow, "x-dead-letter-exchange": ""}
    amqp.queue_declare("short", durable=True, arguments=limit | {"x-dead-letter-routing-key": FAILED})
    for body in ("1", "2", "3"):
        try:
            amqp.basic_publish("", "short", body.encode())
        except pika.exceptions.NackError:
            assert overflow == "reject-publish-dlx"
    assert [take(FAILED).body for _ in dead] == dead
    assert [take("short").body for _ in kept] == kept
