"""What all databases of a server share: roles, their memberships and settings; and what a database has of its own.

Kept in the baseline are names and attributes, never a password: a baked image holds none, and each run sets its own.
Passwords are remembered by whoever resets. Workers with a database each of one server bring the same roles back to the
same values, so one tries again where another was quicker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.errors import DuplicateObject, InternalError_, UndefinedObject, UniqueViolation
from psycopg.sql import SQL, Composed, Identifier, Literal
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

# Rows of catalogues told by who wrote them last: says in 50 µs whether to look closer.
SIGNATURE = """(SELECT bit_xor(h) FROM (
    SELECT hash_record_extended(ROW(1, oid, xmin), 0) h FROM pg_authid
    UNION ALL SELECT hash_record_extended(ROW(2, roleid, member, xmin), 0) FROM pg_auth_members
    UNION ALL SELECT hash_record_extended(ROW(3, setdatabase, setrole, xmin), 0) FROM pg_db_role_setting
    UNION ALL SELECT hash_record_extended(ROW(4, oid, xmin), 0) FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT hash_record_extended(ROW(5, objoid, xmin), 0) FROM pg_shdescription) s)"""

# A row a thing. An oid tells a role that was renamed.
QUERY = """
    SELECT 'role' AS kind, rolname::text AS name, '' AS of,
           to_jsonb(a) - '{oid,rolname,rolpassword,rolvaliduntil}'::text[]
           || jsonb_build_object('until', coalesce(rolvaliduntil, 'infinity')) AS value, oid::bigint AS oid
    FROM pg_authid a WHERE rolname !~ '^pg_'
    UNION ALL
    SELECT 'member', pg_get_userbyid(m.member)::text, pg_get_userbyid(m.roleid)::text,
           to_jsonb(bool_or(m.admin_option)), 0
    FROM pg_auth_members m WHERE m.member >= 16384 OR m.roleid >= 16384 GROUP BY 2, 3
    UNION ALL
    SELECT 'setting', CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole)::text END,
           CASE setdatabase WHEN 0 THEN '' ELSE 'database' END, to_jsonb(setconfig), 0
    FROM pg_db_role_setting
    WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    UNION ALL
    SELECT 'database', '', '', jsonb_build_object('owner', pg_get_userbyid(datdba), 'limit', datconnlimit,
           'comment', shobj_description(oid, 'pg_database'), 'acl', (
           SELECT jsonb_agg(DISTINCT ARRAY[CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee)::text END,
                                           privilege_type,
                                           CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END])
           FROM aclexplode(coalesce(datacl, acldefault('d', datdba))))), 0
    FROM pg_database WHERE datname = current_database()
"""
ATTRIBUTES = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolcanlogin": "LOGIN",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
LISTS = ("search_path", "temp_tablespaces")  # settings whose value is a list of names, each quoted by itself


class Thing(NamedTuple):
    """kind: role, member, setting or database. of: the role it is a member of, or `database` for a setting in it."""

    kind: str
    name: str
    of: str

    def __str__(self) -> str:
        if self.kind == "database":
            return "the database's owner, privileges, limit or comment"
        if self.kind == "member":
            return f"role {self.name}: member of {self.of}"
        who = f"role {self.name}" if self.name else "the database" if self.of else "all roles"
        here = " in this database" if self.of and self.name else ""
        return f"{who}: settings{here}" if self.kind == "setting" else who


class Shared(NamedTuple):
    """things: each with its value; oids: of roles by name; signature: what SIGNATURE said of them."""

    things: dict[Thing, Any]
    oids: dict[str, int]
    signature: int


def passwords(conn: Connection) -> dict[str, str | None]:
    """Every role's, hashed as it is stored."""
    return dict(conn.execute("SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname !~ '^pg_'").fetchall())


def differences(conn: Connection, baseline: str, secret: Mapping[str, str | None]) -> list[str]:
    """What is not as the baseline has it, a line each. secret: the passwords as they were."""
    return list(_differences(_now(conn), _kept(conn, baseline), passwords(conn), secret))


def restore(conn: Connection, baseline: str, secret: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
    """Bring them back. conn: in autocommit, superuser. Returns what was changed, and what still is."""
    kept = _kept(conn, baseline)
    quicker = retry_if_exception_type((InternalError_, DuplicateObject, UndefinedObject, UniqueViolation))
    trying = Retrying(retry=quicker, wait=wait_random(0, 0.02), stop=stop_after_attempt(5), reraise=True)
    changed = trying(lambda: _attempt(conn, kept, secret))
    now = _now(conn)
    left = list(_differences(now, kept, passwords(conn), secret))
    if not left:
        conn.execute(f"UPDATE {baseline}.state SET roles = %s".encode(), [now.signature])
    return changed, left


def _attempt(conn: Connection, kept: Shared, secret: Mapping[str, str | None]) -> list[str]:
    now, current = _now(conn), passwords(conn)
    changed = list(_differences(now, kept, current, secret))
    if changed:
        with conn.transaction():
            for statement in _statements(conn.info.dbname, now, kept):
                conn.execute(statement)
            for name, password in secret.items():
                if current.get(name, password) != password or name not in current:
                    conn.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(password)))
    return changed


