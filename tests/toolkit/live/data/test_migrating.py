"""Migrations on a real PostgreSQL."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

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


def invalid(conn: Conn) -> list[tuple[object, ...]]:
    return conn.execute("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid").fetchall()


def until(true: Callable[[], object]) -> None:
    Retrying(retry=retry_if_result(lambda found: not found), wait=wait_fixed(0.02), stop=stop_after_delay(60))(true)


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


def test_sixteen_processes_at_once_neither_deadlock_nor_apply_anything_twice(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a (i int); INSERT INTO a VALUES (1)")
    write(
        "m/V0002__i.sql", "-- itest: no-transaction\nCREATE INDEX CONCURRENTLY ai ON a (i);\nINSERT INTO a VALUES (2)"
    )
    write("m/V0003__c.sql", "INSERT INTO a VALUES (3)")
    waiting = "SELECT count(*) = 16 FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    with ProcessPoolExecutor(16, get_context("spawn")) as pool:
        with psycopg.connect(dsn, autocommit=True) as gate:
            gate.execute("SELECT pg_advisory_lock(%s, %s)", migrate.LOCK)
            runners = [pool.submit(migrate.apply, dsn, found()) for _ in range(16)]
            until(lambda: conn.execute(waiting, ["itest migrate lock"]).fetchone() == (True,))
        assert sorted(len(runner.result()) for runner in runners) == [*[0] * 15, 3]
    assert conn.execute("SELECT i FROM a ORDER BY i").fetchall() == [(1,), (2,), (3,)]
    assert invalid(conn) == []


BUILDING = (
    "-- itest: no-transaction\nCREATE TABLE b ();\n\nCREATE INDEX CONCURRENTLY ai ON a (i);\nCREATE TABLE c ();\n"
)


@contextmanager
def killed(dsn: str, conn: Conn, migrations: list[Migration]) -> Iterator[int]:
    """A runner was killed while its session waits for another one, whose transaction ends with this context. Yields the
    pid of that session."""
    working = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s {}"
    with psycopg.connect(dsn) as other:
        other.execute("INSERT INTO a VALUES (1)")
        runner = get_context("spawn").Process(target=migrate.apply, args=(dsn, migrations))
        runner.start()
        stuck = working.format("AND wait_event_type = 'Lock'").encode()
        until(lambda: conn.execute(stuck, ["itest migrate"]).fetchone())
        runner.kill()
        runner.join()
        ((pid,),) = conn.execute(stuck, ["itest migrate"]).fetchall()
        yield pid


def commands(shown: str) -> list[str]:
    return [line.strip() for line in shown.splitlines() if line.startswith("    ")]


def test_the_runner_after_a_killed_one_says_what_was_left_and_its_commands_mend_it(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    conn.execute("CREATE TABLE a (i int)")
    write("m/V0002__i.sql", BUILDING)
    with killed(dsn, conn, found()) as pid:
        shown = message(dsn, found(), deadline=0.3)
        assert "migrations: the runner is gone, its session still works after 0.3 s more\n" in shown
        assert f"pid {pid}, connected since" in shown
        assert "CREATE INDEX CONCURRENTLY ai ON a (i)" in shown
        assert f"hint: wait for it, or end it: SELECT pg_terminate_backend({pid})" in shown
        conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        shown = message(dsn, found())

    assert re.search(r"m/V0002__i\.sql: pid \d+ on \S+ began it at 20\d\d-\S+ \S+ and never finished\n", shown)
    assert "  took effect: the statement at line 2\n" in shown
    assert "  not known: the statement at line 4: CREATE INDEX CONCURRENTLY ai ON a (i)\n" in shown
    assert "  left invalid: index public.ai on a\n" in shown
    assert migrate.status(dsn, found())[0].applied_at is None
    assert message(dsn, found()) == shown, "as often as it is asked"

    drop, again, _ = commands(shown)
    conn.execute(drop.encode())
    conn.execute(again.encode())
    assert len(migrate.apply(dsn, found())) == 1
    assert tables(conn) == ["a", "b", "c"]
    assert conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ai'::regclass").fetchone() == (True,)
    assert migrate.apply(dsn, found()) == []


def test_a_statement_that_its_session_finished_after_all_can_be_skipped(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    conn.execute("CREATE TABLE a (i int)")
    write("m/V0002__i.sql", BUILDING)
    with killed(dsn, conn, found()):
        pass
    shown = message(dsn, found())
    assert "not known: the statement at line 4" in shown
    assert "left invalid" not in shown
    _, skip = commands(shown)
    conn.execute(skip.encode())
    migrate.apply(dsn, found())
    assert tables(conn) == ["a", "b", "c"]


def test_a_file_in_a_transaction_whose_runner_was_killed_simply_runs(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    conn.execute("CREATE TABLE a (i int)")
    write("m/V0001__b.sql", "CREATE TABLE b ();\nALTER TABLE a ADD j int")
    with killed(dsn, conn, found()):
        pass
    assert len(migrate.apply(dsn, found())) == 1
    assert tables(conn) == ["a", "b"]


def test_a_file_whose_statements_all_took_effect_is_taken_for_applied(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write("m/V0001__a.sql", "-- itest: no-transaction\nCREATE TABLE a ();\nCREATE TABLE b ()")
    migrate.apply(dsn, found())
    conn.execute("UPDATE itest_migrations SET ms = NULL, runner = 'pid 1 on gone', statements = 2")
    assert len(migrate.apply(dsn, found())) == 1
    assert migrate.status(dsn, found())[0].applied_at is not None


def test_a_file_that_was_begun_is_neither_edited_nor_taken_back(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write("m/001_a.up.sql", "-- itest: no-transaction\nCREATE TABLE a ();\nCREATE TABLE b ()")
    write("m/001_a.down.sql", "DROP TABLE a, b")
    migrate.apply(dsn, found())
    conn.execute("UPDATE itest_migrations SET ms = NULL, runner = 'pid 1 on gone', statements = 1")
    with pytest.raises(ItestError, match=r"m/001_a\.up\.sql: begun on .*, but never finished"):
        migrate.down(dsn, found())
    write("m/001_a.up.sql", "CREATE TABLE a ()")
    assert "m/001_a.up.sql: edited after it was begun on 20" in message(dsn, found())


def test_what_a_transaction_inside_a_file_did_counts_when_it_is_committed(
    dsn: str, conn: Conn, write: Write, found: Callable
) -> None:
    write("m/V0001__a.sql", "-- itest: no-transaction\nBEGIN;\nCREATE TABLE a ();\nSELECT i FROM slow;\nCOMMIT")
    conn.execute("CREATE TABLE slow (i int)")
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE slow")
        runner = threading.Thread(target=lambda: message(dsn, found(), deadline=0.5))
        runner.start()
        asked = "SELECT statements FROM itest_migrations WHERE runner IS NOT NULL"
        blocked = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'slow'::regclass"
        until(lambda: conn.execute(blocked).fetchone() is not None)
        assert conn.execute(asked).fetchone() == (0,)
        runner.join()


def test_an_index_that_a_failure_left_invalid_is_named(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    conn.execute("CREATE TABLE a AS SELECT 1 AS i FROM generate_series(1, 2)")
    write("m/V0001__i.sql", "-- itest: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY ai ON a (i)")
    assert "  left invalid: index public.ai on a: DROP INDEX CONCURRENTLY public.ai" in message(dsn, found())
    conn.execute("DROP INDEX ai; DELETE FROM a")
    assert len(migrate.apply(dsn, found())) == 1


def test_records_of_an_older_version_are_understood(dsn: str, conn: Conn, write: Write, found: Callable) -> None:
    write("m/V0001__a.sql", "CREATE TABLE a ()")
    migrate.apply(dsn, found())
    conn.execute("ALTER TABLE itest_migrations DROP runner, DROP statements, ALTER ms SET NOT NULL")
    assert migrate.status(dsn, found())[0].applied_at is not None
    write("m/V0002__b.sql", "-- itest: no-transaction\nCREATE TABLE b ()")
    assert len(migrate.apply(dsn, found())) == 1


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
