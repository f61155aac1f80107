"""A test that changes the schema is found out, whoever does it, and told in words; what is no change is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from itest.data import baseline
from itest.data.baseline import Baseline, SchemaChanged
from itest.data.contamination import Contaminated

Conn = psycopg.Connection[Any]

SCHEMA = """
    CREATE TYPE mood AS ENUM ('sad');
    CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL, mood mood);
    CREATE TABLE pets (keeper int REFERENCES people);
    CREATE EXTENSION hstore;
    CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE VIEW v AS SELECT name FROM people;
    CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM people;
    INSERT INTO people (name) VALUES ('ada');
"""
CHANGES = {
    "CREATE TABLE t (id serial)": ["sequence public.t_id_seq added", "table public.t added"],
    "CREATE TABLE t (p int REFERENCES people)": ["table public.people: trigger of a key added", "table public.t added"],
    "DROP TABLE people CASCADE": ["sequence public.people_id_seq dropped", "table public.people dropped"],
    "ALTER TABLE people ADD COLUMN age int": ["table public.people: column age added"],
    "ALTER TABLE people DROP COLUMN mood": ["table public.people: column mood dropped"],
    "ALTER TABLE people ALTER name DROP NOT NULL": ["table public.people: column name changed"],
    "ALTER TABLE people ALTER name SET DEFAULT 'x'": ["table public.people: default of column 2 added"],
    "ALTER TABLE people RENAME name TO called": ["table public.people: column name renamed to called"],
    "ALTER TABLE people RENAME TO persons": ["table public.people renamed to public.persons"],
    "ALTER TABLE people ADD CHECK (id > 0)": ["table public.people: constraint people_id_check added"],
    "ALTER TABLE people ENABLE ROW LEVEL SECURITY": ["table public.people changed"],
    "ALTER TABLE people OWNER TO pg_monitor": ["table public.people changed"],
    "CREATE POLICY p ON people USING (true)": ["table public.people: policy p added"],
    "CREATE UNIQUE INDEX i ON people (name)": ["index public.i added"],
    "GRANT SELECT ON people TO PUBLIC": ["table public.people changed"],
    "COMMENT ON COLUMN people.name IS 'x'": ["comment on column name of table public.people added"],
    "ALTER TYPE mood ADD VALUE 'happy'": ["type public.mood: value happy added"],
    "CREATE DOMAIN d AS int": ["type public.d added"],
    "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'": ["function public.f(integer) changed"],
    "DROP FUNCTION f": ["function public.f(integer) dropped"],
    "REVOKE EXECUTE ON FUNCTION pg_catalog.now() FROM PUBLIC": ["function pg_catalog.now() changed"],
    "CREATE OR REPLACE VIEW v AS SELECT 'x'::text AS name": ["view public.v: query changed"],
    "REFRESH MATERIALIZED VIEW m WITH NO DATA": ["materialized view public.m changed"],
    "ALTER SEQUENCE people_id_seq INCREMENT 5": ["sequence public.people_id_seq: parameters changed"],
    "CREATE SCHEMA s": ["schema s added"],
    "GRANT CREATE ON SCHEMA public TO PUBLIC": ["schema public changed"],
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC": ["default privileges of postgres added"],
    "CREATE STATISTICS st ON id, name FROM people": ["statistics object public.st added"],
    "CREATE PUBLICATION pub": ["publication pub added"],
    "CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)": ["operator public.=== added"],
    "CREATE COLLATION c FROM \"C\"": ["collation public.c added"],
    "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e()": ["event trigger e added"],
    "ALTER TABLE pets DISABLE TRIGGER ALL": ["table public.pets: triggers switched on or off"],
    "CREATE EXTENSION pgcrypto; CREATE EXTENSION citext": ["extension citext added", "extension pgcrypto added"],
    "DROP EXTENSION hstore": ["extension hstore dropped"],
    "CREATE TYPE size AS ENUM ('s', 'm')": ["type public.size added"],
    "ALTER EVENT TRIGGER itest_seeded_sql_drop DISABLE": ["an event trigger came, went or was switched"],
}  # fmt: skip


@pytest.fixture
def way_back(dsn: str, conn: Conn) -> Iterator[Baseline]:
    conn.execute(SCHEMA.encode())
    conn.execute("REFRESH MATERIALIZED VIEW m")
    baseline.prepare(conn)
    with psycopg.connect(dsn, autocommit=True) as session:
        one = Baseline(session)
        one.reset()
        yield one


@pytest.mark.parametrize("statement", CHANGES)
def test_a_change_is_noticed_and_told(conn: Conn, way_back: Baseline, statement: str) -> None:
    conn.execute(statement.encode())
    with pytest.raises(SchemaChanged) as caught:
        way_back.reset()
    assert set(CHANGES[statement]) <= set(caught.value.changes)
    most = 2 if "EXTENSION" in statement else 1 if "TYPE size" in statement or "DISABLE TRIGGER" in statement else 7
    assert len(caught.value.changes) <= most, "what belongs to another thing is not told beside it"
    assert (caught.value.category, caught.value.cause) == ("data", "ddl")
    if "event trigger came" not in str(caught.value):
        assert set(caught.value.changes) <= set(way_back.dirt())
    with pytest.raises(SchemaChanged):
        way_back.reset()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id serial); DROP TABLE t",
        "BEGIN; DROP TABLE people CASCADE; ROLLBACK",
        "COMMENT ON TABLE people IS 'x'; COMMENT ON TABLE people IS NULL",
        "TRUNCATE people, pets RESTART IDENTITY",
        "VACUUM FULL people",
        "ANALYZE",
        "REINDEX TABLE people",
        "REFRESH MATERIALIZED VIEW m",
    ],
)
def test_what_comes_to_nothing_is_no_change(conn: Conn, way_back: Baseline, statement: str) -> None:
    for part in statement.split("; "):
        conn.execute(part.encode())
    way_back.reset()
    assert conn.execute("SELECT id, name FROM people").fetchall() == [(1, "ada")]
    way_back.reset()
    assert way_back.is_clean()
    assert way_back.dirt() == []


def test_what_is_in_a_schema_of_ours_is_no_change(conn: Conn, way_back: Baseline) -> None:
    conn.execute(
        """CREATE SCHEMA itest_schema_1; SET search_path = itest_schema_1;
           CREATE TYPE diet AS ENUM ('meat'); CREATE TYPE span AS RANGE (subtype = int); CREATE DOMAIN d AS int;
           CREATE TABLE t (id int PRIMARY KEY, diet diet, kind d CHECK (kind > 0)); COMMENT ON COLUMN t.id IS 'x';
           COMMENT ON TYPE diet IS 'x'; COMMENT ON CONSTRAINT t_pkey ON t IS 'x';
           CREATE FUNCTION g(diet) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (diet AS int) WITH FUNCTION g;
           CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int); COMMENT ON FUNCTION g IS 'x';
           CREATE FUNCTION less(diet, diet) RETURNS boolean LANGUAGE sql AS 'SELECT true';
           CREATE OPERATOR <<< (FUNCTION = less, LEFTARG = diet, RIGHTARG = diet);
           CREATE OPERATOR CLASS c FOR TYPE diet USING gist AS OPERATOR 1 <<<;
           CREATE TEXT SEARCH CONFIGURATION english (COPY = pg_catalog.english)"""
    )
    assert way_back.dirt() == []
    way_back.reset()


def test_a_temporary_table_does_not_even_make_it_look_closer(conn: Conn, way_back: Baseline) -> None:
    before = conn.execute("SELECT last_value FROM itest_seeded.ddl").fetchone()
    conn.execute("CREATE TEMP TABLE t (id serial PRIMARY KEY); CREATE INDEX ON t (id); DROP TABLE t")
    assert conn.execute("SELECT last_value FROM itest_seeded.ddl").fetchone() == before
    conn.execute("CREATE TABLE t ()")
    assert conn.execute("SELECT last_value FROM itest_seeded.ddl").fetchone() != before


def test_a_session_in_the_role_replica_is_found_out_too(conn: Conn, way_back: Baseline) -> None:
    conn.execute("SET session_replication_role = replica; CREATE TABLE t (id int)")
    with pytest.raises(SchemaChanged, match=r"table public\.t added"):
        way_back.reset()


def test_a_role_without_privileges_is_found_out_too(conn: Conn, way_back: Baseline) -> None:
    conn.execute("GRANT CREATE ON SCHEMA public TO pg_monitor")
    baseline.prepare(conn)
    conn.execute("SET ROLE pg_monitor; CREATE TABLE t (id int)")
    with pytest.raises(SchemaChanged, match=r"table public\.t added"):
        Baseline(way_back.conn).reset()


def test_a_view_that_a_refresh_cannot_bring_back_needs_a_fresh_database(dsn: str, conn: Conn) -> None:
    conn.execute(
        "CREATE TABLE t (); CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t; INSERT INTO t DEFAULT VALUES"
    )
    baseline.prepare(conn)
    conn.execute("REFRESH MATERIALIZED VIEW m")
    with psycopg.connect(dsn, autocommit=True) as session:
        way_back = Baseline(session)
        for _ in range(3):
            with pytest.raises(
                SchemaChanged, match=r"materialized view public\.m: content that a reset can't bring back"
            ):
                way_back.reset()


@pytest.mark.parametrize("statement", ["SELECT lo_put(4711, 0, 'other')", "SELECT lo_unlink(4711)"])
def test_a_seeded_large_object_that_changed_needs_a_fresh_database(dsn: str, conn: Conn, statement: str) -> None:
    conn.execute("SELECT lo_from_bytea(4711, 'seed')")
    baseline.prepare(conn)
    conn.execute(statement.encode())
    with psycopg.connect(dsn, autocommit=True) as session:
        way_back = Baseline(session)
        for _ in range(3):
            with pytest.raises(SchemaChanged, match="large objects: content that a reset can't bring back"):
                way_back.reset()


def test_a_trigger_that_spoils_what_is_restored_is_contamination(conn: Conn, way_back: Baseline) -> None:
    conn.execute(
        """CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := ''spoilt''; RETURN NEW; END';
           CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION spoil();
           ALTER TABLE people ENABLE ALWAYS TRIGGER t"""
    )
    baseline.prepare(conn)
    conn.execute("DELETE FROM people")
    with pytest.raises(Contaminated) as caught:
        Baseline(way_back.conn).reset()
    assert caught.value.cause == "contamination"
    assert "public.people: row not of the baseline: (1,spoilt,)" in caught.value.dirt
    assert "public.people: row missing: (1,ada,)" in caught.value.message


def test_truncate_has_no_event_trigger_and_notices_all_the_same(dsn: str, conn: Conn) -> None:
    conn.execute("CREATE TABLE t (id int)")
    baseline.prepare(conn, strategy="truncate")
    conn.execute("CREATE TABLE leak AS SELECT 1 AS id")
    with psycopg.connect(dsn, autocommit=True) as session:
        way_back = Baseline(session)
        for _ in range(3):
            with pytest.raises(SchemaChanged, match=r"table public\.leak added"):
                way_back.reset()
