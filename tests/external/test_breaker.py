"""The circuit breaker: a provider that keeps failing is left alone, then tried with one payment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

ATTEMPTS, FAILURES = 4, 5  # of one payment; that open the breaker: what the shop has where nothing else is said
OPEN, OPEN_MS = "breaker:payments:open", 10_000


@pytest.fixture
def opened(make_order, pay, asked, mock):
    """Let payments fail until the breaker opens: the fifth failure is the second payment's first."""
    mock.fail("POST", "/v1/payments", first=FAILURES, status=503)
    assert [pay(make_order()).status_code for _ in range(2)] == [502, 503]
    asked().times(FAILURES)


@pytest.fixture
def until_half_open(redis_client, eventually):
    """Let the rest of the time go by, until the breaker lets somebody try: nobody waits ten seconds for it."""

    def wait():
        assert 0 < redis_client.pttl(OPEN) <= OPEN_MS
        redis_client.pexpire(OPEN, 1)
        eventually(lambda: not redis_client.exists(OPEN))

    return wait


@pytest.fixture
def half_open(opened, until_half_open):
    until_half_open()


def test_open_it_lets_no_request_through_and_says_when_to_come_back(opened, make_order, pay, asked, problem):
    answers = [pay(make_order()) for _ in range(3)]

    assert [problem(answer, 503)["payment"] for answer in answers] == ["pending"] * 3
    assert all(0 < int(answer.headers["Retry-After"]) <= OPEN_MS / 1000 for answer in answers)
    asked().times(FAILURES)


def test_half_open_it_lets_one_request_through(half_open, make_order, pay, asked, mock):
    mock.fail("POST", "/v1/payments", never_answers=True)  # so that it is under way as long as the others ask

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(pay, [make_order() for _ in range(3)]))

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    asked().times(FAILURES + 1)


def test_half_open_it_opens_again_with_the_first_failure(half_open, make_order, pay, asked, mock):
    mock.fail("POST", "/v1/payments", status=503)

    assert [pay(make_order()).status_code for _ in range(2)] == [503, 503]

    asked().times(FAILURES + 1)


def test_it_closes_when_the_provider_answers_again(half_open, make_order, pay, asked, mock):
    assert pay(make_order()).status_code == 200

    mock.fail("POST", "/v1/payments", first=3, status=503)  # fewer than open it, so it counts from the start
    assert [pay(make_order()).status_code for _ in range(2)] == [200, 200]
    asked().times(FAILURES + 1 + ATTEMPTS + 1)


def test_a_payment_that_met_the_open_breaker_is_made_up_for_with_its_key(
    opened, until_half_open, make_order, pay, asked, payment_of
):
    order = make_order()
    assert pay(order).status_code == 503
    key = str(payment_of(order).id)

    until_half_open()
    assert pay(order).status_code == 200

    assert asked()[-1].headers["idempotency-key"] == key


def test_a_provider_that_declines_is_in_good_health(make_order, pay, asked):
    for _ in range(FAILURES + 1):
        assert pay(make_order(), "tok_declined").status_code == 402

    assert pay(make_order()).status_code == 200


def test_the_mail_service_s_failures_do_not_keep_anybody_from_paying(make_order, pay, mock, until_given_up):
    mock.fail("POST", "/v1/mails", status=503)
    orders = [make_order() for _ in range(3)]

    assert [pay(order).status_code for order in orders] == [200] * 3

    until_given_up(*orders)
    mock.received("POST", "/v1/mails").at_least(FAILURES)
