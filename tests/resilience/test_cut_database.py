"""A cut between the shop and its database: nothing is refused, all hangs, and what became of a request nobody says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

MUG, NOTEBOOK = 1, 2
WAITING = "SELECT FROM pg_stat_activity WHERE application_name = 'shop' AND wait_event_type = 'Lock' AND query LIKE %s"


@pytest.fixture
def gate(stack, db, eventually):
    """Keep an item from being ordered: `with gate(MUG) as somebody_waits:`, which is called to wait for that."""

    @contextmanager
    def shut(item):
        with psycopg.connect(stack.dsn("postgres")) as holder:
            holder.execute("SELECT FROM items WHERE id = %s FOR UPDATE", [item])
            yield lambda how_many=1: eventually(lambda: db.execute(WAITING, ["%FOR UPDATE%"]).rowcount == how_many)
            holder.rollback()

    return shut


@pytest.fixture
def slow_commit(stack, db, eventually):
    """A COMMIT of an order waits until `release()`; `reached()` waits until one is there."""
    db.execute("""
        CREATE FUNCTION wait_in_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = 0 AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait_in_commit()
    """)
    with psycopg.connect(stack.dsn("postgres")) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(1)")
        yield lambda: eventually(lambda: db.execute(WAITING, ["COMMIT"]).rowcount), holder.rollback
    db.execute("DROP TRIGGER slow_commit ON orders; DROP FUNCTION wait_in_commit")


@pytest.fixture
def under_way(order):
    """Place an order from another thread: `under_way(MUG, key="7d1c").result()`."""
    with ThreadPoolExecutor() as threads:
        yield lambda *items, key: threads.submit(order, *items, key=key)


@pytest.fixture
def is_free(db):
    """Whether nobody has locked an item: `is_free(MUG)`."""

    def ask(item):
        try:
            return db.execute("SELECT FROM items WHERE id = %s FOR UPDATE NOWAIT", [item]).rowcount
        except LockNotAvailable:
            return False

    return ask


def test_who_needs_the_database_is_told_to_come_back_and_who_does_not_is_served(faults, http, turned_away):
    http.get("/items/1")  # it is in the cache now
    with ThreadPoolExecutor() as threads, faults.partition("shop", "postgres"):
        waiting = [threads.submit(http.get, path) for path in ("/items", "/items/2")]
        assert http.get("/items/1").headers["X-Cache"] == "hit"
        assert http.get("/health/live").status_code == 200
        for one in waiting:
            turned_away(one.result())


def test_an_order_that_the_database_does_not_hear_of_neither_hangs_nor_is_placed(
    faults, gate, under_way, order, books, turned_away, well
):
    with gate(MUG) as somebody_waits:
        unheard = under_way(MUG, key="unheard")
        somebody_waits()
        deaf = faults.partition("shop", "postgres", one_way=True).inject()
    turned_away(unheard.result())
    assert books()["orders"] == 0
    deaf.heal()

    well()
    assert order(MUG, key="unheard").status_code == 201
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 100}


def test_an_order_whose_confirmation_is_lost_is_there_and_repeating_it_makes_no_other(
    faults, http, under_way, slow_commit, order, books, turned_away, eventually, well
):
    reached, release = slow_commit
    assert http.get("/items/1").json()["stock"] == 40  # it is in the cache now
    lost = under_way(MUG, key="lost")
    reached()
    with faults.partition("shop", "postgres"):
        release()
        turned_away(lost.result())
        eventually(lambda: books()["orders"] == 1)

    well()
    assert http.get("/items/1").json()["stock"] == 39
    assert order(MUG, key="lost").status_code == 200
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 100}


def test_what_a_transaction_has_locked_is_free_again_while_its_shop_is_cut_off(
    faults, gate, under_way, is_free, eventually, turned_away
):
    with gate(NOTEBOOK) as somebody_waits:
        cut_off = under_way(MUG, NOTEBOOK, key="halfway")
        somebody_waits()
        assert not is_free(MUG)
        partition = faults.partition("shop", "postgres").inject()

    eventually(lambda: is_free(MUG))
    turned_away(cut_off.result())
    assert partition.is_on


def test_a_shop_that_froze_in_the_middle_of_an_order_is_too_late(
    faults, gate, under_way, is_free, eventually, order, books, turned_away
):
    with gate(NOTEBOOK) as somebody_waits:
        late = under_way(MUG, NOTEBOOK, key="late")
        somebody_waits()
        frozen = faults.pause("shop").inject()
    eventually(lambda: is_free(MUG))
    frozen.heal()

    turned_away(late.result())
    assert order(MUG, NOTEBOOK, key="late").status_code == 201
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 99}


def test_a_connection_that_is_reset_in_the_middle_of_an_order_leaves_nothing_of_it(
    faults, gate, under_way, order, books, turned_away, well
):
    with gate(MUG) as somebody_waits:
        broken = under_way(MUG, key="reset")
        somebody_waits()
        with faults.reset("shop", "postgres"):
            turned_away(broken.result())

    well()
    assert books()["orders"] == 0
    assert order(MUG, key="reset").status_code == 201
    assert books() == {"orders": 1, "MUG-BLUE": 39, "NOTEBOOK-A5": 100}


def test_when_all_connections_are_lost_at_once_the_next_request_has_a_new_one(faults, http, gate, under_way):
    with gate(MUG) as somebody_waits:
        orders = [under_way(MUG, key=f"{number}") for number in range(3)]
        somebody_waits(len(orders))
    assert {one.result().status_code for one in orders} == {201}

    with faults.reset("shop", "postgres"):
        pass
    assert http.get("/items/2").status_code == 200
