"""Tried again: what may pass, ever later and never in step, with one key; what won't pass, not."""

from __future__ import annotations

import pytest

BACKOFF = 0.020  # seconds, SHOP_RETRY_BACKOFF_MS in the suite's overlay
PAID_AT_LAST = [503, 503, 503, 201]


@pytest.fixture
def pauses(make_order, pay, asked, mock):
    """What the shop waited before its attempts, of four payments whose first three attempts failed."""

    def of_one():
        order = make_order()
        mock.fail("POST", "/v1/payments", first=3, status=503)
        earlier = asked().count
        assert pay(order).status_code == 200
        assert [call.status for call in asked()][earlier:] == PAID_AT_LAST
        return asked().pauses[earlier:]

    return [of_one() for _ in range(4)]


def test_a_payment_is_tried_again_after_a_while(mock, pay, make_order):
    paid = {"id": "p-1", "status": "succeeded", "amount": "{{ request.json.amount }}"}
    mock.stub("POST", "/v1/payments", status=201, json=paid)
    mock.fail("POST", "/v1/payments", first=2, status=503)  # or reset=True, slow_body="2s", malformed=True …
    assert pay(make_order()).status_code == 200
    calls = mock.received("POST", "/v1/payments").times(3)
    assert len({call.headers["idempotency-key"] for call in calls}) == 1
    assert min(calls.pauses) >= 0.02  # seconds from the end of an attempt to the next


def test_a_provider_with_bad_moments_is_asked_until_it_answers(make_order, pay, asked):
    assert pay(make_order(), "tok_flaky").status_code == 200

    calls = asked("tok_flaky").times(3)
    assert [call.status for call in calls] == [503, 500, 201]
    assert calls.concurrency == 1


def test_all_attempts_at_a_payment_have_the_same_key_and_body(make_order, pay, asked):
    pay(make_order(), "tok_flaky")

    calls = asked("tok_flaky").times(3)
    assert len({call.headers["idempotency-key"] for call in calls}) == 1
    assert calls.bodies == [calls[0].body] * 3


def test_each_pause_is_longer_than_the_one_before(pauses):
    assert all(pause >= BACKOFF * 2**number for each in pauses for number, pause in enumerate(each))
    first, second, third = (min(each[number] for each in pauses) for number in range(3))  # what no other load adds to
    assert first * 1.2 < second
    assert second * 1.2 < third


def test_no_two_payments_keep_step(pauses):
    beyond = sorted(pause - BACKOFF * 2**number for each in pauses for number, pause in enumerate(each))

    assert beyond[-1] - beyond[0] > BACKOFF / 4


def test_it_gives_up_after_four_attempts_and_does_not_say_that_nothing_was_paid(
    make_order, pay, asked, mock, problem, payment_of, status_of
):
    order = make_order()
    mock.fail("POST", "/v1/payments", status=503)

    assert problem(pay(order), 502)["payment"] == "pending"

    asked().times(4)
    assert (payment_of(order).status, status_of(order)) == ("pending", "placed")


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_what_is_refused_is_not_tried_again(make_order, pay, asked, mock, problem, status):
    mock.fail("POST", "/v1/payments", status=status)

    assert f"refused with {status}" in problem(pay(make_order()), 502)["detail"]

    asked().once()


def test_a_provider_that_wants_to_be_left_alone_is_left_alone_for_so_long(make_order, pay, asked, mock):
    mock.fail("POST", "/v1/payments", first=1, status=429, headers={"Retry-After": "0.3"})

    assert pay(make_order()).status_code == 200

    (pause,) = asked().times(2).pauses
    assert pause >= 0.3


def test_one_that_does_not_say_for_how_long_is_asked_again_after_the_usual_pause(make_order, pay, asked, mock):
    mock.fail("POST", "/v1/payments", first=2, status=429)

    assert pay(make_order()).status_code == 200

    assert asked().times(3).pauses[1] >= 2 * BACKOFF


def test_above_its_limit_the_customer_is_told_when_to_come_back_and_is_not_kept_waiting(
    make_order, pay, asked, problem
):
    answers = [pay(make_order(), "tok_crowded") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert problem(answers[2], 503)["payment"] == "pending"
    assert answers[2].headers["Retry-After"] == "1"  # longer than the shop waits: SHOP_RETRY_AFTER_MAX_MS
    assert [call.status for call in asked()] == [201, 201, 429]
