"""Every error is problem details (RFC 9457), and a validation error points at what is wrong."""

from __future__ import annotations

import pytest

TEAPOT = {"sku": "TEAPOT", "name": "Teapot", "price": "24.90", "stock": 3}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"price": "0.00"}, "#/price"),
        ({"price": "1.999"}, "#/price"),
        ({"price": "a lot"}, "#/price"),
        ({"price": None}, "#/price"),
        ({"stock": -1}, "#/stock"),
        ({"stock": 2**31}, "#/stock"),
        ({"name": "   "}, "#/name"),
        ({"name": "x" * 201}, "#/name"),
        ({"sku": "tea pot"}, "#/sku"),
    ],
)
def test_a_field_that_is_not_valid_is_pointed_at_and_nothing_is_stored(as_admin, db, problem, change, pointer):
    response = as_admin.post("/items", json={**TEAPOT, **change})

    assert [error["pointer"] for error in problem(response, 422)["errors"]] == [pointer]
    assert db.execute("SELECT count(*) FROM items WHERE id > 140").fetchone() == (0,)


def test_several_errors_come_in_one_answer(as_admin, problem):
    errors = problem(as_admin.post("/items", json={"stock": "many"}), 422)["errors"]

    assert {error["pointer"] for error in errors} == {"#/sku", "#/name", "#/price", "#/stock"}


def test_an_error_deep_in_the_body_has_its_whole_path(as_customer, problem):
    response = as_customer.post("/orders", json={"lines": [{"item_id": 1}, {"item_id": 2, "quantity": 0}]})

    assert [error["pointer"] for error in problem(response, 422)["errors"]] == ["#/lines/1/quantity"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=ten", "after=-1", f"after={2**63}"])
def test_a_parameter_that_is_not_valid_is_named(http, problem, query):
    errors = problem(http.get(f"/items?{query}"), 422)["errors"]

    assert [error["parameter"] for error in errors] == [query.partition("=")[0]]


def test_a_body_that_is_not_json_is_refused(as_admin, problem):
    response = as_admin.post("/items", data="{", headers={"Content-Type": "application/json"})

    assert problem(response, 422)["errors"][0]["pointer"] == "#"


def test_a_text_that_postgresql_cannot_store_is_refused(as_admin, problem):
    response = as_admin.post("/items", json={**TEAPOT, "name": "Tea\0pot"})

    assert "NUL" in problem(response, 422)["detail"]


def test_a_path_that_does_not_exist_is_not_found(http, problem):
    assert problem(http.get("/nowhere"), 404)["title"] == "Not Found"


def test_a_method_that_a_path_does_not_know_is_not_allowed(http, problem):
    response = http.patch("/items/1")

    assert problem(response, 405)["title"] == "Method Not Allowed"
    assert "GET" in response.headers["Allow"]


def test_when_the_database_refuses_the_shop_says_that_it_is_unavailable(http, db, problem):
    db.execute("ALTER TABLE items RENAME TO items_away")
    try:
        response = http.get("/items")
    finally:
        db.execute("ALTER TABLE items_away RENAME TO items")

    problem(response, 503)
    assert response.headers["Retry-After"] == "1"
