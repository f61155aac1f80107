"""Customers who order while one thing after another breaks, and try again: the books hold what they were told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

MUG, NOTEBOOK = 1, 2
CUSTOMERS = 4
PLACED = (200, 201)


@pytest.fixture
def insist(order):
    """Order with a key until it is placed, as a careful client does: whatever the error, again with the same key."""
    again = Retrying(
        retry=retry_if_result(lambda answer: answer.status_code not in PLACED)
        | retry_if_exception_type(requests.RequestException),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(20),
    )
    return lambda key: again(order, MUG, NOTEBOOK, key=key).json()["id"]


@pytest.mark.filterwarnings("ignore::itest.faults.testing.FaultWarning")  # a reset may fall between two connections
def test_whatever_breaks_meanwhile_each_order_is_in_the_books_once_and_taken_from_the_stock(faults, db, books, insist):
    db.execute("UPDATE items SET stock = 10000 WHERE id IN (%s, %s)", [MUG, NOTEBOOK])
    ids = {}

    def keep_ordering(customer):
        number = 0
        while not timeline.over:
            key = f"{customer}-{number}"
            ids[key] = insist(key)
            number += 1

    # Orders of the same items wait for each other, so that most resets come in the middle of a transaction.
    # They come before the cut: a connection that is begun in that is there a second later.
    resets = [(0.2 + n / 10, 0.22 + n / 10, faults.reset("shop", "postgres")) for n in range(10)]
    with (
        faults.timeline(
            (0.1, 1.2, faults.latency("shop", "postgres", ms=5)),
            *resets,
            (1.2, 1.6, faults.partition("shop", "postgres")),
            (1.6, 2.0, faults.pause("redis")),
            (1.7, 1.9, faults.partition("shop", "postgres", one_way=True)),
        ) as timeline,
        ThreadPoolExecutor(CUSTOMERS) as threads,
    ):
        list(threads.map(keep_ordering, range(CUSTOMERS)))

    assert dict(db.execute("SELECT idempotency_key, id FROM orders WHERE id > 2").fetchall()) == ids
    assert len(ids) > CUSTOMERS
    assert books() == {"orders": len(ids), "MUG-BLUE": 10000 - len(ids), "NOTEBOOK-A5": 10000 - len(ids)}
