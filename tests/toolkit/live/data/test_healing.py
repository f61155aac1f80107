"""What no reset can bring back is told as such, by its table's name, and healed from the sealed template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from itest import suite
from itest.data import baseline, data, migrations, template
from itest.data.baseline import Baseline, Contaminated, SchemaChanged
from itest.errors import ItestError

ROOT = Path(__file__).resolve().parents[4]
Conn = psycopg.Connection[Any]

LEDGER = """
    CREATE TABLE "the Ledger" (id int);
    CREATE TABLE others (id int);
    INSERT INTO others VALUES (1);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''for ever''; END';
    CREATE TRIGGER refuses BEFORE DELETE OR TRUNCATE ON "the Ledger" FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    ALTER TABLE "the Ledger" ENABLE ALWAYS TRIGGER refuses;
"""
LEFT = "SELECT (SELECT count(*) FROM \"the Ledger\"), to_regclass('mine'), to_regnamespace('itest_seeded') IS NULL"


@pytest.fixture
def dsn(dsn: str) -> Iterator[str]:
    """The same, and its template goes with it."""
    yield dsn
    with template.maintenance(dsn) as admin:
        template.drop(admin, template.named(template.database_of(dsn), "template"))


@pytest.fixture
def plan(write: Callable[[str, str], Path], tmp_path: Path) -> data.Plan:
    """One migration that makes the tables, for a suite that has nothing but PostgreSQL."""
    write("m/V0001__ledger.sql", LEDGER)
    found = suite.load(ROOT, "database")
    only = {name: service for name, service in found.services.items() if service.kind == "postgres"}
    return data.Plan(replace(found, services=only), migrations.discover([Path("m")], root=tmp_path), [])


@pytest.fixture
def seeded(dsn: str, plan: data.Plan) -> dict[str, str]:
    """Addresses of the stores, which the plan has filled."""
    data.prepare(plan, {"postgres": dsn})
    return {"postgres": dsn}


def execute(dsn: str, *statements: str) -> Any:
    """The last statement's first row, if it has rows."""
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            cursor = session.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def test_a_reset_that_is_refused_names_the_table_first_and_what_would_help(conn: Conn) -> None:
    conn.execute(LEDGER.encode())
    baseline.prepare(conn)
    conn.execute('INSERT INTO "the Ledger" VALUES (7)')
    with pytest.raises(Contaminated) as caught:
        baseline.reset(conn)
    first = caught.value.message.splitlines()[1]
    assert first == '  public."the Ledger": PostgreSQL refused to restore it: for ever'
    assert (caught.value.category, caught.value.cause) == ("data", "contamination")
    assert caught.value.hint.startswith('public."the Ledger" has a trigger ENABLEd ALWAYS that refuses the reset: ')
    assert '@pytest.mark.isolation("clone")' in caught.value.hint


def test_what_refuses_without_such_a_trigger_is_not_taken_for_one(conn: Conn) -> None:
    conn.execute(
        """CREATE FUNCTION moody() RETURNS boolean LANGUAGE sql AS 'SELECT NOT EXISTS (SELECT FROM pg_settings
               WHERE name = ''session_replication_role'' AND setting = ''replica'')';
           CREATE TABLE t (id int CHECK (moody())); INSERT INTO t VALUES (1)"""
    )
    baseline.prepare(conn)
    conn.execute("DELETE FROM t")
    with pytest.raises(Contaminated) as caught:
        baseline.reset(conn)
    assert 'public.t: PostgreSQL refused to restore it: new row for relation "t" violates' in caught.value.message
    assert "ENABLEd ALWAYS" not in caught.value.hint


def test_the_baselines_own_schema_dropped_is_a_changed_schema(dsn: str, seeded: dict[str, str]) -> None:
    with psycopg.connect(dsn, autocommit=True) as session, psycopg.connect(dsn, autocommit=True) as test:
        way_back = Baseline(session)
        way_back.reset()
        test.execute("DROP SCHEMA itest_seeded CASCADE")
        for _ in range(2):
            with pytest.raises(SchemaChanged, match="the baseline's own schema itest_seeded was dropped"):
                way_back.reset()
        assert way_back.dirt() == ["the baseline's own schema itest_seeded was dropped"]
        with pytest.raises(SchemaChanged, match="the baseline's own schema itest_seeded was dropped"):
            Baseline(session)


@pytest.mark.parametrize("table", ["catalogue", "objects", "state"])
def test_a_part_of_the_baselines_own_schema_dropped_is_one_too(dsn: str, seeded: dict[str, str], table: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        way_back = Baseline(session)
        way_back.reset()
        execute(dsn, f"DROP TABLE itest_seeded.{table}; INSERT INTO others VALUES (2)")
        with pytest.raises(SchemaChanged, match="the baseline's own schema itest_seeded was changed"):
            way_back.reset()
        assert way_back.dirt()


def test_where_there_never_was_a_baseline_the_hint_is_to_seed(conn: Conn) -> None:
    with pytest.raises(ItestError, match="no baseline itest_seeded") as caught:
        Baseline(conn)
    assert caught.value.hint == "make seed makes one"


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE TABLE mine (id int)"], "its schema had been changed: table public.mine added"),
        (['INSERT INTO "the Ledger" VALUES (7)'], 'public."the Ledger": PostgreSQL refused to restore it'),
        (["DROP SCHEMA itest_seeded CASCADE"], "the baseline's own schema itest_seeded was dropped"),
        (
            ["DROP SCHEMA public CASCADE; DROP SCHEMA itest_seeded CASCADE; DROP SCHEMA itest_migrated CASCADE"],
            "the baseline's own schema itest_seeded was dropped",
        ),
    ],
)
def test_to_seed_again_heals_it_and_says_so(
    plan: data.Plan, seeded: dict[str, str], statements: list[str], said: str
) -> None:
    dsn = seeded["postgres"]
    execute(dsn, *statements)
    done = data.reseed(plan, seeded)
    assert done.startswith(f"{conninfo_to_dict(dsn)['dbname']} was made anew, ")
    assert said in done
    assert execute(dsn, LEFT) == (0, None, False)
    assert data.reseed(plan, seeded) == "back to the seeded state"


@pytest.mark.parametrize("statement", ["CREATE TABLE mine (id int)", 'INSERT INTO "the Ledger" VALUES (7)'])
def test_other_files_find_the_way_back_from_it_too(
    plan: data.Plan, seeded: dict[str, str], write: Callable[[str, str], Path], tmp_path: Path, statement: str
) -> None:
    execute(seeded["postgres"], statement)
    write("m/V0002__more.sql", "CREATE TABLE more (id int)")
    later = replace(plan, migrations=migrations.discover([Path("m")], root=tmp_path))
    done = data.reseed(later, seeded)
    assert "was made anew" in done
    assert "1 migration" in done
    assert execute(seeded["postgres"], LEFT) == (0, None, False)


def test_whom_that_disconnected_is_named(plan: data.Plan, seeded: dict[str, str]) -> None:
    with psycopg.connect(seeded["postgres"], autocommit=True, application_name="psql") as person:
        person.execute("CREATE TABLE mine (id int)")
        done = data.reseed(plan, seeded)
        assert f"; ended pid {person.info.backend_pid} (psql), idle: CREATE TABLE mine (id int)" in done
