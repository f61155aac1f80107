"""Tests that try to leak. Each first looks whether the world is as it was seeded, then leaves it in disorder."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import psycopg
import pytest

TESTS = int(os.environ["LEAKS_TESTS"])
SEED = int(os.environ["LEAKS_SEED"])
KILLED = {int(number) for number in os.environ["LEAKS_KILLED"].split()}  # tests whose process dies
STRATEGY = os.environ["LEAKS_STRATEGY"]
APART = STRATEGY in ("rollback", "schema", "clone")  # only `db` may be written to
SHARED = Path(os.environ["LEAKS_FOLDER"])
TABLES = [
    "audit",
    "chicken",
    "egg",
    "owners",
    "pets",
    "readings_old",
    "readings_new",
    "strict",
    "things",
    "vehicles",
    "visits",
    "names",
]
SEQUENCES = ["tickets", "owners_id_seq", "pets_id_seq", "things_id_seq", "audit_id_seq", "visits_id_seq"]
CATALOGUE = """
    SELECT md5(string_agg(said, '|' ORDER BY said)) FROM (
        SELECT format('%s %s %s %s', relname, relkind, relacl, reloptions) AS said, relnamespace AS space FROM pg_class
            WHERE relkind NOT IN ('t', 'i') AND relpersistence <> 't'
        UNION ALL SELECT format('%s.%s %s', attrelid::regclass, attname, attnotnull), relnamespace
            FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND relpersistence <> 't'
        UNION ALL SELECT format('%s %s', proname, md5(prosrc)), pronamespace FROM pg_proc
        UNION ALL SELECT typname, typnamespace FROM pg_type WHERE typtype IN ('e', 'd')
    ) said JOIN pg_namespace n ON n.oid = space
    WHERE nspname = current_schema() OR nspname !~ '^(pg_|itest_|information_schema|public)'
"""
OTHERS = """
    SELECT (SELECT json_agg(format('%s %s', loid, encode(data, 'escape')) ORDER BY loid) FROM pg_largeobject),
           (SELECT count(*) FROM pg_description WHERE objoid = 'owners'::regclass),
           (SELECT count(*) FROM pg_prepared_statements),
           (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'),
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
           (SELECT count(*) FROM pg_listening_channels()),
           current_user, current_setting('application_name'), current_setting('statement_timeout')
"""


def world(db, redis_client) -> str:
    """All that a test could find, a line each."""
    rows = " UNION ALL ".join(
        f"SELECT '{table}', md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM ONLY {table} t"
        for table in TABLES
    )
    values = " UNION ALL ".join(f"SELECT '{name}', last_value || ' ' || is_called FROM {name}" for name in SEQUENCES)
    found = db.execute(f"{rows} UNION ALL {values}").fetchall()
    if STRATEGY != "schema":
        found += db.execute(CATALOGUE).fetchall()
    found += db.execute(OTHERS).fetchall()
    found += [(one.channel, one.payload) for one in db.notifies(timeout=0)]
    reads = {
        "string": redis_client.get,
        "hash": redis_client.hgetall,
        "list": lambda key: redis_client.lrange(key, 0, -1),
    }
    found += sorted((key, str(reads[redis_client.type(key)](key))) for key in redis_client.scan_iter())
    return "\n".join(map(str, found))


def rows(db, other):
    db.execute("INSERT INTO owners (name) VALUES ('new'); UPDATE pets SET name = 'old' WHERE id < 5")
    db.execute("DELETE FROM owners WHERE id = 7")


def swapped(db, other):
    db.execute("DELETE FROM things WHERE name = 'stone'; INSERT INTO things (id, name) VALUES (1, 'stone')")


def partitions(db, other):
    db.execute("UPDATE readings SET at = '2018-01-01' WHERE value = 20; DELETE FROM readings_old WHERE value < 3")


def cycles(db, other):
    with db.transaction():
        db.execute("INSERT INTO egg VALUES (2, 2)")
        db.execute("INSERT INTO chicken VALUES (2, 2)")


def unlogged(db, other):
    db.execute("SELECT nextval('visits_id_seq')")


def sequences(db, other):
    db.execute("SELECT nextval('tickets'), setval('owners_id_seq', 9000)")


def always(db, other):
    db.execute("INSERT INTO strict VALUES (1), (2)")


def truncated(db, other):
    db.execute("TRUNCATE owners CASCADE")


def elsewhere(db, other):
    with other() as connection:
        connection.execute("INSERT INTO pets (owner_id, name) VALUES (1, 'theirs')")


def left_open(db, other):
    other().execute("INSERT INTO pets (owner_id, name) VALUES (1, 'never committed')")


def late(db, other):
    connection = other()
    connection.execute("INSERT INTO audit (what) VALUES ('late')")

    def commit():
        connection.commit()
        connection.close()

    threading.Timer(0.03, commit).start()  # while the reset waits for it


def session(db, other):
    db.execute("SET statement_timeout = '17s'; SELECT pg_advisory_lock(7); LISTEN news; NOTIFY news, 'left'")
    db.execute("CREATE TEMP TABLE mine (id int); PREPARE mine AS SELECT 1; SET ROLE pg_monitor")


def large_objects(db, other):
    db.execute("SELECT lo_from_bytea(0, 'new')")


def redis(db, other, redis_client):
    redis_client.set("left", 1)
    redis_client.delete("greeting")
    redis_client.rpush("queue", "c")


def column(db, other):
    db.execute("ALTER TABLE things ADD COLUMN colour text")


def table(db, other):
    db.execute("CREATE TABLE extra (id serial PRIMARY KEY); CREATE FUNCTION extra() RETURNS int LANGUAGE sql RETURN 1")


def comment(db, other):
    db.execute("COMMENT ON TABLE owners IS 'left'")


def enum(db, other):
    db.execute("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'left'")


def refreshed(db, other):
    db.execute("INSERT INTO owners (name) VALUES ('seen'); REFRESH MATERIALIZED VIEW names")


COMMON = [rows, swapped, partitions, cycles, unlogged, sequences, always, truncated, session, redis]
SERVICES = [elsewhere, left_open, late]
ONLY_HERE = [] if STRATEGY == "schema" else [large_objects]  # which belong to no schema
RARE = [column, table, comment, enum, refreshed]


@pytest.fixture
def other(stack):
    """Further connections, as services have them: nobody closes one that a test leaves open."""
    return lambda: psycopg.connect(stack.dsn("postgres"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", random.Random(SEED).sample(range(TESTS), TESTS))
def test_leak(db, redis_client, other, number):
    found = world(db, redis_client)
    pristine = SHARED / "pristine"
    try:
        with pristine.open("x") as file:
            file.write(found)
    except FileExistsError:
        assert found == pristine.read_text()
    dice = random.Random(number)
    leaks = dice.sample([*COMMON, *ONLY_HERE, *([] if APART else SERVICES)], 2) + dice.choices(
        [*RARE, None], [1] * len(RARE) + [95]
    )
    last = [truncated, session]  # rows that others refer to, and the session's own role
    for leak in [*(one for one in leaks if one and one not in last), *(one for one in last if one in leaks)]:
        if leak is redis:
            leak(db, other, redis_client)
        else:
            leak(db, other)
    if number in KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
