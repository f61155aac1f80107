"""A database that is far away, or behind a narrow line: all takes longer, and nothing else changes."""

from __future__ import annotations

import time

import pytest

MUG, NOTEBOOK = 1, 2
ROUND_TRIPS = 6  # of an order at the least: who asks, what is there, the key, the order, its lines, COMMIT


def test_a_slow_database_is_only_slow(faults, http):
    with faults.latency("shop", "postgres", ms=200, jitter=50):
        assert http.get("/items").status_code == 200
    with faults.partition("shop", "postgres"):
        assert http.get("/items").status_code == 503


def test_an_order_takes_longer_by_its_round_trips_and_is_placed_once(faults, order, books):
    with faults.latency("shop", "postgres", ms=100):
        began = time.monotonic()
        answer = order(MUG, NOTEBOOK, key="far away")
        took = time.monotonic() - began

    assert (answer.status_code, answer.json()["total"]) == (201, "12.70")
    assert took >= ROUND_TRIPS * 0.1
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 99}


@pytest.mark.parametrize(
    ("kind", "amounts", "seconds"),
    [("bandwidth", {"kb_per_s": 20}, 0.1), ("slice", {"bytes": 50, "delay_ms": 2}, 0.05)],
)
def test_a_narrow_line_changes_no_byte_of_an_answer(faults, http, kind, amounts, seconds):
    page = http.get("/items?limit=100").json()

    with getattr(faults, kind)("shop", "postgres", **amounts):
        began = time.monotonic()
        assert http.get("/items?limit=100").json() == page
        took = time.monotonic() - began

    assert took >= seconds
    assert len(page["data"]) == 45


def test_who_waits_too_long_for_a_lock_is_told_to_come_back(stack, order, db, books, turned_away, eventually):
    def given_up():
        return stack.logs("postgres").count("canceling statement due to lock timeout")

    before = given_up()
    with db.transaction():
        db.execute("SELECT FROM items WHERE id = %s FOR UPDATE", [MUG])
        turned_away(order(MUG, key="busy"))

    eventually(lambda: given_up() == before + 1)
    assert order(MUG, key="busy").status_code == 201
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 100}
