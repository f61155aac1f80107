"""The plain `delete` strategy on a real PostgreSQL and a real Redis."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
import redis

from itest.data import baseline, fixtures_redis
from itest.errors import ItestError

Conn = psycopg.Connection

SCHEMA = """
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE public.itest_migrations (version bigint);
    CREATE TABLE people (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE, boss int REFERENCES people,
        shout text GENERATED ALWAYS AS (upper(name)) STORED, mood mood, extra json, gone int);
    ALTER TABLE people DROP COLUMN gone;
    CREATE TABLE "Odd ""Name%s" ("Strange Column" serial, person int REFERENCES people ON DELETE RESTRICT);
    CREATE SCHEMA other;
    CREATE TABLE other.log (id bigserial, text text);
    CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN INSERT INTO other.log (text) VALUES (TG_OP); RETURN NULL; END';
    CREATE TRIGGER logged AFTER INSERT OR DELETE ON people FOR EACH ROW EXECUTE FUNCTION log();
    CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
    CREATE TABLE base (i int);
    CREATE TABLE derived () INHERITS (base);
    CREATE TABLE nothing ();
    CREATE SEQUENCE loose START 100 INCREMENT 10;
    CREATE SEQUENCE untouched;
    INSERT INTO people (name, mood, extra) VALUES ('ada', 'happy', '{"a": 1.50}'), ('bob', NULL, NULL);
    UPDATE people SET boss = 1 WHERE name = 'bob';
    INSERT INTO "Odd ""Name%s" (person) VALUES (2);
    INSERT INTO parts VALUES (1, '2024-01-05'), (2, '2024-02-05');
    INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2);
    SELECT nextval('loose');