def _now(conn: Connection) -> Shared:
    signature = f"SELECT 'signature', '', '', NULL, {SIGNATURE}"
    return _shared(conn.execute(f"{QUERY} UNION ALL {signature}".encode()).fetchall())


def _kept(conn: Connection, baseline: str) -> Shared:
    return _shared(conn.execute(f"SELECT kind, name, of, value, oid FROM {baseline}.roles".encode()).fetchall())


def _shared(rows: list[tuple[Any, ...]]) -> Shared:
    things = {Thing(*row[:3]): row[3] for row in rows if row[0] != "signature"}
    oids = {row[1]: row[4] for row in rows if row[0] == "role"}
    return Shared(things, oids, next((row[4] for row in rows if row[0] == "signature"), 0))


def _differences(
    now: Shared, kept: Shared, current: Mapping[str, str | None], secret: Mapping[str, str | None]
) -> Iterator[str]:
    for thing in dict.fromkeys([*kept.things, *now.things]):
        if now.things.get(thing) != kept.things.get(thing):
            yield str(thing)
    yield from (f"role {name}: password" for name in secret if current.get(name, secret[name]) != secret[name])


def _statements(database: str, now: Shared, kept: Shared) -> Iterator[Composed]:
    """What brings each thing back, roles first: the others name them."""
    here = Identifier(database)
    names = {oid: name for name, oid in now.oids.items() if name not in kept.oids}
    renamed = {names[oid]: name for name, oid in kept.oids.items() if oid in names and name not in now.oids}
    for old, name in renamed.items():
        yield SQL("ALTER ROLE {} RENAME TO {}").format(Identifier(old), Identifier(name))
    dropped = now.oids.keys() - kept.oids.keys()
    for thing in sorted({*kept.things, *now.things}, key=lambda one: (one.kind != "role", one)):
        was, want = now.things.get(thing), kept.things.get(thing)
        if was == want or thing.name in renamed or thing.of in renamed:
            continue
        if thing.kind == "role":
            yield from _role(Identifier(thing.name), want, present=was is not None or thing.name in renamed.values())
        elif thing.kind == "member" and (want is not None or not {thing.name, thing.of} & dropped):
            yield from _member(Identifier(thing.name), Identifier(thing.of), want)
        elif thing.kind == "setting" and thing.name not in dropped:
            yield from _settings(thing, here, want or [])
        elif thing.kind == "database" and was and want:
            yield from _database(here, was, want)


def _role(role: Identifier, want: dict[str, Any] | None, present: bool) -> Iterator[Composed]:
    if want is None:
        yield SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role)
        return
    if not present:
        yield SQL("CREATE ROLE {}").format(role)
    words = " ".join(f"{'' if want[key] else 'NO'}{word}" for key, word in ATTRIBUTES.items())
    yield SQL("ALTER ROLE {} {} CONNECTION LIMIT {} VALID UNTIL {}").format(
        role, SQL(words), want["rolconnlimit"], Literal(want["until"])
    )


def _member(member: Identifier, role: Identifier, admin: bool | None) -> Iterator[Composed]:
    if admin is None:
        yield SQL("REVOKE {} FROM {}").format(role, member)
        return
    yield SQL("GRANT {} TO {}").format(role, member)
    if admin:
        yield SQL("GRANT {} TO {} WITH ADMIN OPTION").format(role, member)
    else:
        yield SQL("REVOKE ADMIN OPTION FOR {} FROM {}").format(role, member)


def _settings(thing: Thing, here: Identifier, want: list[str]) -> Iterator[Composed]:
    if thing.name:
        place = SQL(" IN DATABASE {}").format(here) if thing.of else SQL("")
        target = SQL("ROLE {}{}").format(Identifier(thing.name), place)
    else:
        target = SQL("DATABASE {}").format(here) if thing.of else SQL("ROLE ALL").format()
    yield SQL("ALTER {} RESET ALL").format(target)
    for setting in want:
        name, _, value = setting.partition("=")
        if name in LISTS:
            yield SQL("SELECT set_config({}, {}, true)").format(Literal(name), Literal(value))
            yield SQL("ALTER {} SET {} FROM CURRENT").format(target, Identifier(name))
        else:
            names = Identifier(*name.split("."))
            yield SQL("ALTER {} SET {} TO {}").format(target, names, Literal(value))


def _database(here: Identifier, was: dict[str, Any], want: dict[str, Any]) -> Iterator[Composed]:
    yield SQL("ALTER DATABASE {} OWNER TO {}").format(here, Identifier(want["owner"]))
    yield SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(here, want["limit"])
    yield SQL("COMMENT ON DATABASE {} IS {}").format(here, Literal(want["comment"]))
    for who in {grantee for grantee, _, _ in was["acl"] or []}:
        yield SQL("REVOKE ALL ON DATABASE {} FROM {}").format(here, _grantee(who))
    for who, privilege, option in want["acl"] or []:
        yield SQL("GRANT {} ON DATABASE {} TO {}{}").format(SQL(privilege), here, _grantee(who), SQL(option))


def _grantee(name: str) -> Identifier | SQL:
    return Identifier(name) if name else SQL("PUBLIC")
