"""Fixtures on a real PostgreSQL and a real Redis."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itest.data import fixtures
from itest.errors import ItestError

Write = Callable[..., Path]
Conn = psycopg.Connection
Load = Callable[[], Any]


@pytest.fixture
def load(dsn: str, tmp_path: Path) -> Load:
    """Load what the test has written to f/."""

    def now() -> list[fixtures.Loaded]:
        found = fixtures.discover([Path("f")], root=tmp_path, kinds={"db": "postgres"})
        return fixtures.load(found, {"db": dsn})

    return now


def refused(load: Load) -> str:
    with pytest.raises(ItestError) as caught:
        load()
    assert (caught.value.category, caught.value.cause) == ("data", "fixture")
    return str(caught.value)


def rows(conn: Conn, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query.encode()).fetchall()


def test_values_arrive_as_their_column_says(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(
        """CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN cents AS int CHECK (VALUE >= 0);
           CREATE TABLE t (id int PRIMARY KEY, at timestamptz, price numeric, big bigint, body jsonb, raw json,
                           tags text[], grid int[], data bytea, mood mood, nothing text, span int4range, ok bool,
                           day date, cost cents, wait interval, "Odd Name%s" text)"""
    )
    row = (
        '{"id": 1, "at": "2024-02-29T12:00:00.123456+02:00", "price": 12345678901234567890.123456789000,'
        ' "big": 9007199254740993, "body": {"a": [1, null]}, "raw": {"b":  1.50}, "tags": ["x", null, "y,\\"z"],'
        ' "grid": [[1, 2], [3, 4]], "data": "\\\\xDEAD00", "mood": "happy", "nothing": null,'
        ' "span": "[1,5)", "ok": true, "day": "infinity", "cost": 5, "wait": "1 day 02:00", "Odd Name%s": "é💡"}'
    )
    write("f/a.json", '{"t": [' + row + "]}")
    load()
    (got,) = rows(conn, "SELECT at, price::text, big, body, raw::text, tags, grid, data, mood, nothing FROM t")
    when = datetime.datetime(2024, 2, 29, 10, 0, 0, 123456, datetime.timezone.utc)
    assert got[0] == when
    assert got[1:] == (
        *("12345678901234567890.123456789000", 9007199254740993, {"a": [1, None]}, '{"b":  1.50}'),
        *(["x", None, 'y,"z'], [[1, 2], [3, 4]], b"\xde\xad\x00", "happy", None),
    )
    rest = rows(conn, 'SELECT span::text, ok, day::text, cost, wait, "Odd Name%s" FROM t')
    assert rest == [("[1,5)", True, "infinity", 5, datetime.timedelta(days=1, hours=2), "é💡")]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


ROWS = st.fixed_dictionaries(
    {
        "number": st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**20), max_value=10**20),
        "words": st.lists(st.none() | TEXTS, max_size=4),
        "body": JSON,
        "data": st.binary(max_size=20),
        "at": st.datetimes(),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=ROWS)
def test_values_round_trip(conn: Conn, write: Write, load: Load, row: dict[str, Any]) -> None:
    conn.execute("DROP TABLE IF EXISTS t")
    conn.execute("CREATE TABLE t (number numeric, words text[], body jsonb, data bytea, at timestamp)")
    plain = row | {"data": "\\x" + row["data"].hex(), "at": row["at"].isoformat()}
    number = f"{plain.pop('number'):f}"  # a JSON number with more digits than a float holds
    write("f/a.json", f'{{"t": [{{"number": {number}, {json.dumps(plain)[1:]}]}}')
    load()
    (got,) = rows(conn, "SELECT number, words, body, data, at FROM t")
    assert got == (row["number"], row["words"], row["body"], row["data"], row["at"])


def test_a_left_out_column_gets_its_default_and_null_stays_null(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(
        """CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, n serial, s text DEFAULT 'é 100%s',
                           up text GENERATED ALWAYS AS (upper(s)) STORED)"""
    )
    write("f/a.json", '{"t": [{}, {"s": null}, {"id": 10}, {"s": "x", "n": 7}, {}]}')
    load()
    assert rows(conn, "SELECT * FROM t") == [
        (1, 1, "é 100%s", "É 100%S"),
        (2, 2, None, None),
        (10, 3, "é 100%s", "É 100%S"),
        (3, 7, "x", "X"),
        (4, 4, "é 100%s", "É 100%S"),
    ]
    conn.execute("INSERT INTO t DEFAULT VALUES")
    assert rows(conn, "SELECT id, n FROM t ORDER BY id DESC LIMIT 1") == [(11, 8)]


def test_rows_without_any_column_get_defaults_only(conn: Conn, write: Write, load: Load) -> None:
    conn.execute("CREATE TABLE t (g int GENERATED ALWAYS AS (1) STORED, id int GENERATED ALWAYS AS IDENTITY)")
    write("f/a.json", '{"t": [{}, {}]}')
    load()
    assert rows(conn, "TABLE t") == [(1, 1), (1, 2)]


def test_foreign_keys_decide_the_order_cycles_included(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(
        "CREATE SCHEMA hr; CREATE TABLE hr.teams (id int PRIMARY KEY, lead int NOT NULL);"
        "CREATE TABLE people (id int PRIMARY KEY, team int NOT NULL REFERENCES hr.teams, boss int REFERENCES people);"
        "ALTER TABLE hr.teams ADD FOREIGN KEY (lead) REFERENCES people;"
        "CREATE TABLE orders (id int PRIMARY KEY, person int NOT NULL REFERENCES people);"
    )
    write(
        "f/a.json",
        '{"orders": [{"id": 1, "person": 2}],'
        ' "people": [{"id": 2, "team": 1, "boss": 1}, {"id": 1, "team": 1}],'
        ' "hr.teams": [{"id": 1, "lead": 2}]}',
    )
    (loaded,) = load()
    assert (loaded.files, loaded.rows) == (1, 4)
    assert rows(conn, "SELECT count(*) FROM orders") == [(1,)]


def test_triggers_see_the_parents_that_they_look_up(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(
        """CREATE TABLE items (id int PRIMARY KEY, price int);
           CREATE TABLE lines (item int REFERENCES items, price int NOT NULL);
           CREATE FUNCTION price() RETURNS trigger LANGUAGE plpgsql
           AS 'BEGIN NEW.price := (SELECT price FROM items WHERE id = NEW.item); RETURN NEW; END';
           CREATE TRIGGER price BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION price()"""
    )
    write("f/a.json", '{"lines": [{"item": 1}], "items": [{"id": 1, "price": 5}]}')
    load()
    assert rows(conn, "TABLE lines") == [(1, 5)]


def test_sequences_stand_past_what_sql_and_json_seeded(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(
        """CREATE SEQUENCE shared;
           CREATE TABLE a (id int DEFAULT nextval('shared'));
           CREATE TABLE b (id int DEFAULT nextval('shared'));
           CREATE TABLE "C" ("Id" serial);
           CREATE TABLE d (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1), p int) PARTITION BY LIST (p);
           CREATE TABLE d1 PARTITION OF d FOR VALUES IN (1);
           CREATE TABLE e (id serial);
           CREATE TABLE g (id serial);
           CREATE TABLE h (id bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 10))"""
    )
    write(
        "f/1.sql",
        """INSERT INTO a VALUES (50); INSERT INTO "C" VALUES (9); INSERT INTO e DEFAULT VALUES;
                        SELECT setval('g_id_seq', 20)""",
    )
    write("f/2.json", '{"b": [{"id": 40}], "d": [{"id": -5, "p": 1}], "g": [{"id": 3}], "h": [{"id": 99}]}')
    load()
    nexts = """SELECT nextval('shared'), nextval('"C_Id_seq"'), nextval('d_id_seq'), nextval('e_id_seq'),
                      nextval('g_id_seq'), nextval('h_id_seq')"""
    assert rows(conn, nexts) == [(51, 10, -6, 2, 21, 1)]


def test_files_go_in_order_and_none_stays_when_a_later_one_fails(conn: Conn, write: Write, load: Load) -> None:
    conn.execute("CREATE TABLE t (id serial PRIMARY KEY)")
    write("f/1.sql", "INSERT INTO t VALUES (1)")
    write("f/2.json", '{"t": [{"id": 2}]}')
    write("f/3.sql", "INSERT INTO t SELECT id + 1 FROM t;\nINSERT INTO t VALUES (3)")
    shown = refused(load)
    assert 'fixture f/3.sql:1: duplicate key value violates unique constraint "t_pkey"' in shown
    assert "hint: correct f/3.sql:1 and run again; nothing of it was applied" in shown
    assert rows(conn, "TABLE t") == []
    assert rows(conn, "SELECT last_value, is_called FROM t_id_seq") == [(1, False)]


def test_a_sql_file_that_relies_on_a_sequence_after_json_is_told_when_sequences_move(
    conn: Conn, write: Write, load: Load
) -> None:
    conn.execute("CREATE TABLE t (id serial PRIMARY KEY)")
    write("f/1.json", '{"t": [{"id": 1}]}')
    write("f/2.sql", "INSERT INTO t DEFAULT VALUES")

    assert refused(load).endswith(
        "hint: correct f/2.sql:1 and run again; nothing of it was applied; "
        "sequences pass the ids of JSON files once all are loaded, so f/2.sql gives its own"
    )


SHOP = """
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE users (id int PRIMARY KEY, email varchar(10) NOT NULL UNIQUE, age int CHECK (age > 0), mood mood,
                        boss int REFERENCES users, up text GENERATED ALWAYS AS (upper(email)) STORED);
    CREATE TABLE orders (id serial PRIMARY KEY, "user" int REFERENCES users, note text,
                         "Twin" int UNIQUE DEFERRABLE INITIALLY DEFERRED)
