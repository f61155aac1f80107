"""Redis slow, frozen, cut off, gone: the shop goes on without it, and with it when it is back."""

from __future__ import annotations

import time

import pytest

MUG = 1
ANSWER = 0.2  # seconds that the overlay gives Redis to answer
TEAPOT = {"sku": "TEAPOT", "name": "Teapot", "price": "24.90", "stock": 3}


def test_a_slow_cache_is_used_all_the_same(faults, http):
    http.get("/items/1")
    with faults.latency("shop", "redis", ms=50):
        began = time.monotonic()
        assert http.get("/items/1").headers["X-Cache"] == "hit"
        assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("fault", ["pause", "partition", "kill"])
def test_without_redis_nothing_fails_and_few_requests_wait_for_it(faults, http, order, books, fault):
    http.get("/items/3")
    without = faults.partition("shop", "redis") if fault == "partition" else getattr(faults, fault)("redis")
    with without:
        began = time.monotonic()
        answers = [http.get("/items/3") for _ in range(40)]
        took = time.monotonic() - began
        assert order(MUG, key="without").status_code == 201
        assert http.get("/health/ready").json()["checks"]["postgres"] == "ok"

    assert {(answer.status_code, answer.headers["X-Cache"]) for answer in answers} == {(200, "miss")}
    assert took < len(answers) * ANSWER / 2  # or it wasn't left alone
    assert books()["orders"] == 1


def test_what_changed_while_redis_was_away_is_not_served_as_it_was(faults, http, sign_in, well):
    admin = sign_in("admin@example.com")
    old = http.get("/items/3").json()
    with faults.pause("redis"):
        http.get("/items/1")  # from now on Redis is left alone: it isn't even told
        assert http.put("/items/3", json=TEAPOT, headers=admin).status_code == 200
        assert http.get("/items/3").json() == {"id": 3, **TEAPOT} != old

    well()
    assert http.get("/items/3").json() == {"id": 3, **TEAPOT}


def test_a_connection_to_redis_that_is_reset_costs_nobody_anything(faults, http):
    with faults.reset("shop", "redis"):
        assert http.get("/items/3").status_code == 200
