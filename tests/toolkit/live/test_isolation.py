"""What tests leave is gone before the next one, whatever the strategy; what can't be undone fails the guilty test."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from xml.etree import ElementTree

import pytest

PREAMBLE = """
import psycopg
import pytest

ROWS = "SELECT count(*) FROM items"
NEW = "INSERT INTO items (sku, name, price) VALUES ('NEW-ONE', 'New', 1) RETURNING id"
SEEN = set()

def add(db):
    # Every test sees one item more than the seeded ones, and gets the same id from the sequence.
    SEEN.add((*db.execute(NEW).fetchone(), *db.execute(ROWS).fetchone()))
    assert len(SEEN) == 1, SEEN
"""


@pytest.fixture(scope="module")
def kept(shared_checkout):
    """A checkout whose suite `api` is up. One of its migrations lets no row of `stuck` and `ledger` go, for ever: one
    swallows the attempt, the other refuses it."""
    shared_checkout.write(
        "migrations/shop/V9000__stuck.sql",
        """
        CREATE TABLE stuck (id int);
        CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER never BEFORE DELETE ON stuck FOR EACH ROW EXECUTE FUNCTION never();
        ALTER TABLE stuck ENABLE ALWAYS TRIGGER never;
        CREATE TABLE ledger (id int);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''append only''; END';
        CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION refuse();
        ALTER TABLE ledger ENABLE ALWAYS TRIGGER refuse;
        """,
    )
    up = shared_checkout.run("up", "--suite", "api")
    assert up.code == 0, up.output
    yield shared_checkout
    down = shared_checkout.run("down", "--all")
    assert down.code == 0, down.output


class Outcome:
    """How a module of tests ended, by test: "", or the message of its failure or error."""

    def __init__(self, checkout, body: str, *arguments: str) -> None:
        checkout.write("tests/api/test_probe.py", PREAMBLE + body)
        done = checkout.pytest("tests/api/test_probe.py", "--junitxml=junit.xml", "-p", "no:cacheprovider", *arguments)
        self.code, self.output = done.code, done.output
        cases = ElementTree.parse(checkout.path / "junit.xml").iter("testcase")
        self.failed: dict[str, str] = {}
        self.properties: dict[str, dict[str, str]] = {}
        for case in cases:
            said = [node.get("message", "") + (node.text or "") for node in case if node.tag in ("failure", "error")]
            self.failed[case.get("name", "")] = "\n".join(said)
            pairs = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
            self.properties.setdefault(case.get("name", ""), {}).update(pairs)

    @property
    def red(self) -> set[str]:
        return {name for name, said in self.failed.items() if said}


def test_what_a_test_and_the_services_wrote_is_gone_and_the_seed_is_back_with_its_sequences(kept):
    ended = Outcome(
        kept,
        """
def test_one(db, redis_client, sign_in, http):
    add(db)
    db.execute("UPDATE users SET role = 'admin'; TRUNCATE order_lines; DELETE FROM orders")
    redis_client.flushdb(); redis_client.set("mine", 1)
    assert sign_in("ada@example.com").get("/me").status_code == 200

def test_two(db, redis_client, left_behind):
    assert left_behind() == {}
    assert db.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    assert db.execute("SELECT count(*) > 0 FROM order_lines").fetchone() == (True,)
    assert not redis_client.exists("mine")
    add(db)

def test_three(db, redis_client, left_behind):
    db.execute(NEW); redis_client.set("cart:1", "x")
    left = left_behind()
    assert left["redis"] == ["key cart:1 left behind"]
    assert any("public.items" in line for line in left["postgres"])
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output


