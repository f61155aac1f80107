"""Payments: what the provider is asked for, what becomes of the order, and that nobody pays twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

SUCCEEDED = {
    "id": "pay_{{ request.json.reference }}",
    "status": "succeeded",
    "amount": "{{ request.json.amount }}",
}


def test_a_payment_that_succeeds_pays_the_order(make_order, pay, asked, stack, payment_of, status_of):
    order = make_order(total="12.34")

    answer = pay(order)

    assert (answer.status_code, answer.json()["status"]) == (200, "paid")
    call, payment = asked().once(), payment_of(order)
    assert call.body == {"amount": 1234, "currency": "EUR", "source": "tok_visa", "reference": str(payment.id)}
    assert call.headers["authorization"] == f"Bearer {stack.env('shop')['SHOP_PAYMENTS_KEY']}"
    assert (payment.status, payment.provider_id, status_of(order)) == ("paid", f"pay_{payment.id}", "paid")


def test_a_payment_that_is_declined_says_why_and_leaves_the_order_as_it_was(
    make_order, pay, asked, problem, payment_of, status_of
):
    order = make_order()

    assert problem(pay(order, "tok_declined"), 402)["reason"] == "card_declined"

    asked().once()
    assert (payment_of(order).status, status_of(order)) == ("failed", "placed")


def test_after_a_decline_another_card_pays_with_a_key_of_its_own(make_order, pay, asked, db):
    order = make_order()

    assert [pay(order, token).status_code for token in ("tok_declined", "tok_visa")] == [402, 200]

    assert len({call.headers["idempotency-key"] for call in asked()}) == 2
    books = db.execute("SELECT status::text FROM payments WHERE order_id = %s ORDER BY created_at", [order])
    assert [status for (status,) in books] == ["failed", "paid"]


def test_what_is_paid_is_not_charged_again(make_order, pay, asked):
    order = make_order()

    first, again = pay(order), pay(order)

    assert again.status_code == 200
    assert again.json() == first.json()
    asked().once()


def test_the_key_is_written_down_before_the_provider_is_asked(make_order, pay, asked, mock, eventually, payment_of):
    order = make_order()
    mock.stub("POST", "/v1/payments", status=402, delay="150ms")

    with ThreadPoolExecutor(1) as threads:
        paying = threads.submit(pay, order)
        call = eventually(lambda: asked().once())
        assert payment_of(order).status == "pending"
        assert call.headers["idempotency-key"] == str(payment_of(order).id)
        assert paying.result().status_code == 402


def test_payments_of_two_orders_have_two_keys(make_order, pay, asked):
    for order in (make_order(), make_order()):
        pay(order)

    assert len({call.headers["idempotency-key"] for call in asked().times(2)}) == 2


def test_two_who_pay_the_same_order_at_once_charge_once(make_order, pay, asked, mock):
    order = make_order()
    mock.stub("POST", "/v1/payments", status=201, json=SUCCEEDED, delay="150ms")

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(pay, [order, order]))

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    asked().once()


def test_two_orders_are_paid_side_by_side(make_order, pay, asked, mock):
    mock.stub("POST", "/v1/payments", status=201, json=SUCCEEDED, delay="150ms")

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(pay, [make_order(), make_order()]))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert asked().times(2).concurrency == 2


def test_an_order_of_somebody_else_is_not_to_be_paid(make_order, pay, asked, problem):
    assert problem(pay(make_order(user_id=3)), 404)["status"] == 404
    assert asked().count == 0


def test_an_order_that_is_cancelled_is_not_to_be_paid(make_order, pay, asked, problem):
    assert problem(pay(make_order(status="cancelled")), 409)["status"] == 409
    assert asked().count == 0
