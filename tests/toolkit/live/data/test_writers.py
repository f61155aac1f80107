"""Others at work while a database returns to its baseline: services, forgotten transactions, forgotten connections."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from itest.data import baseline, sessions
from itest.data.baseline import Baseline
from itest.errors import ItestError

Conn = psycopg.Connection[Any]

SCHEMA = """
    CREATE TABLE a (id serial PRIMARY KEY, n int);
    CREATE TABLE b (id serial PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
    CREATE TABLE c (id serial PRIMARY KEY, b int REFERENCES b ON DELETE CASCADE);
    INSERT INTO a (n) VALUES (1), (2); INSERT INTO b (a) VALUES (1);
"""
WRITES = (
    "INSERT INTO a (n) VALUES (7)",
    "UPDATE a SET n = n + 1 WHERE id = 1",
    "INSERT INTO b (a) VALUES (1)",
    "INSERT INTO c (b) VALUES (1)",
    "DELETE FROM b WHERE id > 1",
    "SELECT * FROM a WHERE id = 2 FOR UPDATE",
    "SELECT nextval('c_id_seq')",
)


@pytest.fixture(params=["delete", "truncate"])
def way_back(request: pytest.FixtureRequest, dsn: str, conn: Conn) -> Iterator[Baseline]:
    conn.execute(SCHEMA.encode())
    baseline.prepare(conn, strategy=request.param)
    with psycopg.connect(dsn, autocommit=True) as session:
        yield Baseline(session)


def rows(conn: Conn) -> list[Any]:
    return [conn.execute(f"SELECT * FROM {table} ORDER BY id".encode()).fetchall() for table in "abc"]


def test_writers_at_work_neither_deadlock_nor_leave_a_row(
    dsn: str, conn: Conn, way_back: Baseline, request: pytest.FixtureRequest
) -> None:
    rounds = 300 if request.node.callspec.params["way_back"] == "delete" else 40  # which waits for each of them
    over = threading.Event()

    def write(seed: int) -> int:
        chance, done = random.Random(seed), 0
        with psycopg.connect(dsn) as session:
            while not over.is_set():
                for statement in sorted(chance.sample(WRITES, 2), key=WRITES.index):  # or they block one another
                    try:
                        session.execute(statement.encode())
                    except psycopg.errors.ForeignKeyViolation:  # its parent was removed by a reset, as it should be
                        session.rollback()
                session.commit()
                done += 1
        return done

    seeded = rows(conn)
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, seed) for seed in range(3)]
        try:
            ended = [way_back.reset().ended for _ in range(rounds)]
        finally:
            over.set()
        assert all(writer.result() > 10 for writer in writers), "a deadlock would have been raised here"
    assert not any(ended)
    way_back.reset()
    assert rows(conn) == seeded
    assert way_back.dirt() == []


def test_a_transaction_left_open_is_ended_and_reported(dsn: str, conn: Conn, way_back: Baseline) -> None:
    seeded = rows(conn)
    with psycopg.connect(dsn, application_name="shop worker") as other:
        other.execute("INSERT INTO a (n) VALUES (42)")
        (ended,) = way_back.reset().ended
        assert (ended.pid, ended.application_name) == (other.info.backend_pid, "shop worker")
        assert (ended.state, ended.query) == ("idle in transaction", "INSERT INTO a (n) VALUES (42)")
        assert 0.2 < ended.seconds < 60
        assert str(ended).startswith(f"pid {ended.pid} (shop worker), idle in transaction for 0.")
        with pytest.raises(psycopg.OperationalError, match="terminat"):
            other.execute("SELECT 1")
    assert rows(conn) == seeded
    assert way_back.reset().ended == ()


def test_one_that_only_reads_is_ended_too(dsn: str, way_back: Baseline) -> None:
    with psycopg.connect(dsn) as other:
        other.execute("SELECT 1")
        assert [one.query for one in way_back.reset().ended] == ["SELECT 1"]
        other.close()


def test_a_transaction_that_ends_in_time_is_waited_for(dsn: str, conn: Conn, way_back: Baseline) -> None:
    seeded = rows(conn)
    with psycopg.connect(dsn) as other:
        other.execute("INSERT INTO a (n) VALUES (42)")
        soon = threading.Timer(0.05, other.commit)
        soon.start()
        outcome = way_back.reset()
        soon.join()
        assert outcome.ended == ()
        assert other.execute("SELECT count(*) FROM a").fetchone() == (2,)
    assert rows(conn) == seeded


@pytest.mark.parametrize("takes_an_id", [True, False])
def test_one_that_was_open_at_a_reset_and_writes_later_is_noticed(
    dsn: str, conn: Conn, way_back: Baseline, takes_an_id: bool
) -> None:
    polite = Baseline(way_back.conn, polite=True)
    seeded = rows(conn)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_current_xact_id()" if takes_an_id else "SELECT 1")
        assert polite.reset().changed == ()
        assert polite.reset().changed == ()
        other.execute("UPDATE a SET n = 42")
        other.commit()
        assert not polite.is_clean()
        assert polite.reset().changed == ("public.a",)
    assert rows(conn) == seeded


def test_whoever_is_polite_ends_nobody_and_names_who_is_in_the_way(dsn: str, way_back: Baseline) -> None:
    with psycopg.connect(dsn, application_name="shop") as other:
        other.execute("UPDATE a SET n = 42")
        with pytest.raises(ItestError, match=rf"pid {other.info.backend_pid} \(shop\), idle in transaction"):
            Baseline(way_back.conn, polite=True).reset()
        other.commit()


def test_a_prepared_transaction_is_rolled_back_and_reported(dsn: str, conn: Conn, way_back: Baseline) -> None:
    seeded = rows(conn)
    way_back.reset()
    with psycopg.connect(dsn) as other:
        other.execute("DELETE FROM c; UPDATE a SET n = 42")
        other.execute("PREPARE TRANSACTION 'forgotten'")
        other.rollback()
    (ended,) = way_back.reset().ended
    assert (ended.application_name, ended.state) == ("forgotten", "prepared transaction")
    assert rows(conn) == seeded
    assert conn.execute("SELECT count(*) FROM pg_prepared_xacts").fetchone() == (0,)


def test_a_killed_process_leaves_nothing_that_the_next_does_not_see(dsn: str, conn: Conn, way_back: Baseline) -> None:
    seeded = rows(conn)
    conn.execute("INSERT INTO a (n) VALUES (42)")
    with psycopg.connect(dsn, autocommit=True) as session:
        assert Baseline(session).reset().changed
    assert rows(conn) == seeded


def test_connections_that_a_test_forgot_are_told_by_their_name(dsn: str, conn: Conn) -> None:
    with (
        psycopg.connect(dsn, application_name="itest:test_refund", autocommit=True) as other,
        psycopg.connect(dsn, application_name="shop"),
    ):
        other.execute("LISTEN news")
        conn.execute("SET application_name = 'itest:self'")
        (found,) = sessions.leaked(conn, "itest:")
        assert (found.pid, found.state, found.query) == (other.info.backend_pid, "idle", "LISTEN news")
