"""Each kind of thing that a test can leave in a database tries to stay, against both strategies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from itest.data import baseline
from itest.data.baseline import Baseline
from itest.errors import ItestError

Conn = psycopg.Connection[Any]
Connect = Callable[[], Conn]

PEOPLE = """
    CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE, boss int REFERENCES people,
                         shout text GENERATED ALWAYS AS (upper(name)) STORED, extra json);
    INSERT INTO people (name, boss, extra) VALUES ('ada', NULL, '{"a": 1.50}'), ('bob', 1, NULL), ('cy', 2, NULL);
"""
AUDIT = """
    CREATE TABLE audit (id bigserial, what text);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.audit (what) VALUES (TG_OP); RETURN NULL; END';
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON people FOR EACH ROW EXECUTE FUNCTION audit();
"""

# What the migrations and fixtures made, then what the test did.
LEAKS = {
    "a row in an empty table": ("CREATE TABLE t (id serial, name text)", "INSERT INTO t (name) VALUES ('x')"),
    "a row beside seeded ones": (PEOPLE, "INSERT INTO people (name) VALUES ('eve')"),
    "a seeded row changed": (PEOPLE, "UPDATE people SET extra = '{\"a\": 1.5}' WHERE name = 'ada'"),
    "a seeded row deleted": (PEOPLE, "DELETE FROM people WHERE name = 'cy'"),
    "as many rows as before, one another": (
        PEOPLE,
        "DELETE FROM people WHERE name = 'cy'; INSERT INTO people (name) VALUES ('dan')",
    ),
    "everything deleted": (PEOPLE, "DELETE FROM people"),
    "everything truncated": (PEOPLE, "TRUNCATE people RESTART IDENTITY"),
    "no columns": ("CREATE TABLE t (); INSERT INTO t DEFAULT VALUES", "INSERT INTO t DEFAULT VALUES"),
    "odd names": (
        'CREATE SCHEMA "Odd %s"; CREATE TABLE "Odd %s"."a ""b" ("C d" serial PRIMARY KEY, "rows" int, x int, o int,'
        'own int, mark int, dirty int, one int, xids int, "x y" int);'
        'INSERT INTO "Odd %s"."a ""b" ("rows") VALUES (1)',
        'UPDATE "Odd %s"."a ""b" SET x = 5; INSERT INTO "Odd %s"."a ""b" (o) VALUES (7)',
    ),
    "a column dropped before": (
        "CREATE TABLE t (a int, b int, c int); ALTER TABLE t DROP COLUMN b; INSERT INTO t VALUES (1, 2)",
        "UPDATE t SET c = 9",
    ),
    "partitions, and a row that moved": (
        "CREATE TABLE p (id int, day date) PARTITION BY RANGE (day);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');"
        "INSERT INTO p VALUES (1, '2024-01-05'), (2, '2024-02-05')",
        "UPDATE p SET day = '2024-02-07' WHERE id = 1; INSERT INTO p VALUES (3, '2024-01-09')",
    ),
    "a foreign key to a partitioned table": (
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY HASH (id);"
        "CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "CREATE TABLE c (p int REFERENCES p); INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1), (2)",
        "INSERT INTO p VALUES (3), (4); INSERT INTO c VALUES (4); DELETE FROM c WHERE p = 1",
    ),
    "inheritance": (
        "CREATE TABLE base (i int); CREATE TABLE derived () INHERITS (base);"
        "INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2)",
        "UPDATE base SET i = i + 10; INSERT INTO derived VALUES (3)",
    ),
    "an unlogged table": (
        "CREATE UNLOGGED TABLE t (id bigserial, name text); INSERT INTO t (name) VALUES ('a')",
        "INSERT INTO t (name) VALUES ('b')",
    ),
    "values too long for a page": (
        "CREATE TABLE t (v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;INSERT INTO t VALUES (repeat('x', 99999))",
        "UPDATE t SET v = v || 'y'",
    ),
    "a table that refers to itself": (PEOPLE, "UPDATE people SET boss = id; DELETE FROM people WHERE id = 2"),
    "ON DELETE CASCADE": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a ON DELETE CASCADE);"
        "INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1), (2)",
        "DELETE FROM a WHERE id = 1",
    ),
    "ON DELETE SET NULL": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a ON DELETE SET NULL);"
        "INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1), (2)",
        "DELETE FROM a WHERE id = 1",
    ),
    "a circle of foreign keys": (
        "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);"
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE;"
        "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1",
        "UPDATE a SET b = NULL; DELETE FROM b; INSERT INTO a VALUES (2)",
    ),
    "a deferred constraint": (
        "CREATE TABLE a (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); INSERT INTO a VALUES (1), (2)",
        "UPDATE a SET id = id + 1",
    ),
    "rows that a trigger wrote": (PEOPLE + AUDIT, "INSERT INTO people (name) VALUES ('eve')"),
    "a trigger that fires in spite of the role": (
        PEOPLE + AUDIT + "ALTER TABLE people ENABLE ALWAYS TRIGGER audit",
        "INSERT INTO people (name) VALUES ('eve')",
    ),
    "a trigger that fires always, and a column that is called as a variable of ours": (
        AUDIT.replace("people", "t").replace(
            "CREATE TABLE audit", "CREATE TABLE t (own int, dirty int); CREATE TABLE audit"
        )
        + "ALTER TABLE t ENABLE ALWAYS TRIGGER audit; INSERT INTO t VALUES (1, 2)",
        "UPDATE t SET dirty = 3",
    ),
    "a trigger for the role alone": (
        PEOPLE + AUDIT + "ALTER TABLE people ENABLE REPLICA TRIGGER audit",
        "UPDATE people SET boss = NULL",
    ),
    "a trigger that is off": (
        PEOPLE + AUDIT + "ALTER TABLE people DISABLE TRIGGER audit",
        "UPDATE people SET boss = NULL",
    ),
    "a rule": (
        PEOPLE + "CREATE TABLE log (i int); CREATE RULE r AS ON INSERT TO people DO ALSO INSERT INTO log VALUES (1)",
        "INSERT INTO people (name) VALUES ('eve')",
    ),
    "rows hidden by a policy": (
        PEOPLE + "ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON people USING (false)",
        "INSERT INTO people (name) VALUES ('eve')",
    ),
    "a sequence": ("CREATE SEQUENCE s START 100 INCREMENT 10", "SELECT nextval('s')"),
    "a sequence that was used": ("CREATE SEQUENCE s; SELECT nextval('s')", "SELECT nextval('s'), nextval('s')"),
    "a sequence set but not used": ("CREATE SEQUENCE s", "SELECT setval('s', 5, false)"),
    "a sequence with a cache": (
        "CREATE SEQUENCE s CACHE 10",
        "SELECT nextval('s') FROM generate_series(1, 12)",
    ),
    "an unlogged sequence": ("CREATE UNLOGGED SEQUENCE s; SELECT nextval('s')", "SELECT nextval('s')"),
    "a large object": ("SELECT 1", "SELECT lo_from_bytea(0, 'x')"),
    "a large object beside a seeded one": ("SELECT lo_from_bytea(4711, 'seed')", "SELECT lo_from_bytea(0, 'x')"),
    "a materialized view": (
        PEOPLE + "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM people",
        "INSERT INTO people (name) VALUES ('eve'); REFRESH MATERIALIZED VIEW m",
    ),
    "a materialized view of another": (
        PEOPLE + "CREATE MATERIALIZED VIEW m AS SELECT name FROM people;"
        "CREATE MATERIALIZED VIEW n AS SELECT count(*) FROM m; CREATE UNIQUE INDEX ON m (name)",
        "DELETE FROM people; REFRESH MATERIALIZED VIEW CONCURRENTLY m; REFRESH MATERIALIZED VIEW n",
    ),
}


@pytest.fixture(params=["delete", "truncate"])
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(strategy: str, dsn: str, conn: Conn) -> Iterator[Connect]:
    """Open sessions of the role that the strategy needs: a superuser, or just the owner of the database."""
    opened: list[Conn] = []

    def session() -> Conn:
        where = dsn if strategy == "delete" else make_conninfo(dsn, user="owner")
        opened.append(psycopg.connect(where, autocommit=True))
        return opened[-1]

    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(1)")
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = 'owner'").fetchone():
            password = Literal(conn.info.password)
            conn.execute(SQL("CREATE ROLE owner LOGIN PASSWORD {}").format(password))
    conn.execute(SQL("ALTER DATABASE {} OWNER TO owner").format(Identifier(conn.info.dbname)))
    yield session
    for one in opened:
        one.close()


def contents(conn: Conn) -> dict[str, Any]:
    """Every row, sequence and large object, read without the help of what is tested."""
    found: dict[str, Any] = {}
    relations = conn.execute(
        """SELECT c.relkind::text, format('%I.%I', n.nspname, c.relname)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname !~ '^(pg_|information_schema|itest_)' ORDER BY 2"""
    )
    for kind, name in relations.fetchall():
        columns = "last_value, is_called" if kind == "S" else "_::text"
        found[name] = sorted(conn.execute(f"SELECT {columns} FROM ONLY {name} _".encode()).fetchall())
    found["large objects"] = conn.execute("SELECT oid, lo_get(oid) FROM pg_largeobject_metadata ORDER BY 1").fetchall()
    return found


@pytest.mark.parametrize("kind", LEAKS)
def test_it_does_not_stay(connect: Connect, conn: Conn, strategy: str, kind: str) -> None:
    made, done = LEAKS[kind]
    test = connect()
    test.execute(made.encode())
    baseline.prepare(test, strategy=strategy)
    way_back = Baseline(connect())
    seeded = contents(conn)
    assert way_back.reset().changed == way_back.reset().changed == ()
    assert is_clean(way_back)
    for _ in range(3):
        test.execute(done.encode())
        assert contents(conn) != seeded, "the leak has to be one"
        assert way_back.dirt(), "and be told"
        assert not way_back.is_clean()
        assert way_back.reset().changed
        assert contents(conn) == seeded
        assert way_back.dirt() == []
    way_back.reset()
    assert is_clean(way_back)
    assert way_back.reset().changed == ()


def is_clean(way_back: Baseline) -> bool:
    """Whether the cheap check says so; now and then autovacuum takes a transaction id between two of ours."""
    return any(way_back.is_clean() or not way_back.reset() for _ in range(3))


def test_a_sequence_that_came_full_circle_is_watched_as_before(connect: Connect, strategy: str) -> None:
    test = connect()
    test.execute("CREATE SEQUENCE s MAXVALUE 50 CYCLE; SELECT nextval('s')")
    baseline.prepare(test, strategy=strategy)
    way_back = Baseline(connect())
    test.execute("SELECT nextval('s') FROM generate_series(1, 50)")
    way_back.reset(), way_back.reset()
    assert way_back.is_clean()
    test.execute("SELECT nextval('s')")
    assert not way_back.is_clean(), "a sequence must not hand out numbers that it has in stock"


def test_a_test_that_wrote_much_leaves_no_dead_rows_to_read_over(connect: Connect, strategy: str, conn: Conn) -> None:
    test = connect()
    test.execute("CREATE TABLE t (id int)")
    baseline.prepare(test, strategy=strategy)
    way_back = Baseline(connect())
    test.execute("INSERT INTO t SELECT generate_series(1, 20000)")
    way_back.reset()
    assert conn.execute("SELECT pg_relation_size('t')").fetchone() == (0,)


SAME = {
    "updated": "UPDATE people SET name = name",
    "deleted and made again": "DELETE FROM people WHERE id = 3;"
    "INSERT INTO people (id, name, boss) OVERRIDING SYSTEM VALUE VALUES (3, 'cy', 2)",
}


@pytest.mark.parametrize("done", SAME.values(), ids=SAME)
def test_rows_that_only_look_the_same_are_the_baselines_again(connect: Connect, strategy: str, done: str) -> None:
    test = connect()
    test.execute(PEOPLE.encode())
    baseline.prepare(test, strategy=strategy)
    way_back = Baseline(connect())
    test.execute(done.encode())
    assert way_back.dirt() == []
    assert way_back.reset().changed == ("public.people",)


def test_rows_written_by_many_transactions_are_a_baseline_too(connect: Connect, strategy: str, conn: Conn) -> None:
    test = connect()
    test.execute("CREATE TABLE t (id int)")
    for number in range(20):
        test.execute("INSERT INTO t VALUES (%s)", [number])
    baseline.prepare(test, strategy=strategy)
    seeded, way_back = contents(conn), Baseline(connect())
    assert way_back.reset().changed == ()
    assert conn.execute("SELECT count(DISTINCT xmin::text) FROM t").fetchone() == (1,), "or each reset compares many"
    test.execute("DELETE FROM t WHERE id > 9")
    assert way_back.reset().changed == ("public.t",)
    assert contents(conn) == seeded


def test_what_changed_is_named_and_nothing_else_touched(connect: Connect, strategy: str, conn: Conn) -> None:
    test = connect()
    test.execute(f"{PEOPLE} CREATE TABLE other (id serial, name text); INSERT INTO other (name) VALUES ('x')".encode())
    baseline.prepare(test, strategy=strategy)
    way_back = Baseline(connect())
    writer = conn.execute("SELECT xmin::text FROM other").fetchall()
    test.execute("INSERT INTO people (name) VALUES ('eve')")
    assert set(way_back.reset().changed) == {"public.people", "sequence public.people_id_seq"}
    assert conn.execute("SELECT xmin::text FROM other").fetchall() == writer


def test_a_test_that_wrote_nothing_costs_no_look_at_its_tables(connect: Connect, strategy: str, conn: Conn) -> None:
    test = connect()
    test.execute(PEOPLE.encode())
    baseline.prepare(test, strategy=strategy)
    session = connect()
    way_back = Baseline(session)
    way_back.reset(), way_back.reset()

    def looks() -> int:
        session.execute("SELECT pg_catalog.pg_stat_force_next_flush()")
        row = conn.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'people'").fetchone()
        assert row
        return int(row[0])

    before = looks()
    assert way_back.reset().changed == ()
    assert way_back.is_clean()
    assert looks() == before
    test.execute("UPDATE people SET name = name")
    way_back.reset()
    assert looks() > before, "the counter works"


def test_dirt_shows_a_few_rows_of_each_table(connect: Connect, strategy: str) -> None:
    test = connect()
    test.execute(PEOPLE.encode())
    baseline.prepare(test, strategy=strategy)
    way_back = Baseline(connect())
    test.execute(
        "INSERT INTO people (name) SELECT 'p' || i FROM generate_series(1, 9) i; DELETE FROM people WHERE id = 3"
    )
    dirt = way_back.dirt()
    assert dirt[0] == "sequence public.people_id_seq: at 12; in the baseline at 3"
    assert dirt[1].startswith("public.people: row not of the baseline: (")
    assert dirt[4:] == ["public.people: 6 more rows not of the baseline", "public.people: row missing: (3,cy,2,)"]


def test_a_circle_that_cannot_be_filled_is_refused_for_truncate(connect: Connect, strategy: str) -> None:
    test = connect()
    test.execute(
        b"""CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
            ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1)"""
    )
    if strategy == "delete":
        baseline.prepare(test)
        return
    with pytest.raises(ItestError, match=r"truncate: foreign keys form a circle.*public\.a -> public\.b -> ") as caught:
        baseline.prepare(test, strategy="truncate")
    assert caught.value.category == "data"
