"""Writers that meet on the same rows: who waits, who is refused, and that nothing is lost."""

from __future__ import annotations

from concurrent.futures import wait
from threading import Barrier

import psycopg
import pytest
from psycopg import errors

WRITERS = 8
NEW_USER = "INSERT INTO users (email, password_hash) VALUES ('new@example.com', 'scrypt$')"


def test_writers_that_lock_the_row_before_they_read_lose_no_update(db, connect, background):
    start = Barrier(WRITERS)

    def sell_one(connection):
        start.wait(timeout=5)
        (stock,) = connection.execute("SELECT stock FROM items WHERE sku = 'MUG-BLUE' FOR UPDATE").fetchone()
        connection.execute("UPDATE items SET stock = %s WHERE sku = 'MUG-BLUE'", [stock - 1])
        connection.commit()

    for sale in [background(sell_one, connect()) for _ in range(WRITERS)]:
        sale.result()

    assert db.execute("SELECT stock FROM items WHERE sku = 'MUG-BLUE'").fetchone() == (40 - WRITERS,)


def test_the_last_piece_is_sold_once(db, connect, background):
    start = Barrier(WRITERS)

    def buy(connection):
        start.wait(timeout=5)
        sold = connection.execute("UPDATE items SET stock = stock - 1 WHERE sku = 'LAMP-LAST' AND stock > 0").rowcount
        connection.commit()
        return sold

    sold = [sale.result() for sale in [background(buy, connect()) for _ in range(WRITERS)]]

    assert sorted(sold) == [0] * (WRITERS - 1) + [1]
    assert db.execute("SELECT stock FROM items WHERE sku = 'LAMP-LAST'").fetchone() == (0,)


def test_a_second_writer_waits_for_the_first_and_then_sees_its_change(connect, background, until_blocked):
    first, second = connect(), connect()
    first.execute("UPDATE items SET stock = 7 WHERE sku = 'MUG-BLUE'")

    waiting = background(second.execute, "SELECT stock FROM items WHERE sku = 'MUG-BLUE' FOR UPDATE")
    until_blocked(second)
    first.commit()

    assert waiting.result().fetchone() == (7,)


def test_nowait_is_refused_at_once_instead_of_waiting(connect):
    first, second = connect(), connect()
    first.execute("SELECT FROM items WHERE sku = 'MUG-BLUE' FOR UPDATE")

    with pytest.raises(errors.LockNotAvailable):
        second.execute("SELECT FROM items WHERE sku = 'MUG-BLUE' FOR UPDATE NOWAIT")


def test_skip_locked_gives_each_worker_a_job_of_its_own(db, connect):
    db.execute("UPDATE orders SET status = 'paid'")
    workers = [connect(), connect(), connect()]

    next_job = "SELECT id FROM orders WHERE status = 'paid' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1"
    jobs = [worker.execute(next_job).fetchone() for worker in workers]

    assert jobs == [(1,), (2,), None], "the third finds nothing to do, and doesn't wait either"


def test_of_two_who_take_the_same_address_the_second_is_refused(db, connect, background, until_blocked):
    first, second = connect(), connect()
    first.execute(NEW_USER)

    waiting = background(second.execute, NEW_USER)
    until_blocked(second)
    first.commit()

    with pytest.raises(errors.UniqueViolation):
        waiting.result()
    assert db.execute("SELECT count(*) FROM users WHERE email = 'new@example.com'").fetchone() == (1,)


def test_when_the_first_gives_up_the_second_gets_the_address(db, connect, background, until_blocked):
    first, second = connect(), connect()
    first.execute(NEW_USER)

    waiting = background(second.execute, NEW_USER)
    until_blocked(second)
    first.rollback()

    assert waiting.result().rowcount == 1


def test_of_two_who_wait_for_each_other_one_is_refused_and_the_other_gets_through(connect, background, until_blocked):
    lock = "UPDATE items SET stock = stock - 1 WHERE sku = %s"
    first, second = connect(), connect()
    for connection in (first, second):
        connection.execute("SET deadlock_timeout = '50ms'")  # how long before PostgreSQL looks for a cycle
    first.execute(lock, ["MUG-BLUE"])
    second.execute(lock, ["PENCIL-HB"])

    crossing = background(first.execute, lock, ["PENCIL-HB"])
    until_blocked(first)
    crossing_too = background(second.execute, lock, ["MUG-BLUE"])
    wait([crossing, crossing_too], timeout=5)

    outcomes = [crossing.exception(), crossing_too.exception()]
    assert sum(isinstance(outcome, psycopg.errors.DeadlockDetected) for outcome in outcomes) == 1
    assert outcomes.count(None) == 1
