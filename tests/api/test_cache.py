"""The read-through cache: what fills it, what empties it, and what Redis holds meanwhile."""

from __future__ import annotations

import json

import pytest

TEAPOT = {"sku": "TEAPOT", "name": "Teapot", "price": "24.90", "stock": 3}


def test_the_first_read_fills_the_cache_and_the_second_comes_from_it(http):
    first, second = http.get("/items/1"), http.get("/items/1")

    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.json() == second.json()


def test_redis_holds_the_answer_for_a_minute_at_most(http, redis_client):
    answer = http.get("/items/1").json()

    assert json.loads(redis_client.get("item:1")) == answer
    assert 55 < redis_client.ttl("item:1") <= 60


def test_a_hit_does_not_ask_the_database(http, db):
    http.get("/items/1")
    db.execute("UPDATE items SET name = 'behind the back' WHERE id = 1")

    assert http.get("/items/1").json()["name"] == "Mug, blue"


def test_what_has_left_the_cache_is_read_again(http, db, redis_client):
    http.get("/items/1")
    db.execute("UPDATE items SET name = 'behind the back' WHERE id = 1")
    redis_client.delete("item:1")

    response = http.get("/items/1")

    assert (response.headers["X-Cache"], response.json()["name"]) == ("miss", "behind the back")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_empties_the_cache_of_that_item_alone(http, as_admin, redis_client, method):
    http.get("/items/3")
    http.get("/items/5")

    assert as_admin.request(method, "/items/3", json=TEAPOT).ok

    assert redis_client.exists("item:3") == 0
    assert redis_client.exists("item:5") == 1


def test_a_refused_write_leaves_the_cache_alone(http, as_customer, redis_client):
    http.get("/items/3")

    as_customer.put("/items/3", json=TEAPOT)

    assert redis_client.exists("item:3") == 1


def test_an_order_shows_in_the_stock_at_once(http, as_customer):
    assert http.get("/items/1").json()["stock"] == 40

    as_customer.post("/orders", json={"lines": [{"item_id": 1, "quantity": 2}]})

    assert http.get("/items/1").json()["stock"] == 38


def test_what_does_not_exist_is_not_cached(http, redis_client):
    http.get("/items/999")

    assert redis_client.exists("item:999") == 0
