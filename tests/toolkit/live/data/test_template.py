"""Sealed templates, and databases made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from itest import suite
from itest.data import baseline, blueprint, data, migrations, template
from itest.errors import ItestError

ROOT = Path(__file__).resolve().parents[4]
Conn = psycopg.Connection

# What a copy by CREATE DATABASE … TEMPLATE alone would lose, and what it keeps.
FACTS = """
    SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(d.oid, 'pg_database'), datacl::text,
           encoding, datcollate, datctype, datallowconn, datistemplate,
           ARRAY(SELECT setrole::regrole::text || array_to_string(setconfig, ';') FROM pg_db_role_setting
                 WHERE setdatabase = d.oid ORDER BY 1)
    FROM pg_database d WHERE datname = %s
"""


@pytest.fixture
def dsn(dsn: str) -> Iterator[str]:
    """The same, and whatever was made of its database is dropped."""
    yield dsn
    with template.maintenance(dsn) as admin:
        for name in databases(admin, f"{template.database_of(dsn)}_itest_"):
            template.drop(admin, name)


@pytest.fixture
def admin(dsn: str) -> Iterator[Conn]:
    with template.maintenance(dsn) as session:
        yield session


def databases(conn: Conn, prefix: str) -> list[str]:
    rows = conn.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [prefix])
    return [name for (name,) in rows]


def sibling(dsn: str, tail: str) -> str:
    return template.named(template.database_of(dsn), tail)


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as session:
        return session.execute(query.encode()).fetchall()


@contextmanager
def owned(conn: Conn, name: str) -> Iterator[None]:
    """The test's database belongs to a role, has settings, privileges, a limit and a comment."""
    with ExitStack() as undo:
        for role in ("tpl_owner", 'tpl "reader"'):
            conn.execute(SQL("CREATE ROLE {}").format(Identifier(role)))
            undo.callback(conn.execute, SQL("DROP ROLE {}").format(Identifier(role)))
            undo.callback(conn.execute, SQL("DROP OWNED BY {}").format(Identifier(role)))
        database, reader = Identifier(name), Identifier('tpl "reader"')
        for statement in (
            "ALTER DATABASE {0} OWNER TO tpl_owner",
            "ALTER DATABASE {0} CONNECTION LIMIT 77",
            """ALTER DATABASE {0} SET search_path TO "Odd, one", public""",
            "ALTER DATABASE {0} SET app.motto = 'it''s; fine'",
            "ALTER ROLE {1} IN DATABASE {0} SET statement_timeout = '7s'",
            "REVOKE ALL ON DATABASE {0} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {0} TO {1} WITH GRANT OPTION",
            "COMMENT ON DATABASE {0} IS 'it''s {{mine}} %s'",
        ):
            conn.execute(SQL(statement).format(database, reader))
        yield
        conn.execute(SQL("ALTER DATABASE {} OWNER TO postgres").format(database))
        for copy in databases(conn, f"{name}_itest_"):
            template.drop(conn, copy)


def test_a_sealed_template_lets_nobody_in(dsn: str, conn: Conn) -> None:
    conn.execute("CREATE TABLE t AS SELECT 1 AS i")
    assert not template.is_sealed(conn)
    assert template.seal(conn) == []
    assert template.is_sealed(conn)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(template.dsn_of(dsn, sibling(dsn, "template")))


def test_sealing_again_replaces_the_template(dsn: str, conn: Conn, admin: Conn) -> None:
    template.seal(conn)
    conn.execute("CREATE TABLE t AS SELECT 1 AS i")
    template.seal(conn)
    template.create(admin, sibling(dsn, "1"), template.database_of(dsn))
    assert rows(template.dsn_of(dsn, sibling(dsn, "1")), "TABLE t") == [(1,)]


def test_who_is_connected_while_it_is_sealed_is_ended_and_named(dsn: str, conn: Conn) -> None:
    with psycopg.connect(dsn, application_name="shop", autocommit=True) as service:
        service.execute("SELECT 'busy'")
        (said,) = template.seal(conn)
        assert said == f"pid {service.info.backend_pid} (shop), idle: SELECT 'busy'"
        with pytest.raises(psycopg.OperationalError):
            service.execute("SELECT 1")
    assert template.is_sealed(conn)


def test_a_session_that_soon_goes_by_itself_is_not_ended(dsn: str, conn: Conn) -> None:
    with psycopg.connect(dsn, autocommit=True) as probe, ThreadPoolExecutor(1) as thread:
        leaving = thread.submit(lambda: (probe.execute("SELECT pg_sleep(0.05)"), probe.close()))
        assert template.seal(conn) == []
        leaving.result()


def test_files_are_copied_where_nothing_is_synced(conn: Conn) -> None:
    statement = blueprint.read(conn, conn.info.dbname).create("copy").as_string(conn)
    assert statement.endswith(" STRATEGY FILE_COPY"), "this server has fsync=off"


def test_a_copy_has_what_create_database_leaves_behind(dsn: str, conn: Conn, admin: Conn) -> None:
    name = template.database_of(dsn)
    with owned(conn, name):
        template.seal(conn)
        template.create(admin, sibling(dsn, "1"), name)
        original = admin.execute(FACTS, [name]).fetchone()
        assert original is not None
        assert len(original[9]) == 2, "the settings that this test made"
        assert admin.execute(FACTS, [sibling(dsn, "1")]).fetchone() == original


def test_a_copy_of_a_plain_database_is_plain(dsn: str, conn: Conn, admin: Conn) -> None:
    template.seal(conn)
    template.create(admin, sibling(dsn, "1"), template.database_of(dsn))
    assert admin.execute(FACTS, [sibling(dsn, "1")]).fetchone() == admin.execute(FACTS, [conn.info.dbname]).fetchone()