"""
TABLES = ("people", '"Odd ""Name%s"', "other.log", "parts_1", "parts_2", "ONLY base", "derived", "nothing")
SEQUENCES = ("people_id_seq", '"Odd ""Name%s_Strange Column_seq"', "other.log_id_seq", "loose", "untouched")


def state(conn: Conn) -> dict[str, Any]:
    """Everything that a reset must bring back, in physical order."""
    rows = {table: conn.execute(f"SELECT * FROM {table} ORDER BY ctid".encode()).fetchall() for table in TABLES}
    values = {name: conn.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone() for name in SEQUENCES}
    return rows | values


@pytest.fixture
def seeded(conn: Conn) -> dict[str, Any]:
    conn.execute(SCHEMA.encode())
    baseline.prepare(conn)
    return state(conn)


def test_everything_returns_to_the_baseline_exactly(conn: Conn, seeded: dict[str, Any]) -> None:
    for _ in range(3):
        conn.execute(
            b"""INSERT INTO people (name, boss) VALUES ('eve', 1); UPDATE people SET name = 'x' WHERE id = 1;
                DELETE FROM "Odd ""Name%s"; DELETE FROM people WHERE id = 2;
                INSERT INTO "Odd ""Name%s" VALUES (DEFAULT, 1), (DEFAULT, 3);
                UPDATE parts SET day = '2024-02-07' WHERE id = 1; DELETE FROM base; INSERT INTO nothing DEFAULT VALUES;
                SELECT nextval('loose'), nextval('untouched'), setval('people_id_seq', 1, false);
                INSERT INTO itest_migrations VALUES (7)"""
        )
        assert state(conn) != seeded
        baseline.reset(conn)
        assert state(conn) == seeded
    assert conn.execute("SELECT count(*) FROM itest_migrations").fetchone() == (3,)


def test_the_session_is_as_strict_as_before(conn: Conn, seeded: dict[str, Any]) -> None:
    baseline.reset(conn)
    assert conn.execute("SHOW session_replication_role").fetchone() == ("origin",)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("INSERT INTO people (name, boss) VALUES ('x', 99)")


def test_an_open_transaction_of_the_test_itself_is_rolled_back(dsn: str, conn: Conn, seeded: dict[str, Any]) -> None:
    with psycopg.connect(dsn) as own:
        own.execute("DELETE FROM other.log")
        with pytest.raises(psycopg.errors.DivisionByZero):
            own.execute("SELECT 1 / 0")  # from here on the transaction refuses everything
        baseline.reset(own)
        assert own.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert state(conn) == seeded


@pytest.mark.parametrize(
    "statement", ["INSERT INTO people (name) VALUES ('new')", "SELECT * FROM people WHERE id = 1 FOR UPDATE"]
)
def test_a_session_that_keeps_its_locks_is_named(dsn: str, conn: Conn, seeded: dict[str, Any], statement: str) -> None:
    baseline.prepare(conn, lock_timeout=0.2)
    with psycopg.connect(dsn, application_name="shop") as other, psycopg.connect(dsn) as reader:
        reader.execute("TABLE people")
        other.execute("CREATE TABLE fresh (id int); SELECT * FROM itest_seeded.objects FOR UPDATE")
        other.execute(statement.encode())
        with pytest.raises(ItestError, match=r"reset test_\d+: another session kept its locks") as caught:
            baseline.reset(conn)
        assert (caught.value.category, caught.value.cause) == ("data", "reset")
        assert f"pid {other.info.backend_pid} (shop), idle in transaction for" in caught.value.message
        assert statement in caught.value.message
        assert re.search("s, holds (other.log, )?people: ", caught.value.message), (
            "no index, nothing of ours, no number for what isn't committed"
        )
        ending = f"`SELECT pg_terminate_backend({other.info.backend_pid})`"
        assert caught.value.hint == f"COMMIT or ROLLBACK there, or {ending}"
        assert str(reader.info.backend_pid) not in caught.value.message, "who only reads blocks nothing"
        other.rollback()
        baseline.reset(conn)
    assert state(conn) == seeded


def test_role_and_settings_of_the_session_return_too(conn: Conn, seeded: dict[str, Any]) -> None:
    conn.execute("SET search_path = other; SET ROLE pg_monitor")
    baseline.reset(conn)
    assert conn.execute("SELECT current_user::text, current_schema()::text").fetchone() == ("postgres", "public")


def test_whoever_attaches_to_a_prepared_database_can_reset_it(dsn: str, conn: Conn) -> None:
    conn.execute(SCHEMA.encode())
    assert not baseline.fingerprint(conn) is not None
    baseline.prepare(conn)
    before = state(conn)
    conn.execute("INSERT INTO people (name) VALUES ('x')")
    with psycopg.connect(dsn, autocommit=True) as later:
        assert baseline.fingerprint(later) == ""
        baseline.reset(later)
    assert state(conn) == before


def test_preparing_again_takes_a_new_baseline(conn: Conn, seeded: dict[str, Any]) -> None:
    conn.execute("INSERT INTO people (name) VALUES ('new')")
    baseline.prepare(conn)
    now = state(conn)
    conn.execute("TRUNCATE people RESTART IDENTITY CASCADE")
    baseline.reset(conn)
    assert state(conn) == now != seeded


def test_a_changed_schema_is_an_error_that_says_so(conn: Conn, seeded: dict[str, Any]) -> None:
    conn.execute("DROP TABLE nothing")
    with pytest.raises(ItestError, match=r"table public\.nothing dropped") as caught:
        baseline.reset(conn)
    assert caught.value.cause == "ddl"


def test_an_empty_database_can_be_reset(conn: Conn) -> None:
    baseline.prepare(conn)
    baseline.reset(conn)
    assert baseline.fingerprint(conn) == ""


def test_redis_returns_to_its_seed_and_other_databases_stay(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client, redis.Redis.from_url(redis_url[:-1] + "1") as neighbour:
        neighbour.set("mine", "1")
        client.set("leftover", "1")
        seed = [("SET", "a", "1"), ("DEL", "l"), ("RPUSH", "l", "x", "y"), ("PEXPIRE", "l", "60000")]
        for _ in range(2):
            fixtures_redis.reset(client, seed)
            assert sorted(client.keys()) == [b"a", b"l"]
            assert client.lrange("l", 0, -1) == [b"x", b"y"]
            assert client.pttl("l") > 50_000
        assert neighbour.get("mine") == b"1"
