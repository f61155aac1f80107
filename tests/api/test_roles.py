"""Who may do what: nobody in particular, a customer, an admin."""

from __future__ import annotations

import pytest

TEAPOT = {"sku": "TEAPOT", "name": "Teapot", "price": "24.90", "stock": 3}
WRITES = [("POST", "/items"), ("PUT", "/items/3"), ("DELETE", "/items/3")]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_an_admin_may_write_items(as_admin, method, path):
    assert as_admin.request(method, path, json=TEAPOT).ok


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_customer_may_not_write_items(as_customer, db, problem, method, path):
    problem(as_customer.request(method, path, json=TEAPOT), 403)

    assert db.execute("SELECT sku FROM items WHERE id = 3").fetchone() == ("PENCIL-HB",)
    assert db.execute("SELECT count(*) FROM items WHERE sku = 'TEAPOT'").fetchone() == (0,)


@pytest.mark.parametrize(("method", "path"), [*WRITES, ("POST", "/orders"), ("GET", "/orders"), ("GET", "/orders/1")])
def test_a_stranger_has_to_log_in_first(http, problem, method, path):
    assert problem(http.request(method, path, json=TEAPOT), 401)["status"] == 401


def test_a_change_of_role_counts_from_the_next_request_on(as_customer, db):
    db.execute("UPDATE users SET role = 'admin' WHERE email = 'ada@example.com'")

    assert as_customer.post("/items", json=TEAPOT).status_code == 201


@pytest.mark.parametrize(("role", "status"), [("admin", 201), ("customer", 403)])
def test_the_role_alone_decides_who_writes_items(make_user, sign_in, role, status):
    somebody = sign_in(make_user(role=role).email)

    assert somebody.post("/items", json=TEAPOT).status_code == status


def test_a_customer_sees_their_own_orders_only(make_user, make_order, sign_in, problem):
    user = make_user()
    mine, another_s = make_order(user=user), make_order()
    customer = sign_in(user.email)

    assert [order["id"] for order in customer.get("/orders").json()["data"]] == [mine.id]
    assert customer.get(f"/orders/{mine.id}").json()["total"] == str(mine.total)
    assert problem(customer.get(f"/orders/{another_s.id}"), 404)["detail"] == f"There is no order {another_s.id}"


def test_an_admin_sees_everybodys_orders(as_admin, make_order):
    new = make_order()

    assert [order["id"] for order in as_admin.get("/orders").json()["data"]] == [1, 2, new.id]
    assert as_admin.get(f"/orders/{new.id}").status_code == 200