def test_a_rebuilt_database_is_as_it_was_sealed(dsn: str, conn: Conn) -> None:
    conn.execute("CREATE TABLE t AS SELECT 1 AS i")
    baseline.prepare(conn, fingerprint="these files")
    template.seal(conn)
    conn.execute(SQL("ALTER DATABASE {} SET work_mem = '1MB'; DROP TABLE t").format(Identifier(conn.info.dbname)))
    (said,) = template.rebuild(dsn)
    assert f"pid {conn.info.backend_pid}" in said
    assert rows(dsn, "TABLE t") == [(1,)]
    with psycopg.connect(dsn, autocommit=True) as anew:
        assert baseline.fingerprint(anew) == "these files"
        assert anew.execute(FACTS, [anew.info.dbname]).fetchall()[0][9] == []
        assert template.is_sealed(anew), "for the next time"


def test_a_worker_s_database_is_rebuilt_from_the_same_template(dsn: str, conn: Conn, admin: Conn) -> None:
    conn.execute("CREATE TABLE t AS SELECT 1 AS i")
    template.seal(conn)
    template.create(admin, sibling(dsn, "3"), template.database_of(dsn))
    worker = template.dsn_of(dsn, sibling(dsn, "3"))
    with psycopg.connect(worker) as session:
        session.execute("DROP TABLE t")
    template.rebuild(worker)
    assert rows(worker, "TABLE t") == [(1,)]


def test_without_a_template_nothing_is_dropped(dsn: str, conn: Conn, admin: Conn) -> None:
    missing = f"database {sibling(dsn, 'template')}: not on this server"
    for attempt in (lambda: template.rebuild(dsn), lambda: template.create(admin, "x_itest_1", conn.info.dbname)):
        with pytest.raises(ItestError, match=missing) as caught:
            attempt()
        assert (caught.value.category, caught.value.cause) == ("data", "template")
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_what_the_server_refuses_is_said_in_its_words(dsn: str, conn: Conn, admin: Conn) -> None:
    template.seal(conn)
    with pytest.raises(ItestError, match='database "postgres" already exists'):
        template.create(admin, "postgres", conn.info.dbname)


def test_dropping_takes_connected_and_sealed_ones_and_none_at_all(dsn: str, conn: Conn, admin: Conn) -> None:
    template.seal(conn)
    name = sibling(dsn, "1")
    template.create(admin, name, conn.info.dbname)
    with psycopg.connect(template.dsn_of(dsn, name)):
        template.drop(admin, name)
    template.unseal(conn)
    template.drop(admin, name)
    assert databases(admin, f"{conn.info.dbname}_itest_") == []


def test_a_database_of_a_long_and_odd_name_can_be_sealed_and_rebuilt(server: str) -> None:
    name = 'wé"ird; %s {}/?#@ ' + "x" * 40
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            odd = template.dsn_of(server, name)
            with psycopg.connect(odd, autocommit=True) as session:
                session.execute("CREATE TABLE t AS SELECT 1 AS i")
                template.seal(session)
                session.execute("DROP TABLE t")
            template.rebuild(odd)
            assert rows(odd, "TABLE t") == [(1,)]
        finally:
            template.drop(admin, name)
            template.drop(admin, template.named(name, "template"))


def test_names_are_siblings_and_fit() -> None:
    assert template.named("app", "template") == "app_itest_template"
    assert template.named("app_itest_3", "template") == "app_itest_template"
    long = template.named("é" * 31, "template")
    assert template.named(template.named("é" * 31, "3"), "template") == long
    assert template.named("é" * 30 + "e", "template") != long
    assert len(template.named("é" * 31, "x" * 24).encode()) <= 63


@pytest.fixture
def plan() -> Callable[[str], data.Plan]:
    """A plan without files, for a suite that has nothing but PostgreSQL."""
    found = suite.load(ROOT, "database")
    only = {name: service for name, service in found.services.items() if service.kind == "postgres"}
    return lambda isolation: data.Plan(replace(found, isolation=isolation, services=only), [], [])


def test_the_data_stage_seals_and_does_so_again_where_the_template_is_gone(
    dsn: str, conn: Conn, plan: Callable[[str], data.Plan]
) -> None:
    addresses = {"postgres": dsn}
    conn.close()
    data.prepare(plan("delete"), addresses)
    assert data.prepare(plan("delete"), addresses) == "seeded before"
    with psycopg.connect(dsn, autocommit=True) as session:
        assert template.is_sealed(session)
        template.unseal(session)
    assert data.prepare(plan("delete"), addresses) != "seeded before"
    with psycopg.connect(dsn, autocommit=True) as session:
        assert template.is_sealed(session)


def test_isolation_none_pays_for_no_template(dsn: str, conn: Conn, plan: Callable[[str], data.Plan]) -> None:
    data.prepare(plan("none"), {"postgres": dsn})
    assert data.prepare(plan("none"), {"postgres": dsn}) == "seeded before"
    assert not template.is_sealed(conn)


def test_a_stage_that_fails_leaves_no_template_of_older_files(
    dsn: str, plan: Callable[[str], data.Plan], write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    data.prepare(plan("delete"), {"postgres": dsn})
    write("m/V0001__a.sql", "CREATE nonsense")
    with pytest.raises(ItestError, match="syntax error"):
        data.prepare(
            replace(plan("delete"), migrations=migrations.discover([Path("m")], root=tmp_path)), {"postgres": dsn}
        )
    with psycopg.connect(dsn) as session:
        assert not template.is_sealed(session)