def test_a_transaction_left_open_is_ended_and_reported_with_its_query_and_the_test_that_opened_it(kept):
    ended = Outcome(
        kept,
        """
forgotten = []

def test_before(db):
    add(db)

def test_leaves_it_open(stack):
    forgotten.append(psycopg.connect(stack.dsn("postgres")))
    forgotten[0].execute(NEW)

def test_next(db):
    add(db)
    with pytest.raises(psycopg.OperationalError):
        forgotten[0].execute("SELECT 1")
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output
    assert "StateWarning" in ended.output
    assert "test test_leaves_it_open" in ended.output
    assert "INSERT INTO items" in ended.output


def test_a_changed_schema_is_answered_by_a_fresh_database_that_the_service_finds_too(kept):
    ended = Outcome(
        kept,
        """
def test_changes_the_schema(db):
    db.execute("ALTER TABLE items ADD COLUMN colour text; CREATE TABLE extra (id int); DROP TABLE order_lines")

def test_next(db, http, eventually):
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'colour'"
    assert db.execute(columns).fetchone() == (0,)
    assert db.execute("SELECT to_regclass('extra'), count(*) > 0 FROM order_lines").fetchone() == (None, True)
    eventually(lambda: http.get("/items").status_code == 200)

def test_that_takes_it_back_itself(db):
    db.execute("CREATE TABLE extra (id int); DROP TABLE extra")
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output
    assert ended.output.count("the database was made anew") == 1
    assert "the schema of `app` was changed:" in ended.output
    assert "colour" in ended.output
    assert '@pytest.mark.isolation("clone")' in ended.output


@pytest.mark.parametrize("table", ["stuck", "ledger"])
def test_what_cannot_be_undone_fails_the_guilty_test_as_data_and_the_next_one_is_innocent(kept, table):
    ended = Outcome(
        kept,
        f"""
def test_guilty(db):
    db.execute("INSERT INTO {table} VALUES (7)")

def test_innocent(db):
    assert db.execute("SELECT count(*) FROM {table}").fetchone() == (0,)

@pytest.mark.isolation("clone")
def test_innocent_on_a_clone(db):
    assert db.execute("SELECT count(*) FROM {table}").fetchone() == (0,)
""",
    )
    assert ended.red == {"test_guilty"}, ended.output
    assert ended.properties["test_guilty"] == {"itest.category": "data", "itest.cause": "contamination"}
    assert f"public.{table}" in ended.failed["test_guilty"]


def test_the_bookkeeping_of_the_reset_may_be_dropped_like_anything_else(kept):
    ended = Outcome(
        kept,
        """
def test_drops_all_schemas(db):
    for (schema,) in db.execute("SELECT nspname FROM pg_namespace WHERE oid >= 16384 OR nspname = 'public'").fetchall():
        if not schema.startswith("pg_"):
            db.execute(f"DROP SCHEMA {schema} CASCADE")

def test_next(db, left_behind):
    assert left_behind() == {}
    add(db)
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output
    assert "the baseline's own schema itest_seeded was dropped" in ended.output


def test_pytest_that_attaches_says_what_it_made_anew_of_what_somebody_did_by_hand(kept):
    psql(kept, "app", "CREATE TABLE mine (id int)")
    ended = Outcome(kept, "def test_it(db): add(db)")
    assert (ended.code, ended.red) == (0, set()), ended.output
    assert "itest: app was made anew, its schema had been changed: table public.mine added" in ended.output
    again = Outcome(kept, "def test_it(db): add(db)")
    assert "made anew" not in again.output
    assert "back to the seeded" not in again.output


def test_rollback_takes_everything_back_and_says_what_it_cannot_take_back(kept):
    ended = Outcome(
        kept,
        """
pytestmark = pytest.mark.isolation("rollback")

def test_writes(db):
    add(db)
    with pytest.raises(psycopg.errors.UniqueViolation), db.transaction():
        db.execute(NEW)
    kept = db.snapshot()
    db.execute("DELETE FROM order_lines")
    db.restore(kept)
    assert db.execute("SELECT count(*) > 0 FROM order_lines").fetchone() == (True,)

def test_finds_rows_and_sequences_as_they_were(db):
    add(db)

def test_commit_is_refused(db):
    with pytest.raises(psycopg.ProgrammingError, match="would end the transaction"):
        db.commit()

def test_a_service_writes(db, sign_in):
    sign_in("ada@example.com")

def test_ends_the_transaction(db):
    db.execute(NEW)
    db.execute("COMMIT")

def test_breaks_a_deferred_constraint(db):
    db.execute("ALTER TABLE orders ALTER CONSTRAINT orders_user_id_fkey DEFERRABLE INITIALLY DEFERRED")
    db.execute("INSERT INTO orders (user_id, total) VALUES (999, 0)")

def test_is_innocent(db):
    add(db)
""",
    )
    assert ended.red == {"test_a_service_writes", "test_ends_the_transaction", "test_breaks_a_deferred_constraint"}, (
        ended.output
    )
    assert "public.sessions" in ended.failed["test_a_service_writes"]
    assert "the test ended its transaction" in ended.failed["test_ends_the_transaction"]
    assert "During handling" not in ended.output
    assert "Unraisable" not in ended.output
    assert "orders_user_id_fkey" in ended.failed["test_breaks_a_deferred_constraint"]


def test_a_clone_is_a_database_of_the_tests_own_to_which_the_stack_points(kept):
    ended = Outcome(
        kept,
        """
@pytest.mark.isolation("clone")
@pytest.mark.parametrize("turn", range(5))
def test_clone(db, stack, http, turn):
    add(db)
    with psycopg.connect(stack.dsn("postgres")) as other:
        assert other.execute("SELECT count(*) FROM items WHERE sku = 'NEW-ONE'").fetchone() == (1,)
    db.execute("DROP TABLE order_lines; CREATE TABLE order_lines (whatever int)")
    assert "NEW-ONE" not in http.get("/items").text

def test_the_stacks_own_database_is_untouched(db, left_behind):
    assert "_itest_" not in db.info.dbname
    assert left_behind() == {}

@pytest.mark.isolation("clone")
def test_a_service_writes_to_the_stacks_own_database(db, sign_in):
    sign_in("ada@example.com")
""",
    )
    assert ended.red == {"test_a_service_writes_to_the_stacks_own_database"}, ended.output
    listed = "SELECT count(*) FROM pg_database WHERE datname LIKE '%itest%' AND NOT datistemplate"
    assert psql(kept, "app", listed) == "0\n"


def test_what_a_fixture_of_a_wider_scope_writes_no_test_finds(kept):
    ended = Outcome(
        kept,
        """
@pytest.fixture(scope="class")
def written(stack):
    with psycopg.connect(stack.dsn("postgres"), autocommit=True) as own:
        own.execute(NEW)
        yield
        own.execute(NEW)

def test_before(db):
    add(db)

class TestWide:
    def test_first(self, written, db):
        add(db)

    def test_second(self, written, db):
        add(db)

def test_after(db):
    add(db)

@pytest.mark.isolation("none")
def test_leaves_all(db):
    add(db)

def test_after_that(db):
    add(db)
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output


def test_what_a_strategy_cannot_do_is_refused_in_words(kept):
    ended = Outcome(
        kept,
        """
from itest.errors import ItestError

@pytest.mark.isolation("schema")
def test_snapshot(db):
    with pytest.raises(ItestError, match="a schema of the test's own can't be kept"):
        db.snapshot()

@pytest.mark.isolation("rollback")
def test_left_behind_of_a_transaction(db, left_behind):
    db.execute(NEW)
    with pytest.raises(ItestError, match="for its own session to see"):
        left_behind()

@pytest.mark.isolation("schema")
def test_left_behind_of_a_schema(db, left_behind):
    db.execute(NEW)
    with pytest.raises(ItestError, match="for its own session to see"):
        left_behind()

@pytest.mark.isolation("clone")
def test_a_table_in_the_stacks_own_database(db, stack):
    own = stack.dsn("postgres").replace(db.info.dbname, "app")
    with psycopg.connect(own) as other:
        other.execute("CREATE TABLE extra (id int)")
""",
    )
    assert ended.red == {"test_a_table_in_the_stacks_own_database"}, ended.output
    assert "public.extra added" in ended.failed["test_a_table_in_the_stacks_own_database"]


def test_a_connection_that_a_test_never_closed_is_told_with_its_query_and_the_test_that_opened_it(kept):
    body = """
forgotten = []

def test_forgets(stack):
    forgotten.append(psycopg.connect(stack.dsn("postgres"), autocommit=True))
    forgotten[0].execute("SELECT 'never closed'")
"""
    for workers in ((), ("-n", "1")):
        ended = Outcome(kept, body, *workers)
        assert ended.code == 0, ended.output
        assert "itest: postgres: a test never closed its connection: pid" in ended.output
        assert "(test test_forgets), idle" in ended.output
        assert "SELECT 'never closed'" in ended.output


def test_a_service_can_be_pointed_at_a_clone(kept):
    ended = Outcome(
        kept,
        """
@pytest.mark.isolation("clone")
def test_clone(db, stack, http):
    db.execute("UPDATE items SET name = 'Only here' WHERE sku = 'MUG-BLUE'")
    with stack.repoint("shop", POSTGRES_DB=db.info.dbname):
        import requests
        assert "Only here" in requests.get(stack.url("shop", "/items")).text

def test_afterwards_it_is_back(http):
    assert "Only here" not in http.get("/items").text
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output


def test_a_schema_of_its_own_is_migrated_and_seeded_and_gone_afterwards(kept):
    ended = Outcome(
        kept,
        """
@pytest.mark.isolation("schema")
@pytest.mark.parametrize("turn", range(2))
def test_schema(db, turn):
    assert db.execute("SELECT current_schema() LIKE 'itest_schema_%'").fetchone() == (True,)
    add(db)
    db.execute("DROP TABLE order_lines")

def test_next(db, left_behind):
    assert left_behind() == {}
    assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'itest_schema%'").fetchone() == (0,)
""",
    )
    assert (ended.code, ended.red) == (0, set()), ended.output


def test_a_strategy_that_there_is_not_is_refused_before_the_first_test(kept):
    wrong = "import pytest\n\n@pytest.mark.isolation({})\ndef test_it(): pass\n"
    kept.write("tests/api/test_probe.py", wrong.format("'clones'"))
    done = kept.pytest("tests/api/test_probe.py")
    assert done.code == 2, done.output
    assert "tests/api/test_probe.py:3: isolation('clones'): no such strategy" in done.output
    assert "hint: did you mean `clone`?" in done.output
    kept.write("tests/api/test_probe.py", wrong.format("strategy='clone'"))
    assert "isolation(strategy='clone'): no such strategy" in kept.pytest("tests/api/test_probe.py").output


def test_the_database_of_a_failed_test_can_be_kept_and_looked_at(kept):
    body = """
def test_red(db):
    db.execute(NEW)
    assert False

@pytest.mark.isolation("clone")
def test_red_on_a_clone(db):
    db.execute(NEW)
    assert False

@pytest.mark.isolation("schema")
def test_red_in_a_schema(db):
    db.execute(NEW)
    assert False

@pytest.mark.isolation("rollback")
def test_red_in_a_transaction(db):
    assert False

def test_next(left_behind):
    assert left_behind() == {}
"""
    ended = Outcome(kept, body, "--keep-db")
    reds = {"test_red", "test_red_on_a_clone", "test_red_in_a_schema", "test_red_in_a_transaction"}
    assert ended.red == reds, ended.output
    assert "checkpoint" not in ended.output, "a copy asks for some; their lines would bury the log of a red test"
    assert "postgres: not kept: nothing was committed" in ended.output
    commands = [line.strip() for line in ended.output.splitlines() if line.strip().startswith("docker exec -it")]
    assert len(commands) == 3, ended.output
    for command in commands:
        words = [word for word in shlex.split(command) if word != "-it"]
        query = [*words, "-Atc", "SELECT count(*) FROM items WHERE sku = 'NEW-ONE'"]
        assert subprocess.run(query, check=True, capture_output=True, text=True).stdout == "1\n"
        psql(kept, "postgres", f'DROP DATABASE "{words[-1]}"')


def test_the_store_that_the_readme_shows_is_clean_for_every_test_and_checked_at_the_end(kept, tmp_path):
    readme = (kept.path / "tests" / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\n# tests/orders/conftest.py\n(.*?)```", readme, re.DOTALL)[1]
    store = shown.replace("build/exports", str(tmp_path)).replace("from __future__ import annotations", "")
    tests = f"""
EXPORTS = Path({str(tmp_path)!r})

def test_one():
    (EXPORTS / "orders.csv").touch()

def test_two(left_behind):
    assert list(EXPORTS.iterdir()) == []
    (EXPORTS / "orders.csv").touch()
    assert left_behind() == {{"exports": ["file orders.csv left behind"]}}
"""
    assert Outcome(kept, store + tests).red == set()
    liar = Outcome(kept, store.replace("file.unlink()", "pass") + tests)
    assert "exports: file orders.csv left behind" in liar.failed["test_two"]
    assert liar.properties["test_two"]["itest.cause"] == "contamination"


def test_what_a_killed_pytest_left_is_gone_before_the_next_ones_first_test(kept):
    kept.write(
        "tests/api/test_probe.py",
        PREAMBLE + "import os, signal\n"
        "def test_dies(db, redis_client):\n"
        "    db.execute(NEW); db.execute('DROP TABLE order_lines'); redis_client.set('left', 1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    assert kept.pytest("tests/api/test_probe.py").code == -signal.SIGKILL

    ended = Outcome(kept, "def test_first(left_behind, db):\n    assert left_behind() == {}\n")
    assert (ended.code, ended.red) == (0, set()), ended.output


def psql(checkout, database: str, query: str) -> str:
    """What the stack's PostgreSQL answers."""
    command = ["docker", "compose", "--env-file", "compose/suites/api.env", "exec", "-T", "postgres"]
    command += ["psql", "-U", "postgres", "-Atc", query, database]
    return subprocess.run(command, cwd=checkout.path, check=True, capture_output=True, text=True).stdout