"""


@pytest.mark.parametrize(
    ("second", "problem", "detail"),
    [
        ('{"id": 2, "email": null}', 'null value in column "email"', "Failing row"),
        ('{"id": 2, "email": "a"}', "duplicate key value violates", "Key (email)=(a) already exists"),
        ('{"id": 2, "email": "b", "age": 0}', 'violates check constraint "users_age_check"', "Failing row"),
        ('{"id": 2, "email": "b", "age": "old"}', 'invalid input syntax for type integer: "old"', ""),
        ('{"id": 2, "email": "b", "mood": "angry"}', "invalid input value for enum mood", ""),
        ('{"id": 2, "email": "far too long"}', "value too long for type character varying(10)", ""),
        ('{"id": 2, "email": "b\\u0000"}', "unsupported Unicode escape sequence", ""),
        ('{"id": 2, "email": "b", "boss": 9}', "violates foreign key constraint", "Key (boss)=(9) is not present"),
        ('{"id": 2, "email": "b", "up": "B"}', "cannot insert a non-DEFAULT value into column", "generated column"),
    ],
)
def test_a_row_that_is_refused_is_named(
    conn: Conn, write: Write, load: Load, second: str, problem: str, detail: str
) -> None:
    conn.execute(SHOP)
    write(
        "f/a.json",
        '{"users": [\n  {"id": 1, "email": "a", "boss": 3},\n  ' + second + ',\n  {"id": 3, "email": "c"}\n]}',
    )
    shown = refused(load)
    assert shown.startswith("itest: error: fixture f/a.json:3: users row 2: ")
    assert problem in shown
    assert detail in shown
    assert rows(conn, "TABLE users") == []


def test_a_parent_that_is_nowhere_is_told_by_row(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(SHOP)
    write("f/a.json", '{"users": [{"id": 1, "email": "a"}]}')
    write("f/b.json", '{"orders": [{"user": 1},\n{"user": 1},\n{"user": 7, "note": "lost"}]}')
    shown = refused(load)
    assert "fixture f/b.json:3: orders row 3: insert or update" in shown
    assert '{"user": 7, "note": "lost"}' in shown
    assert rows(conn, "TABLE users") == []


def test_a_deferred_constraint_is_told_by_row_too(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(SHOP)
    write("f/a.json", '{"orders": [{"Twin": 1},\n{"Twin": 2},\n{"Twin": 2}]}')
    shown = refused(load)
    assert "fixture f/a.json:3: orders row 3: duplicate key value violates" in shown
    assert rows(conn, "TABLE orders") == []


def test_a_deferred_constraint_that_sql_broke_is_told_by_table(conn: Conn, write: Write, load: Load) -> None:
    conn.execute(SHOP)
    write("f/a.sql", 'INSERT INTO orders ("Twin") VALUES (2), (2)')
    assert "fixtures: duplicate key value violates unique constraint" in refused(load)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"user": []}', "fixture f/a.json:2: no table user\nhint: did you mean `users`?"),
        (
            '{"users": [{"id": 1},\n{"emial": "b"}]}',
            "f/a.json:2: users row 2: no column emial\nhint: did you mean `email`?",
        ),
        ('{"users": [{"id": 1}],\n"public.users": []}', "f/a.json:2: users and public.users are the same table"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_right_one(
    conn: Conn, write: Write, load: Load, text: str, message: str
) -> None:
    conn.execute(SHOP)
    write("f/a.json", text)
    assert message in refused(load)


def test_a_locked_table_ends_the_wait_with_who_holds_it(
    dsn: str, conn: Conn, write: Write, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itest.data.fixtures_postgres.LOCK_TIMEOUT", 0.2)
    conn.execute(SHOP)
    write("f/a.json", '{"users": [{"id": 1, "email": "a"}]}')
    with psycopg.connect(dsn, application_name="shop") as other:
        other.execute("LOCK TABLE users IN SHARE MODE")
        assert f"pid {other.info.backend_pid} (shop), idle in transaction" in refused(load)


def test_redis_gets_its_types_and_expiry_and_seeding_twice_changes_nothing(
    redis_url: str, tmp_path: Path, write: Write
) -> None:
    text = """{"n": 1.50, "h": {"hash": {"f": 1}, "ttl": 60}, "l": {"list": ["b", "a", "b"]}, "t": {"set": ["x", "x"]},
               "z": {"zset": {"ada": 2, "bob": 1.5}}}"""
    write("f/a.cache.json", text)
    found = fixtures.discover([Path("f")], root=tmp_path, kinds={"cache": "redis"})
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for _ in range(2):
            (loaded,) = fixtures.load(found, {"cache": redis_url})
            assert loaded.rows == 5
            assert client.get("n") == "1.50"
            assert client.hgetall("h") == {"f": "1"}
            assert 55_000 < client.pttl("h") <= 60_000
            assert client.lrange("l", 0, -1) == ["b", "a", "b"]
            assert client.smembers("t") == {"x"}
            assert client.zrange("z", 0, -1, withscores=True) == [("bob", 1.5), ("ada", 2.0)]


def test_a_redis_that_refuses_the_password_is_no_matter_of_data(redis_url: str) -> None:
    fixture = fixtures.Fixture("cache", "redis", None, commands=(("SET", "a", "1"),))
    with pytest.raises(ItestError, match="redis 127") as caught:
        fixtures.load([fixture], {"cache": redis_url.replace("it%3Aest", "wrong")})
    assert caught.value.category == "service"
