"""Clones of a template, kept warm."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from itest.data import template
from itest.data.clones import Pool
from itest.errors import ItestError
from itest.stack.eventually import eventually

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"
Conn = psycopg.Connection


def connect(dsn: str) -> Conn:
    return psycopg.connect(dsn, autocommit=True)


@pytest.fixture
def sealed(dsn: str) -> Iterator[str]:
    """DSN of a database with one table of one row, and its template."""
    with connect(dsn) as conn:
        conn.execute("CREATE TABLE t AS SELECT 1 AS i")
        template.seal(conn)
    yield dsn
    with template.maintenance(dsn) as admin:
        for name in siblings(dsn):
            template.drop(admin, name)


def siblings(dsn: str, tail: str = "") -> list[str]:
    with template.maintenance(dsn) as admin:
        prefix = template.named(template.database_of(dsn), tail)
        rows = admin.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [prefix])
        return [name for (name,) in rows]


@pytest.fixture
def pool(sealed: str) -> Iterator[Pool[Conn]]:
    made = Pool(sealed, connect=connect, size=2)
    yield made
    made.close()


def test_each_clone_is_a_database_of_its_own_as_it_was_sealed(pool: Pool[Conn], sealed: str) -> None:
    taken = [pool.take() for _ in range(5)]
    for clone in taken:
        assert clone.conn.execute("TABLE t").fetchall() == [(1,)]
        clone.conn.execute("DELETE FROM t")
        assert clone.conn.info.dbname == clone.name == template.database_of(clone.dsn)
    assert len({clone.name for clone in taken}) == 5
    with connect(sealed) as conn:
        assert conn.execute("TABLE t").fetchall() == [(1,)]


def test_as_many_as_asked_for_are_warm_without_being_taken(pool: Pool[Conn], sealed: str) -> None:
    assert eventually(lambda: len(siblings(sealed, "clone")) == 2, timeout=20)
    pool.take()
    assert eventually(lambda: len(siblings(sealed, "clone")) == 3, timeout=20)


def test_what_is_given_back_is_dropped_with_whoever_is_in_it(pool: Pool[Conn], sealed: str) -> None:
    clone = pool.take()
    with connect(clone.dsn):
        pool.give_back(clone)
        assert eventually(lambda: clone.name not in siblings(sealed, "clone"), timeout=20)
    assert clone.conn.closed


def test_closing_drops_all_of_them(sealed: str) -> None:
    pool = Pool(sealed, connect=connect, size=3)
    taken = pool.take()
    pool.give_back(pool.take())
    pool.close()
    assert siblings(sealed) == siblings(sealed, "template")
    with pytest.raises(psycopg.OperationalError):
        taken.conn.execute("SELECT 1")
    pool.close()


def test_closing_at_once_leaves_nothing_half_made(sealed: str) -> None:
    Pool(sealed, connect=connect, size=3).close()
    assert siblings(sealed) == siblings(sealed, "template")


def test_a_clone_that_is_kept_outlasts_the_pool_under_its_new_name(sealed: str) -> None:
    pool = Pool(sealed, connect=connect, size=1)
    name = template.named(template.database_of(sealed), "kept_refund")
    clone = pool.take()
    clone.conn.execute("INSERT INTO t VALUES (2)")
    pool.keep(clone, name)
    with pytest.raises(ItestError, match=f'database "{name}" already exists'):
        pool.keep(pool.take(), name)
    pool.close()
    assert siblings(sealed) == [name, *siblings(sealed, "template")]
    with connect(template.dsn_of(sealed, name)) as conn:
        assert conn.execute("SELECT i FROM t ORDER BY i").fetchall() == [(1,), (2,)]


def test_a_template_that_is_gone_is_said_at_take(sealed: str) -> None:
    with connect(sealed) as conn:
        template.unseal(conn)
    pool = Pool(sealed, connect=connect, size=1)
    with pytest.raises(ItestError, match=r"_itest_template: not on this server") as caught:
        pool.take()
    assert caught.value.category == "data"
    pool.close()


def test_what_the_server_refuses_is_said_at_take(pool: Pool[Conn], sealed: str) -> None:
    pool.take()
    assert eventually(lambda: len(siblings(sealed, "clone")) == 3, timeout=20)
    with connect(sealed) as conn:
        template.unseal(conn)
    assert pool.take().conn.execute("TABLE t").fetchall() == [(1,)]
    assert pool.take().conn.execute("TABLE t").fetchall() == [(1,)]
    with pytest.raises(ItestError, match=r'clone of test_.*: template database "test_.*" does not exist') as caught:
        pool.take()
    assert (caught.value.category, caught.value.cause) == ("data", "clone")


def test_a_connection_that_fails_is_said_at_take_and_its_database_is_dropped(sealed: str) -> None:
    def refused(dsn: str) -> Conn:
        return psycopg.connect(dsn, user="nobody_at_all", password="x")

    pool = Pool(sealed, connect=refused, size=1)
    with pytest.raises(ItestError, match='"nobody_at_all"'):
        pool.take()
    pool.close()
    assert siblings(sealed) == siblings(sealed, "template")


def test_waiting_for_a_clone_ends(sealed: str) -> None:
    with template.maintenance(sealed) as admin, admin.transaction():
        admin.execute("LOCK TABLE pg_database IN SHARE MODE")  # CREATE DATABASE waits for it
        pool = Pool(sealed, connect=connect, size=1)
        with pytest.raises(ItestError, match=r"none was ready after 0\.2 s"):
            pool.take(deadline=0.2)
    pool.close()
    assert siblings(sealed) == siblings(sealed, "template")


PROGRAM = """
import os, sys, psycopg
from itest.data.clones import Pool
pool = Pool(sys.argv[1], connect=lambda dsn: psycopg.connect(dsn, autocommit=True), size=2)
print(pool.take().name, flush=True)
sys.stdin.read()
"""


def program(dsn: str) -> tuple[subprocess.Popen[str], str]:
    """Another process with a pool, which ends when its input does; and the name of the clone that it has taken."""
    command = [sys.executable, "-c", PROGRAM, dsn]
    process = subprocess.Popen(
        command, env={"PYTHONPATH": str(SCRIPTS)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_process_that_ends_leaves_nothing_even_if_it_forgot_to_close(sealed: str) -> None:
    process, taken = program(sealed)
    assert taken in siblings(sealed, "clone0")
    process.communicate()
    assert process.returncode == 0
    assert siblings(sealed) == siblings(sealed, "template")


def test_what_a_dead_process_left_in_this_slot_is_dropped_and_nobody_else_s(sealed: str) -> None:
    process, taken = program(sealed)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with template.maintenance(sealed) as admin:
        worker = template.named(template.database_of(sealed), "3")
        template.create(admin, worker, sealed_name := template.database_of(sealed))
        other = template.named(sealed_name, "clone4_1_1")
        template.create(admin, other, sealed_name)
    assert f"_itest_clone0_{process.pid}_" in taken

    neighbour = Pool(template.dsn_of(sealed, worker), connect=connect, size=1)
    assert "_itest_clone3_" in neighbour.take().name
    neighbour.close()
    assert taken in siblings(sealed, "clone"), "it belongs to another slot"

    pool = Pool(sealed, connect=connect, size=1)
    pool.take()
    assert taken not in siblings(sealed, "clone")
    pool.close()
    assert siblings(sealed, "clone") == [other]
