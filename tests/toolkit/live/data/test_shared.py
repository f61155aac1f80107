"""Roles, their settings and the database's own belong to the server or its catalogue: a reset brings them back too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from itest.data import baseline
from itest.data.baseline import Baseline

Conn = psycopg.Connection[Any]

STATE = """
    SELECT rolname, rolsuper, rolcreatedb, rolcanlogin, rolconnlimit, rolpassword
    FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1
"""
MEMBERS = "SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members ORDER BY 1, 2"
SETTINGS = "SELECT setdatabase = 0, setrole::regrole::text, setconfig FROM pg_db_role_setting ORDER BY 1, 2"
OWN = """
    SELECT datdba::regrole::text, datconnlimit, shobj_description(oid, 'pg_database'),
           ARRAY(SELECT x::text FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) x ORDER BY 1)
    FROM pg_database WHERE datname = current_database()
"""
LEAKS = {
    "CREATE ROLE leak LOGIN; GRANT actor TO leak": "role leak",
    "DROP OWNED BY actor; DROP ROLE actor": "role actor",
    "ALTER ROLE actor RENAME TO actress": "role actor",
    "ALTER ROLE actor SUPERUSER CREATEDB NOLOGIN CONNECTION LIMIT 5": "role actor",
    "ALTER ROLE actor PASSWORD 'other'": "role actor: password",
    "ALTER ROLE actor PASSWORD NULL": "role actor: password",
    "GRANT actor TO pg_checkpoint WITH ADMIN OPTION": "role pg_checkpoint: member of actor",
    "REVOKE pg_monitor FROM actor": "role actor: member of pg_monitor",
    "ALTER ROLE actor SET statement_timeout = '1s'": "role actor: settings",
    "ALTER ROLE actor RESET ALL": "role actor: settings",
    "ALTER ROLE actor IN DATABASE {} SET search_path = nowhere": "role actor: settings in this database",
    "ALTER ROLE ALL SET work_mem = '1MB'": "all roles: settings",
    "ALTER DATABASE {} SET search_path = nowhere": "the database: settings",
    "ALTER DATABASE {} RESET ALL": "the database: settings",
    "ALTER DATABASE {} CONNECTION LIMIT 7": "the database's owner, privileges, limit or comment",
    "ALTER DATABASE {} OWNER TO actor": "the database's owner, privileges, limit or comment",
    "GRANT CREATE ON DATABASE {} TO actor": "the database's owner, privileges, limit or comment",
    "REVOKE TEMP ON DATABASE {} FROM PUBLIC": "the database's owner, privileges, limit or comment",
    "COMMENT ON DATABASE {} IS 'x'": "the database's owner, privileges, limit or comment",
}


@pytest.fixture
def way_back(dsn: str, conn: Conn) -> Iterator[Baseline]:
    conn.execute("CREATE TABLE t (id int); CREATE ROLE actor LOGIN PASSWORD 'secret'; GRANT pg_monitor TO actor")
    conn.execute("""ALTER ROLE actor SET search_path = "$user", 'a b', public""")
    conn.execute("ALTER ROLE actor SET my.setting = 'it''s'")
    conn.execute(SQL("ALTER DATABASE {} SET search_path = public, pg_temp").format(Identifier(conn.info.dbname)))
    baseline.prepare(conn)
    with psycopg.connect(dsn, autocommit=True) as session:
        one = Baseline(session)
        one.reset()
        yield one
    conn.execute("RESET ROLE; ALTER ROLE ALL RESET ALL; DROP OWNED BY actor; DROP ROLE actor")


def state(conn: Conn) -> list[Any]:
    return [conn.execute(query.encode()).fetchall() for query in (STATE, MEMBERS, SETTINGS, OWN)]


@pytest.mark.parametrize("statement", LEAKS)
def test_it_does_not_stay(conn: Conn, way_back: Baseline, statement: str) -> None:
    before = state(conn)
    for part in statement.split("; "):
        conn.execute(SQL(part).format(Identifier(conn.info.dbname)))
    assert state(conn) != before
    assert LEAKS[statement] in way_back.dirt()
    assert LEAKS[statement] in way_back.reset().changed
    assert state(conn) == before
    assert way_back.reset().changed == ()
    way_back.reset()
    assert way_back.is_clean()


def test_a_password_set_since_the_baseline_was_taken_is_no_leak(dsn: str, conn: Conn, way_back: Baseline) -> None:
    conn.execute("ALTER ROLE actor PASSWORD 'of this run'")
    before = state(conn)
    with psycopg.connect(dsn, autocommit=True) as session:
        later = Baseline(session)
        assert later.reset().changed == ()
        assert later.dirt() == []
    assert state(conn) == before


def test_no_password_is_kept_in_the_baseline(conn: Conn, way_back: Baseline) -> None:
    kept = conn.execute("SELECT string_agg(r::text, '') FROM itest_seeded.roles r").fetchone()
    assert kept
    assert "actor" in kept[0]
    assert "SCRAM" not in kept[0]


def test_workers_of_one_server_bring_the_same_role_back_without_quarrel(
    server: str, conn: Conn, way_back: Baseline
) -> None:
    names = [f"{conn.info.dbname}_{number}" for number in range(3)]
    with psycopg.connect(server, autocommit=True) as admin:
        for name in names:
            admin.execute(SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(Identifier(name)))
        try:
            before = state(conn)
            for after in _after_resets([make_conninfo(server, dbname=name) for name in names], conn):
                assert after == before
        finally:
            for name in names:
                admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _after_resets(dsns: list[str], conn: Conn) -> Iterator[list[Any]]:
    """The role as it is after each of ten leaks that all workers have set right at the same time."""
    opened = [psycopg.connect(dsn, autocommit=True) for dsn in dsns]
    for session in opened:
        baseline.prepare(session)
    workers = [Baseline(session) for session in opened]
    with ThreadPoolExecutor() as pool:
        for _ in range(10):
            conn.execute("ALTER ROLE actor CREATEDB; ALTER ROLE actor SET work_mem = '1MB'; CREATE ROLE leak")
            assert len(list(pool.map(Baseline.reset, workers))) == 3
            yield state(conn)
    for session in opened:
        session.close()
