"""Orders: all or nothing, never more than there is, once for each Idempotency-Key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg

MUG, NOTEBOOK, PENCIL = 1, 2, 3
LAMP, POSTER = 4, 5  # one left, none left
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'"


def lines(*pairs):
    return {"lines": [{"item_id": item_id, "quantity": quantity} for item_id, quantity in pairs]}


def stock(db, item_id):
    return db.execute("SELECT stock FROM items WHERE id = %s", [item_id]).fetchone()[0]


def orders(db):
    return db.execute("SELECT count(*) FROM orders").fetchone()[0]


def test_an_order_is_written_down_and_taken_from_the_stock(as_customer, db):
    response = as_customer.post("/orders", json=lines((NOTEBOOK, 3), (MUG, 1)))

    assert response.status_code == 201
    order = response.json()
    assert (order["status"], order["total"]) == ("placed", "21.10")
    assert order["lines"] == [
        {"item_id": NOTEBOOK, "quantity": 3, "unit_price": "4.20"},
        {"item_id": MUG, "quantity": 1, "unit_price": "8.50"},
    ]
    written = db.execute(
        "SELECT item_id, quantity, unit_price::text FROM order_lines WHERE order_id = %s ORDER BY position",
        [order["id"]],
    )
    assert written.fetchall() == [(NOTEBOOK, 3, "4.20"), (MUG, 1, "8.50")]
    assert (stock(db, NOTEBOOK), stock(db, MUG)) == (97, 39)


def test_an_order_is_found_under_the_address_in_the_answer(as_customer):
    response = as_customer.post("/orders", json=lines((MUG, 1)))

    assert as_customer.get(response.headers["Location"]).json() == response.json()


def test_an_order_keeps_the_price_of_its_day(as_customer, db):
    order = as_customer.post("/orders", json=lines((MUG, 1))).json()
    db.execute("UPDATE items SET price = 99 WHERE id = %s", [MUG])

    assert as_customer.get(f"/orders/{order['id']}").json()["total"] == "8.50"


def test_when_one_item_is_out_of_stock_nothing_is_ordered(as_customer, db, problem):
    response = as_customer.post("/orders", json=lines((MUG, 1), (POSTER, 1)))

    assert problem(response, 409)["items"] == [POSTER]
    assert stock(db, MUG) == 40
    assert orders(db) == 2


def test_an_item_that_does_not_exist_cannot_be_ordered(as_customer, db, problem):
    response = as_customer.post("/orders", json=lines((MUG, 1), (999, 1)))

    assert problem(response, 422)["items"] == [999]
    assert orders(db) == 2


def test_an_item_has_one_line(as_customer, problem):
    response = as_customer.post("/orders", json=lines((MUG, 1), (MUG, 2)))

    assert problem(response, 422)["errors"][0]["pointer"] == "#/lines"


def test_of_two_customers_who_want_the_last_piece_one_gets_it(as_customer, as_other_customer, db):
    start = Barrier(2)

    def buy(customer):
        start.wait(timeout=5)
        return customer.post("/orders", json=lines((LAMP, 1))).status_code

    with ThreadPoolExecutor(max_workers=2) as threads:
        answers = sorted(threads.map(buy, [as_customer, as_other_customer]))

    assert answers == [201, 409]
    assert stock(db, LAMP) == 0
    assert orders(db) == 3


def test_orders_of_the_same_items_in_another_sequence_do_not_deadlock(
    as_customer, as_other_customer, stack, db, eventually
):
    with ThreadPoolExecutor(max_workers=2) as threads, psycopg.connect(stack.dsn("postgres")) as holder:
        holder.execute("SELECT FROM items WHERE id = %s FOR UPDATE", [PENCIL])  # so that both are halfway at once
        placed = [
            threads.submit(as_customer.post, "/orders", json=lines((MUG, 1), (PENCIL, 1), (NOTEBOOK, 1))),
            threads.submit(as_other_customer.post, "/orders", json=lines((NOTEBOOK, 1), (PENCIL, 1), (MUG, 1))),
        ]
        eventually(lambda: db.execute(WAITING).fetchone() == (2,))
        holder.rollback()

    assert [order.result().status_code for order in placed] == [201, 201]


def test_a_repeated_request_gets_the_order_that_it_already_has(as_customer, db):
    request = {"json": lines((MUG, 2)), "headers": {"Idempotency-Key": "7d1c"}}

    first, again = as_customer.post("/orders", **request), as_customer.post("/orders", **request)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert stock(db, MUG) == 38


def test_a_request_that_is_sent_twice_at_once_is_one_order(as_customer, db):
    start = Barrier(2)

    def buy(_):
        start.wait(timeout=5)
        return as_customer.post("/orders", json=lines((LAMP, 1)), headers={"Idempotency-Key": "7d1c"}).json()["id"]

    with ThreadPoolExecutor(max_workers=2) as threads:
        first, again = threads.map(buy, range(2))

    assert first == again
    assert stock(db, LAMP) == 0


def test_a_key_that_was_used_for_something_else_is_refused(as_customer, db, problem):
    key = {"Idempotency-Key": "7d1c"}
    as_customer.post("/orders", json=lines((MUG, 2)), headers=key)

    problem(as_customer.post("/orders", json=lines((MUG, 3)), headers=key), 422)

    assert stock(db, MUG) == 38


def test_keys_of_two_customers_have_nothing_to_do_with_each_other(as_customer, as_other_customer):
    request = {"json": lines((MUG, 1)), "headers": {"Idempotency-Key": "7d1c"}}

    assert as_customer.post("/orders", **request).status_code == 201
    assert as_other_customer.post("/orders", **request).status_code == 201


def test_operations_pause_ordering_with_a_flag_in_redis(as_customer, redis_client, db, problem):
    redis_client.hset("shop:flags", "ordering", "paused")

    response = as_customer.post("/orders", json=lines((MUG, 1)))

    assert problem(response, 503)["detail"] == "Ordering is paused"
    assert response.headers["Retry-After"] == "60"
    assert orders(db) == 2


def test_the_seed_has_ordering_open(redis_client):
    assert redis_client.hgetall("shop:flags") == {"ordering": "open"}


def test_ones_orders_come_in_pages_too(make_user, make_order, sign_in):
    user = make_user()
    mine = [make_order(user=user).id for _ in range(3)]
    customer = sign_in(user.email)

    first = customer.get("/orders?limit=2").json()
    second = customer.get(first["next"]).json()

    assert first["total"] == 3
    assert [[order["id"] for order in page["data"]] for page in (first, second)] == [mine[:2], mine[2:]]
