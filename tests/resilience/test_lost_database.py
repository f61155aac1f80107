"""A database that is killed, and one that is frozen: the shop outlives both, and the books do."""

from __future__ import annotations

import psycopg

MUG = 1


def test_what_was_ordered_before_it_was_killed_is_there_when_it_is_back(faults, stack, http, order, turned_away, well):
    placed = order(MUG, key="before").json()
    with faults.kill("postgres"):
        turned_away(order(MUG, key="meanwhile"))
        assert http.get("/health/ready").json()["checks"]["postgres"] != "ok"

    well()
    assert [order(MUG, key=key).status_code for key in ("before", "meanwhile")] == [200, 201]
    with psycopg.connect(stack.dsn("postgres")) as db:
        assert db.execute("SELECT id FROM orders WHERE idempotency_key = 'before'").fetchall() == [(placed["id"],)]
        assert db.execute("SELECT stock FROM items WHERE id = %s", [MUG]).fetchone() == (38,)


def test_a_frozen_database_keeps_nobody_waiting_for_long(faults, http, order, books, turned_away, well):
    http.get("/items/1")  # it is in the cache now
    with faults.pause("postgres"):
        turned_away(order(MUG, key="frozen"))
        assert http.get("/items/1").headers["X-Cache"] == "hit"

    well()
    assert order(MUG, key="frozen").status_code == 201
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 100}
