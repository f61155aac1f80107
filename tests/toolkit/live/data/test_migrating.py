"""Migrations on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from itest.data import migrate, migrations
from itest.data.migrations import Migration
from itest.errors import ItestError

Write = Callable[..., Path]
Conn = psycopg.Connection


@pytest.fixture
def found(tmp_path: Path) -> Callable[[], list[Migration]]:
    """The migrations that a test has written to m/ so far."""
    return lambda: migrations.discover([Path("m")], root=tmp_path)


def tables(conn: Conn) -> list[str]:
    rows = conn.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    return sorted(name for (name,) in rows if name != "itest_migrations")


def message(dsn: str, migrations: list[Migration], **options: float) -> str:
    with pytest.raises(ItestError) as caught:
        migrate.apply(dsn, migrations, **options)
    assert (caught.value.category, caught.value.cause) == ("data", "migration")
    return str(caught.value)


def test_pending_files_run_once_in_order_and_are_recorded(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write("m/V0010__b.sql", "INSERT INTO a VALUES (2)")
    write("m/V0009__a.sql", "CREATE TABLE a (i int); INSERT INTO a VALUES (1);")
    assert [state.applied_at for state in migrate.status(dsn, found())] == [None, None]
    assert tables(conn) == [], "asking for the status changes nothing"

    heard: list[migrate.Applied] = []
    done = migrate.apply(dsn, found(), report=heard.append)
    assert [each.migration.version for each in done] == [9, 10]
    assert heard == done
    assert conn.execute("SELECT i FROM a ORDER BY i").fetchall() == [(1,), (2,)]

    assert migrate.apply(dsn, found()) == []
    assert conn.execute("SELECT count(*) FROM a").fetchone() == (2,)
    assert all(state.applied_at and state.ms for state in migrate.status(dsn, found()))


def test_a_failing_statement_is_shown_and_nothing_of_its_file_stays(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a (price int);\n")
    write("m/V0002__b.sql", "CREATE TABLE b ();\n\nSELECT 'é',\n\tpric FROM a;\nCREATE TABLE c ();")
    assert message(dsn, found()) == (
        'itest: error: migration m/V0002__b.sql:4: column "pric" does not exist\n'
        "  4 |     pric FROM a;\n"
        "    |     ^\n"
        '  HINT: Perhaps you meant to reference the column "a.price".\n'
        "  SQLSTATE: 42703\n"
        "hint: correct m/V0002__b.sql:4 and run again; nothing of it was applied"
    )
    assert tables(conn) == ["a"]
    assert [state.applied_at is None for state in migrate.status(dsn, found())] == [False, True]


def test_a_failure_that_postgresql_gives_no_position_for_is_found_by_its_statement(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write(
        "m/V0001__a.sql",
        "CREATE TABLE a (i int CHECK (i > 0));\n--\nINSERT INTO a\n  SELECT 1;\n\n-- bad\nINSERT INTO a SELECT 0;\n",
    )
    shown = message(dsn, found())
    assert (
        'V0001__a.sql:7: new row for relation "a" violates check constraint "a_i_check"\n  7 | INSERT INTO a' in shown
    )
    assert "DETAIL: Failing row contains (0)." in shown
    assert tables(conn) == []


def test_a_syntax_error_is_found_in_a_long_line(dsn: str, write: Write, found: Callable) -> None:
    write("m/V0001__a.sql", "SELECT 1;\nSELECT '" + "x" * 5000 + "' frm a b c; ")
    shown = message(dsn, found())
    assert 'V0001__a.sql:2: syntax error at or near "a"' in shown
    line, caret = shown.splitlines()[1:3]
    assert len(line) < 200
    assert line[caret.index("^")] == "a"


def test_a_deferred_constraint_speaks_up_at_the_commit(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write(
        "m/V0001__a.sql",
        "CREATE TABLE a (i int PRIMARY KEY, p int REFERENCES a INITIALLY DEFERRED);\nINSERT INTO a VALUES (1, 2)",
    )
    shown = message(dsn, found())
    assert 'migration m/V0001__a.sql: at its commit: insert or update on table "a" violates foreign key' in shown
    assert 'Key (p)=(2) is not present in table "a"' in shown
    assert tables(conn) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("CREATE TABLE a ();\nCOPY a FROM STDIN;", ":2: COPY from or to the client"),
        ("CREATE TABLE a (i int);\nCOPY a FROM STDIN;\n1\n\\.\n", "COPY … FROM STDIN: only psql can read data"),
        ("\\restrict abc\nSELECT 1;", r":1: \\restrict is a command of psql, not SQL"),
        (
            "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';\nCALL p();",
            ":2: invalid transaction termination",
        ),
    ],
)
def test_what_a_file_cannot_do_is_said(dsn: str, write: Write, found: Callable, text: str, problem: str) -> None:
    write("m/V0001__a.sql", text)
    assert problem.replace("\\\\", "\\") in message(dsn, found())


def test_a_transaction_that_ends_unforeseen_is_noticed(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    database = Identifier(conn.info.dbname)
    conn.execute(SQL("ALTER DATABASE {} SET standard_conforming_strings = off").format(database))
    write("m/V0001__a.sql", "SELECT '\\''; COMMIT; --'")
    assert "V0001__a.sql: it ended the transaction that it runs in" in message(dsn, found())


def test_a_file_cannot_change_the_session_of_the_next(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write("m/V0001__a.sql", "SELECT pg_catalog.set_config('search_path', '', false); SET ROLE pg_monitor;")
    write("m/V0002__b.sql", "CREATE TABLE b ()")
    migrate.apply(dsn, found())
    assert tables(conn) == ["b"]


def test_outside_a_transaction_statements_are_sent_one_by_one(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a (i int)")
    write("m/V0002__i.sql", "-- itest: no-transaction\nCREATE INDEX CONCURRENTLY ai ON a (i);\nVACUUM a")
    migrate.apply(dsn, found())
    assert conn.execute("SELECT to_regclass('ai')").fetchone() == ("ai",)
    assert migrate.apply(dsn, found()) == []


def test_a_failure_outside_a_transaction_says_what_took_effect(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write(
        "m/V0001__a.sql", "-- itest: no-transaction\nCREATE TABLE a ();\n\nCREATE TABLE b ();\nCREATE TABLE c (i nope);"
    )
    shown = message(dsn, found())
    assert (
        'V0001__a.sql:5: type "nope" does not exist\n  5 | CREATE TABLE c (i nope);\n    |                   ^' in shown
    )
    assert "took effect before: the statements at lines 2, 4" in shown
    assert "hint: undo those of m/V0001__a.sql by hand or make them repeatable" in shown
    assert tables(conn) == ["a", "b"]
    assert migrate.status(dsn, found())[0].applied_at is None


def test_an_edited_file_stops_everything(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a ()")
    migrate.apply(dsn, found())
    write("m/V0001__a.sql", "CREATE TABLE a () \r\n")
    write("m/V0002__b.sql", "CREATE TABLE b ()")
    migrate.apply(dsn, found())
    write("m/V0001__a.sql", "CREATE TABLE aa ()")
    write("m/V0003__c.sql", "CREATE TABLE c ()")
    assert "migration m/V0001__a.sql: edited after it was applied on" in message(dsn, found())
    assert tables(conn) == ["a", "b"]


def test_runners_at_the_same_time_apply_each_file_once(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a (i int); SELECT pg_sleep(0.2)")
    write("m/V0002__b.sql", "-- itest: no-transaction\nCREATE INDEX CONCURRENTLY ai ON a (i)")
    start = threading.Barrier(4)

    def runner(_: int) -> int:
        start.wait()
        return len(migrate.apply(dsn, found()))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(runner, range(4))) == [0, 0, 0, 2]
    assert conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ai'::regclass").fetchone() == (True,)


def test_waiting_for_another_runner_ends_with_its_name(dsn: str, write: Write, found: Callable) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a ()")
    with psycopg.connect(dsn, application_name="somebody else") as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", migrate.LOCK)
        shown = message(dsn, found(), deadline=0.2)
        pid = other.info.backend_pid
    assert f"migrations: another runner held the lock for all of 0.2 s: pid {pid} (somebody else), connected" in shown
    assert f"hint: wait for it, or end it: SELECT pg_terminate_backend({pid})" in shown


def test_waiting_for_a_table_ends_with_who_holds_it(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    conn.execute("CREATE TABLE a ()")
    write("m/V0001__a.sql", "ALTER TABLE a ADD i int")
    with psycopg.connect(dsn, application_name="shop") as other:
        other.execute("TABLE a")
        shown = message(dsn, found(), deadline=0.2)
        pid = other.info.backend_pid
    assert "V0001__a.sql:1: canceling statement due to lock timeout" in shown
    assert f"pid {pid} (shop), idle in transaction for" in shown
    assert "holds a: TABLE a" in shown


def test_the_newest_migration_can_be_taken_back(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write("m/001_a.up.sql", "CREATE TABLE a ()")
    write("m/001_a.down.sql", "DROP TABLE a")
    write("m/V0002__b.sql", "CREATE TABLE b ()")
    migrate.apply(dsn, found())
    with pytest.raises(ItestError, match=r"V0002__b\.sql: no \.down\.sql takes it back"):
        migrate.down(dsn, found())
    conn.execute("DELETE FROM itest_migrations WHERE version = 2; DROP TABLE b")
    assert migrate.down(dsn, found()).version == 1
    assert tables(conn) == []
    assert [state.applied_at for state in migrate.status(dsn, found())] == [None, None]
    migrate.apply(dsn, found())
    assert tables(conn) == ["a", "b"]


def test_a_database_that_does_not_answer_is_no_matter_of_data(dsn: str) -> None:
    with pytest.raises(ItestError, match=r"postgres 127\.0\.0\.1:1/.*: ") as caught:
        migrate.status(psycopg.conninfo.make_conninfo(dsn, port=1), [])
    assert caught.value.category == "service"
    assert "itest@" not in str(caught.value)
