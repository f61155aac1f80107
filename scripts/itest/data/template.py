"""Sealed templates: a seeded database copied once and closed to sessions; from it come clones, workers' databases and
rebuilds.

A session that is handed to these functions is a superuser's, in autocommit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ObjectInUse, WrongObjectType
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
)

from itest.data import blueprint, sql
from itest.data.blueprint import Blueprint
from itest.errors import Category, ItestError

OURS = "_itest_"  # part of the name of each database that we make
BASE_LIMIT = 32  # bytes of a name before that; 63 is PostgreSQL's limit for all of it
MAINTENANCE = ("postgres", "template1")  # databases to stand in while another one is dropped

LOCK_TIMEOUT = 10.0  # seconds
GRACE = 0.25  # seconds that sessions get to end by themselves; a health probe's needs milliseconds
END_TIMEOUT = 5.0  # seconds until a session that was told to end must be gone
POLL = 0.002  # seconds; CREATE and DROP DATABASE themselves look for sessions every 100 ms only

SESSIONS = """
    SELECT pid, application_name, state, query, backend_type FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid() ORDER BY pid
"""
DROP = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
UNSEAL = SQL("ALTER DATABASE {} IS_TEMPLATE false")
SEAL = SQL("ALTER DATABASE {} IS_TEMPLATE true")


def named(database: str, tail: str) -> str:
    """The name of a database of ours: `<database>_itest_<tail>`, a long database's cut and told apart by a hash.

    database: the stack's, or one of ours already, which has the same siblings. tail: at most 24 characters.
    """
    base = database.partition(OURS)[0]
    if len(base.encode()) > BASE_LIMIT:
        digest = hashlib.sha256(base.encode()).hexdigest()[:8]
        base = base.encode()[: BASE_LIMIT - 9].decode(errors="ignore") + "-" + digest
    return f"{base}{OURS}{tail}"


def dsn_of(dsn: str, database: str) -> str:
    """The same DSN with another database; a URI stays one."""
    if "://" in dsn:
        return urlsplit(dsn)._replace(path="/" + quote(database, safe="")).geturl()
    return make_conninfo(dsn, dbname=database)


def database_of(dsn: str) -> str:
    """The database that a DSN names, which by default is called like the user."""
    said = conninfo_to_dict(dsn)
    return str(said.get("dbname") or said["user"])


def maintenance(dsn: str) -> Connection:
    """A session on the DSN's server in another database than its own, which can then be dropped.

    Raises ItestError (service) where the server doesn't answer.
    """
    first, *others = [name for name in MAINTENANCE if name != database_of(dsn)]
    try:
        return _connect(dsn, first)
    except ItestError:
        if not others:
            raise
        return _connect(dsn, others[0])


def is_sealed(conn: Connection) -> bool:
    """Whether the session's database has a template that is complete."""
    template = named(conn.info.dbname, "template")
    return (
        conn.execute("SELECT FROM pg_database WHERE datname = %s AND datistemplate", [template]).fetchone() is not None
    )


def unseal(conn: Connection) -> None:
    """Drop the template of the session's own database, where there is one: the database is about to change."""
    drop(conn, named(conn.info.dbname, "template"))


def seal(conn: Connection) -> list[str]:
    """Copy the session's own database, seeded, into its template, replacing an older one.

    Other sessions in it would be in the way: they get a short grace, then they are ended. Returns those, a line each.
    Raises ItestError (data) with the server's words.
    """
    database = conn.info.dbname
    template = named(database, "template")
    unseal(conn)
    ended: list[str] = []
    with _telling(template):
        plan = blueprint.read(conn, database)
        for attempt in Retrying(retry=retry_if_exception_type(ObjectInUse), stop=stop_after_attempt(3), reraise=True):
            with attempt:  # one that came back between the two statements is ended the next time
                ended += clear(conn, database, grace=GRACE)
                conn.execute(plan.create(template, " ALLOW_CONNECTIONS false"))
        conn.execute(SQL("; ").join([*plan.complete(template), SEAL.format(Identifier(template))]))
    return ended


def create(admin: Connection, name: str, source: str) -> None:
    """Make the database `name` from the template of the database `source`.

    Raises ItestError (data): there is no such template, or the server's words.
    """
    _copy(admin, blueprint.read(admin, named(source, "template")), name)


def rebuild(dsn: str) -> list[str]:
    """Drop the DSN's database and make it anew from its template. Returns the sessions that this ended, a line each.

    Raises ItestError (data or service); without a template nothing is dropped.
    """
    database = database_of(dsn)
    with maintenance(dsn) as admin:
        plan = blueprint.read(admin, named(database, "template"))
        ended = clear(admin, database)
        drop(admin, database)
        _copy(admin, plan, database)
    return ended


def drop(admin: Connection, name: str) -> None:
    """Drop a database, sealed or not, with whoever is in it. No error when it is gone."""
    clear(admin, name)
    with _telling(name):
        try:
            admin.execute(DROP.format(Identifier(name)))
        except WrongObjectType:  # a template
            admin.execute(UNSEAL.format(Identifier(name)))
            admin.execute(DROP.format(Identifier(name)))


def clear(admin: Connection, name: str, *, grace: float = 0) -> list[str]:
    """End all other sessions in a database, after a grace in seconds, and wait until they are gone. A line for each.

    One that doesn't go, or comes back, is left for the statement that it hinders: the server says who.
    """
    left = _left(admin, name, grace)
    for pid, *_ in left:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
    if left:
        _left(admin, name, END_TIMEOUT)
    return [
        f"pid {pid} ({who or 'unnamed'}), {state}: {sql.clip(query)}"
        for pid, who, state, query, kind in left
        if kind == "client backend"  # and no autovacuum, which nobody misses
    ]


def _left(admin: Connection, name: str, seconds: float) -> list[TupleRow]:
    """The sessions that are still in a database after so many seconds, or none as soon as there are none."""
    poll = Retrying(
        retry=retry_if_result(bool),
        wait=wait_fixed(POLL),
        stop=stop_after_delay(seconds),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    return poll(lambda: admin.execute(SESSIONS, [name]).fetchall())


def _copy(admin: Connection, plan: Blueprint, name: str) -> None:
    with _telling(name):
        admin.execute(plan.create(name))
        rest = plan.complete(name)
        if rest:
            admin.execute(SQL("; ").join(rest))


def _connect(dsn: str, database: str) -> Connection:
    return sql.connect(dsn_of(dsn, database), "itest template", lock_timeout=LOCK_TIMEOUT)


def refusal(error: psycopg.Error, what: str, cause: str = "template") -> ItestError:
    """What the server refused, in its words; category service where the connection to it is lost."""
    words = "\n".join([error.diag.message_primary or str(error).strip(), *sql.details(error.diag)])
    category: Category = "data" if error.sqlstate else "service"
    hint = "make ps shows what runs, make logs what PostgreSQL says"
    return ItestError(category, f"{what}: {words}", hint=hint, cause=cause)


@contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise refusal(error, f"database {name}") from error
