"""Webhooks: what the provider tells counts once, whoever else tells it counts not at all."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def pending(make_order, pay, payment_of):
    """A payment that the provider is still processing."""
    order = make_order()
    assert pay(order, "tok_processing").status_code == 202
    return payment_of(order)


def events(db):
    return db.execute("SELECT count(*) FROM payment_events").fetchone()[0]


def test_a_payment_that_was_being_processed_is_settled_and_the_customer_told(pending, tell, event, mailed, status_of):
    assert status_of(pending.order_id) == "placed"

    assert tell(event(pending.id)).status_code == 204

    assert status_of(pending.order_id) == "paid"
    mailed(pending.order_id)


def test_a_payment_that_failed_in_the_end_can_be_made_anew(pending, tell, event, pay, payment_of):
    assert tell(event(pending.id, type="payment.failed", failure="insufficient_funds")).status_code == 204

    assert (payment_of(pending.order_id).status, payment_of(pending.order_id).failure) == (
        "failed",
        "insufficient_funds",
    )
    assert pay(pending.order_id).status_code == 200
    assert payment_of(pending.order_id).id != pending.id


FORGED = [
    "with another secret",
    "of another body",
    "of another time",
    "without a signature",
    "with nonsense",
    "with none",
]


@pytest.mark.parametrize("forged", FORGED)
def test_what_the_provider_has_not_signed_is_not_believed(
    pending, tell, event, signature, problem, db, status_of, forged
):
    body = event(pending.id)
    real = signature(body)
    given = {
        "with another secret": signature(body, secret="guessed"),
        "of another body": signature(event(uuid.uuid4())),
        "of another time": real.replace("t=1", "t=2"),
        "without a signature": real.partition(",")[0],
        "with nonsense": "t=now,v1=✓".encode().decode("latin-1"),
        "with none": "",
    }[forged]

    assert "signature" in problem(tell(body, given), 400)["detail"]

    assert status_of(pending.order_id) == "placed"
    assert events(db) == 0


@pytest.mark.parametrize("age", [301, -310], ids=["too old", "ahead of time"])
def test_a_signature_is_good_for_five_minutes(pending, tell, event, signature, problem, status_of, age):
    body = event(pending.id)

    problem(tell(body, signature(body, age=age)), 400)

    assert status_of(pending.order_id) == "placed"


def test_while_a_secret_is_changed_either_signature_is_good(pending, tell, event, signature):
    body = event(pending.id)
    older = signature(body, secret="retired").partition(",")[2]

    assert tell(body, f"{signature(body)},{older}").status_code == 204


def test_an_event_that_comes_again_counts_once(pending, tell, event, mailed, db):
    body = event(pending.id)

    assert [tell(body).status_code for _ in range(3)] == [204] * 3

    assert events(db) == 1
    mailed(pending.order_id)


def test_an_event_that_comes_twice_at_once_counts_once(pending, tell, event, mailed, db):
    body = event(pending.id)

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(tell, [body, body]))

    assert [answer.status_code for answer in answers] == [204, 204]
    assert events(db) == 1
    mailed(pending.order_id)


def test_an_event_of_a_payment_that_nobody_knows_is_not_found_so_that_it_comes_again(tell, event, problem, db):
    stranger = uuid.uuid4()

    assert problem(tell(event(stranger)), 404)["detail"] == f"There is no payment {stranger}"

    assert events(db) == 0


def test_what_is_paid_stays_paid_whatever_comes_late(pending, tell, event, status_of):
    tell(event(pending.id))

    assert tell(event(pending.id, type="payment.failed")).status_code == 204

    assert status_of(pending.order_id) == "paid"


def test_money_for_a_payment_that_had_failed_is_told_in_the_log(pending, tell, event, stack, eventually, status_of):
    tell(event(pending.id, type="payment.failed"))

    assert tell(event(pending.id)).status_code == 204

    eventually(lambda: f"{pending.id} had failed, and was charged for" in stack.logs("shop"))
    assert status_of(pending.order_id) == "placed"


def test_an_event_that_is_faster_than_the_answer_pays_once(
    make_order, pay, asked, tell, event, mock, mailed, eventually, payment_of, status_of
):
    order = make_order()
    mock.stub("POST", "/v1/payments", status=201, json=SUCCEEDED, delay="150ms")

    with ThreadPoolExecutor(1) as threads:
        paying = threads.submit(pay, order)
        eventually(lambda: asked().once())
        assert tell(event(payment_of(order).id)).status_code == 204
        assert status_of(order) == "paid"
        assert paying.result().json()["status"] == "paid"

    mailed(order)


def test_an_event_instead_of_the_answer_pays_too(
    make_order, pay, asked, tell, event, mock, mailed, eventually, payment_of
):
    order = make_order()
    mock.fail("POST", "/v1/payments", reset=True)
    mock.fail("POST", "/v1/payments", first=1, never_answers=True)

    with ThreadPoolExecutor(1) as threads:
        paying = threads.submit(pay, order)
        eventually(lambda: asked().once())
        tell(event(payment_of(order).id))
        answer = paying.result()

    assert (answer.status_code, answer.json()["status"]) == (200, "paid")
    mailed(order)


def test_what_a_webhook_has_settled_is_not_asked_for_again(pending, tell, event, pay, asked):
    tell(event(pending.id))

    assert pay(pending.order_id, "tok_processing").status_code == 200

    asked().once()


SUCCEEDED = {
    "id": "pay_{{ request.json.reference }}",
    "status": "succeeded",
    "amount": "{{ request.json.amount }}",
}
