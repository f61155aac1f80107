"""Receipts: after the payment, through the mail service, and never at the payment's cost."""

from __future__ import annotations

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_receipt_follows_the_payment(make_order, pay, mailed, mock):
    order = make_order(total="12.34")

    pay(order)

    assert mailed(order).body == {
        "to": "ada@example.com",
        "subject": f"Order {order} is paid",
        "text": "We have received 12.34 EUR. Thank you!",
    }
    mock.journal.in_order("POST /v1/payments", "POST /v1/mails", strict=True)


def test_both_are_reached_by_their_own_names_one_directly_and_one_through_a_proxy(make_order, pay, asked, mailed):
    order = make_order()

    pay(order)

    places = [(call.request.scheme, call.host, call.request.port) for call in (asked().once(), mailed(order))]
    assert places == [("https", "payments.example.com", 443), ("https", "mail.example.com", 443)]


def test_one_trace_leads_from_the_customer_to_both(make_order, pay, asked, mailed):
    order = make_order()

    pay(order, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01", baggage="shop.customer=ada")

    calls = [asked().once(), mailed(order)]
    spans = [call.traceparent.split("-") for call in calls]
    assert [(trace, flags) for _, trace, _, flags in spans] == [(TRACE, "01")] * 2
    assert len({span for _, _, span, _ in spans} | {"00f067aa0ba902b7"}) == 3
    assert {call.headers["baggage"] for call in calls} == {"shop.customer=ada"}


def test_who_brings_no_trace_gets_one(make_order, pay, asked, mailed):
    order = make_order()

    pay(order)

    assert asked().once().traceparent.split("-")[1] == mailed(order).traceparent.split("-")[1]


def test_no_receipt_is_sent_for_what_was_declined(make_order, pay, mock):
    assert pay(make_order(), "tok_declined").status_code == 402

    assert mock.received("POST", "/v1/mails").count == 0


def test_a_mail_service_that_fails_does_not_fail_the_payment(make_order, pay, mock, until_given_up, status_of):
    order = make_order()
    mock.fail("POST", "/v1/mails", status=500)

    assert pay(order).json()["status"] == "paid"

    until_given_up(order)
    calls = mock.received("POST", "/v1/mails").times(4)
    assert len({call.headers["idempotency-key"] for call in calls}) == 1  # however many of them arrive, one is read
    assert status_of(order) == "paid"


def test_a_mail_service_that_hangs_keeps_no_customer_waiting(make_order, pay, mock, eventually):
    mock.fail("POST", "/v1/mails", first=1, never_answers=True)

    assert pay(make_order()).status_code == 200

    eventually(lambda: mock.received("POST", "/v1/mails").times(2))
