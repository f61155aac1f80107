"""Items: create, read, update, delete, page through; and the rows in PostgreSQL behind the answers."""

from __future__ import annotations

import pytest

MUG = {"id": 1, "sku": "MUG-BLUE", "name": "Mug, blue", "price": "8.50", "stock": 40}
TEAPOT = {"sku": "TEAPOT", "name": "Teapot", "price": "24.90", "stock": 3}


def test_anybody_can_look_at_an_item(http):
    assert http.get("/items/1").json() == MUG


def test_a_new_item_is_there_under_the_address_in_the_answer(as_admin, http, db):
    response = as_admin.post("/items", json=TEAPOT)

    assert response.status_code == 201
    assert http.get(response.headers["Location"]).json() == {"id": response.json()["id"], **TEAPOT}
    row = db.execute("SELECT name, price::text, stock FROM items WHERE sku = 'TEAPOT'").fetchone()
    assert row == ("Teapot", "24.90", 3)


def test_an_update_replaces_the_item(as_admin, db):
    response = as_admin.put("/items/1", json=TEAPOT)

    assert response.status_code == 200
    assert response.json() == {"id": 1, **TEAPOT}
    assert db.execute("SELECT sku, name FROM items WHERE id = 1").fetchone() == ("TEAPOT", "Teapot")


def test_a_deleted_item_is_gone(as_admin, http, db, problem):
    assert as_admin.delete("/items/3").status_code == 204

    problem(http.get("/items/3"), 404)
    assert db.execute("SELECT count(*) FROM items WHERE id = 3").fetchone() == (0,)


def test_an_item_that_somebody_ordered_stays_in_the_books(as_admin, factory, db, problem):
    item = factory.create("order_lines").item_id

    assert "has been ordered" in problem(as_admin.delete(f"/items/{item}"), 409)["detail"]

    assert db.execute("SELECT count(*) FROM items WHERE id = %s", [item]).fetchone() == (1,)


@pytest.mark.parametrize(("method", "path"), [("POST", "/items"), ("PUT", "/items/2")])
def test_a_sku_is_given_once(as_admin, problem, method, path):
    response = as_admin.request(method, path, json={**TEAPOT, "sku": "MUG-BLUE"})

    assert problem(response, 409)["detail"] == "There is an item with the SKU MUG-BLUE already"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_item_that_does_not_exist_is_not_found(as_admin, problem, method):
    response = as_admin.request(method, "/items/999", json=TEAPOT)

    assert problem(response, 404)["detail"] == "There is no item 999"


def test_a_page_says_how_many_there_are_and_where_the_next_one_is(http):
    page = http.get("/items", params={"limit": 2}).json()

    assert [item["id"] for item in page["data"]] == [1, 2]
    assert page["total"] == 45
    assert page["next"] == "/items?limit=2&after=2"


def test_following_the_pages_shows_every_item_once(http, db):
    seen, path = [], "/items?limit=20"
    while path:
        page = http.get(path).json()
        seen += [item["id"] for item in page["data"]]
        path = page["next"]

    assert seen == [item_id for (item_id,) in db.execute("SELECT id FROM items ORDER BY id")]


def test_the_last_page_has_no_next_even_when_it_is_full(http):
    assert http.get("/items?limit=45").json()["next"] is None


def test_an_item_that_goes_while_somebody_pages_hides_no_other(http, as_admin):
    first = http.get("/items?limit=3").json()
    as_admin.delete("/items/3")

    assert http.get(first["next"]).json()["data"][0]["id"] == 4


def test_beyond_the_last_item_there_is_an_empty_page(http):
    assert http.get("/items?after=10000").json() == {"data": [], "total": 45, "next": None}
