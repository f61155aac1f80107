"""Answers that break off, come too late or make no sense: nobody knows what was paid, so nothing is lost or doubled."""

from __future__ import annotations

import pytest

BROKEN = {
    "reset": {"reset": True},
    "truncated": {"truncated": 0.5},
    "malformed": {"malformed": True},
    "late": {"delay": "2s"},
    "slow headers": {"slow_headers": "600ms"},
    "slow body": {"slow_body": "2s"},
    "no answer": {"never_answers": True},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_breaks_is_asked_for_again_with_the_same_key(make_order, pay, asked, mock, status_of, broken):
    order = make_order()
    mock.fail("POST", "/v1/payments", first=1, **broken)

    assert pay(order).status_code == 200

    first, second = asked().times(2)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert status_of(order) == "paid"


@pytest.mark.parametrize("broken", ["reset", "truncated", "malformed"])
def test_if_no_answer_is_whole_the_payment_is_pending_and_neither_paid_nor_failed(
    make_order, pay, asked, mock, problem, payment_of, status_of, broken
):
    order = make_order()
    mock.fail("POST", "/v1/payments", **BROKEN[broken])

    assert problem(pay(order), 502)["payment"] == "pending"

    asked().times(4)
    assert (payment_of(order).status, status_of(order)) == ("pending", "placed")


def test_an_answer_that_never_comes_is_told_from_one_that_is_broken(make_order, pay, asked, mock, problem, status_of):
    order = make_order()
    mock.fail("POST", "/v1/payments", never_answers=True)
    mock.fail("POST", "/v1/payments", first=3, reset=True)

    assert problem(pay(order), 504)["payment"] == "pending"

    asked().times(4)
    assert status_of(order) == "placed"


def test_a_payment_whose_answer_was_lost_is_charged_once_however_often_it_is_asked_for(make_order, pay, asked, mock):
    order = make_order()
    mock.fail("POST", "/v1/payments", first=4, reset=True)

    assert [pay(order).status_code for _ in range(2)] == [502, 200]

    calls = asked().times(5)
    assert {call.headers["idempotency-key"] for call in calls} == {calls[0].body["reference"]}


def test_a_provider_that_remembers_the_key_gives_the_answer_that_was_lost(make_order, pay, asked, payment_of):
    order = make_order()

    assert pay(order, "tok_lost").status_code == 200

    charged, replayed = asked("tok_lost").times(2)
    assert [call.stub for call in (charged, replayed)] == [
        "a payment whose answer is lost",
        "a payment that was charged before",
    ]
    assert charged.headers["idempotency-key"] == replayed.headers["idempotency-key"]
    assert payment_of(order).status == "paid"


def test_while_it_is_not_known_whether_one_card_was_charged_no_other_is(make_order, pay, asked, mock, problem):
    order = make_order()
    mock.fail("POST", "/v1/payments", first=4, reset=True)
    pay(order)

    assert problem(pay(order, "tok_other"), 409)["status"] == 409
    assert asked("tok_other").count == 0


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "pay_1", "status": "succeeded", "amount": 1},
        {"id": "", "status": "succeeded", "amount": 1200},
        {"id": "pay_1", "status": "splendid", "amount": 1200},
        ["succeeded"],
    ],
    ids=["another amount", "no id", "an unknown status", "another shape"],
)
def test_an_answer_that_makes_no_sense_pays_nothing(make_order, pay, mock, problem, status_of, answer):
    order = make_order(total="12.00")
    mock.stub("POST", "/v1/payments", status=201, json=answer)

    assert "makes no sense" in problem(pay(order), 502)["detail"]

    assert status_of(order) == "placed"
