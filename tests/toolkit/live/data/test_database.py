"""The connection that tests get: one session, to each test as good as new."""

from __future__ import annotations

import gc

import psycopg
import pytest
from psycopg.rows import dict_row

from itest.errors import ItestError
from itest.isolation.database import Lender, connect


@pytest.fixture
def lender():
    lender = Lender("itest db")
    yield lender
    lender.close()


STATE = """
    SELECT current_setting('application_name'), current_user, current_setting('search_path'),
           (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
           to_regclass('pg_temp.mine'), (SELECT count(*) FROM pg_cursors WHERE is_holdable)
"""


def test_it_is_one_session_and_nothing_of_the_last_test_is_left_in_it(lender, dsn):
    new = psycopg.connect(dsn, autocommit=True, application_name="itest db").execute(STATE).fetchone()
    db = lender.lend(dsn)
    session = db.info.backend_pid
    db.execute(
        "CREATE TEMP TABLE mine (id int); LISTEN news; SET search_path TO pg_catalog; SET application_name TO me"
    )
    db.execute("SELECT pg_advisory_lock(7)")
    db.execute("PREPARE theirs AS SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1; SET ROLE pg_monitor")
    db.execute("SELECT %s", [1], prepare=True)
    db.row_factory = dict_row
    db.autocommit = False
    db.execute("SELECT 1")

    again = lender.lend(dsn)

    assert again.info.backend_pid == session
    assert again.execute(STATE).fetchone() == new
    assert again.autocommit


def test_who_keeps_the_connection_of_an_earlier_test_finds_it_closed(lender, dsn):
    db = lender.lend(dsn)
    lender.lend(dsn)
    assert db.closed
    with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
        db.execute("SELECT 1")


@pytest.mark.parametrize("spoil", ["close", "terminate", "copy", "pipeline"])
def test_a_session_that_a_test_spoiled_is_replaced(lender, dsn, conn, spoil):
    db = lender.lend(dsn)
    if spoil == "close":
        db.close()
    elif spoil == "terminate":
        conn.execute("SELECT pg_terminate_backend(%s, 2000)", [db.info.backend_pid])
    elif spoil == "copy":
        db.pgconn.send_query(b"COPY (SELECT generate_series(1, 100000)) TO STDOUT")
    else:
        db.pgconn.enter_pipeline_mode()

    assert lender.lend(dsn).execute("SELECT 1").fetchone() == (1,)


def test_no_connection_is_left_to_the_garbage_collector(lender, dsn, recwarn):
    for _ in range(3):
        lender.lend(dsn)
    lender.close()
    gc.collect()
    assert [str(one.message) for one in recwarn] == []


def test_a_snapshot_brings_rows_and_sequences_back_whoever_changed_them(dsn, conn):
    with connect(dsn, "test") as db:
        db.execute("CREATE TABLE items (id serial PRIMARY KEY, name text); INSERT INTO items (name) VALUES ('mug')")
        empty_phase = db.snapshot()
        db.execute("INSERT INTO items (name) VALUES ('lamp')")
        db.snapshot()
        conn.execute("DELETE FROM items")
        db.restore()
        assert db.execute("SELECT id, name FROM items ORDER BY id").fetchall() == [(1, "mug"), (2, "lamp")]
        db.restore(empty_phase)
        assert db.execute("SELECT id, name FROM items ORDER BY id").fetchall() == [(1, "mug")]
        assert db.execute("INSERT INTO items (name) VALUES ('desk') RETURNING id").fetchone() == (2,)


@pytest.mark.parametrize("closed", [False, True])
def test_its_snapshots_go_with_the_test(lender, dsn, conn, closed):
    db = lender.lend(dsn)
    db.snapshot()
    db.snapshot()
    if closed:
        db.close()

    lender.take_back()
    if closed:  # that takes a session, which is the next test's
        lender.lend(dsn)

    left = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'itest%'"
    assert conn.execute(left).fetchall() == conn.execute("SELECT evtname FROM pg_event_trigger").fetchall() == []


def test_a_snapshot_that_was_never_taken_is_an_error_that_lists_those_there_are(dsn):
    with connect(dsn, "test") as db:
        with pytest.raises(ItestError, match="no snapshot to return to") as caught:
            db.restore()
        db.snapshot()
        with pytest.raises(ItestError) as caught:
            db.restore("before")
    assert "itest_snapshot_1" in caught.value.hint
