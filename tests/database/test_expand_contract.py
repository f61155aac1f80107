"""Old application, new schema: while a migration is rolled out, the release before it still runs.

A migration that would break it is done in two: one that adds (expand) before the new release, one that takes away
(contract) when nobody uses the old any more.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from itest.data import sqlsplit
from itest.data.migrations import discover

RELEASE = Path(__file__).with_name("release.sql")
RELEASE_IS_FOR = 6  # the version that those statements were written for


def refused(connection, statements=RELEASE, role="app"):
    """What PostgreSQL says to an application's statements, where it refuses any: `line: message`. Leaves no trace."""
    text = statements.read_text(encoding="utf-8")
    said = []
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        for piece in sqlsplit.statements(text):
            try:
                with connection.transaction():  # a savepoint, so that the next one is heard, too
                    connection.execute(text[piece])
            except psycopg.Error as error:
                said.append(f"{text.count(chr(10), 0, piece.start) + 1}: {error.diag.message_primary}")
    return said


@pytest.fixture
def with_migration(database_at, migrations, tmp_path):
    """A connection to a database at the newest version and one more migration, of a test's own."""

    def apply(text):
        (tmp_path / "V9001__next.sql").write_text(text)
        newest = database_at(migrations[-1].version)
        newest.factory.create("order_lines")
        newest.migrate([*migrations, *discover([Path()], root=tmp_path)])
        return newest.conn

    return apply


def test_the_release_in_production_works_on_the_newest_schema(db):
    assert refused(db) == []


def test_it_works_on_every_version_since_its_own(database_at, migrations):
    versions = [one.version for one in migrations if one.version >= RELEASE_IS_FOR]

    assert {version: refused(database_at(version).conn) for version in versions} == {
        version: [] for version in versions
    }


def test_a_new_release_before_its_migration_is_found(database_at):
    said = refused(database_at(RELEASE_IS_FOR - 1).conn)

    assert [words.partition(": ")[2] for words in said] == [
        'column "total" of relation "orders" does not exist',
        'column "total" does not exist',
    ]


@pytest.mark.parametrize(
    "expansion",
    [
        "ALTER TABLE items ADD COLUMN description text NOT NULL DEFAULT ''",
        "ALTER TABLE items ADD COLUMN title text; UPDATE items SET title = name",
        "ALTER TYPE order_status ADD VALUE 'returned' AFTER 'shipped'",
        "CREATE TABLE coupons (code text PRIMARY KEY); ALTER TABLE orders ADD COLUMN coupon text REFERENCES coupons",
        "ALTER TABLE orders ALTER COLUMN total TYPE numeric(14, 2)",
    ],
)
def test_a_migration_that_only_adds_breaks_nobody(with_migration, expansion):
    assert refused(with_migration(expansion)) == []


BREAKING = [
    ("ALTER TABLE items RENAME COLUMN name TO title", 'column "name" of relation "items" does not exist'),
    ("ALTER TABLE users ADD COLUMN phone text; UPDATE users SET phone = ''; ALTER TABLE users ALTER phone SET NOT NULL",
     'null value in column "phone"'),
    ("ALTER TABLE orders DROP COLUMN idempotency_key", 'column "idempotency_key" of relation "orders" does not exist'),
    ("ALTER TABLE sessions ALTER ended_at TYPE date, DROP CONSTRAINT sessions_end_after_their_start, "
     "ADD CHECK (ended_at > created_at)", "violates check constraint"),
    ("REVOKE UPDATE (used_at) ON refresh_tokens FROM app", "permission denied for table refresh_tokens"),
    ("CREATE SCHEMA archive; ALTER TABLE order_lines SET SCHEMA archive", 'relation "order_lines" does not exist'),
]  # fmt: skip


@pytest.mark.parametrize(("migration", "said"), BREAKING, ids=[migration[:40] for migration, _ in BREAKING])
def test_a_migration_that_breaks_the_release_before_is_found(with_migration, migration, said):
    assert said in refused(with_migration(migration))[0]
