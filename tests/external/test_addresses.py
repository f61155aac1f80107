"""Third parties at other addresses: one by a URL of its own, and one where nobody listens."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(stack):
    """For this file the shop is told other addresses, which takes it a start; the mock's host has no port 9."""
    with stack.repoint(
        "shop", SHOP_PAYMENTS_URL="http://mock:9/v1/payments", SHOP_MAIL_URL="http://mock:8080/elsewhere/mails"
    ):
        yield


def test_a_provider_that_refuses_connections_leaves_the_payment_pending(make_order, pay, mock, problem, payment_of):
    order = make_order()

    answer = problem(pay(order), 502)

    assert ("Connection refused" in answer["detail"], answer["payment"]) == (True, "pending")
    assert payment_of(order).status == "pending"
    mock.journal.never()


def test_a_mail_service_is_found_where_its_url_says(make_order, pay, payment_of, tell, event, mock, eventually):
    mock.stub("POST", "/elsewhere/mails", status=202)
    order = make_order()
    pay(order)

    tell(event(payment_of(order).id))

    call = eventually(lambda: mock.received("POST", "/elsewhere/mails").once())
    assert (call.request.scheme, call.host, call.request.port) == ("http", "mock", 8080)
