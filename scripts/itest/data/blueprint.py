"""How to copy a database: by which strategy, and what CREATE DATABASE … TEMPLATE would leave behind.

That is its owner, connection limit, privileges, comment, and the settings of ALTER DATABASE and of ALTER ROLE … IN
DATABASE: https://www.postgresql.org/docs/current/manage-ag-templatedbs.html. All else comes along by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier, Literal

from itest.errors import ItestError

FACTS = """
    SELECT current_setting('fsync')::bool, pg_get_userbyid(d.datdba), d.datconnlimit,
           shobj_description(d.oid, 'pg_database'), d.datacl IS NOT NULL,
           ARRAY(SELECT ARRAY[privilege_type, CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee)::text END,
                              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END] FROM aclexplode(d.datacl)),
           EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid)
    FROM pg_database d WHERE d.datname = %s
"""
# What ALTER DATABASE … SET does, without taking a value apart to quote it again (pg_dump has to know which are lists).
SETTINGS = SQL("""
    INSERT INTO pg_db_role_setting (setdatabase, setrole, setconfig)
    SELECT copy.oid, setrole, setconfig
    FROM pg_database source JOIN pg_db_role_setting ON setdatabase = source.oid, pg_database copy
    WHERE source.datname = {} AND copy.datname = {}
""")


@dataclass(frozen=True)
class Blueprint:
    """What it takes to copy one database: its strategy, and what doesn't come along by itself.

    limit: of connections, -1 for none. grants: privilege, role (empty for PUBLIC), grant option as SQL; None where the
    privileges were never changed. settings: whether it has any of its own.
    """

    source: str
    strategy: str
    owner: str
    limit: int
    comment: str | None
    grants: list[list[str]] | None
    settings: bool

    def create(self, name: str, options: str = "") -> Composed:
        """The statement that makes a copy."""
        clause = "CREATE DATABASE {} OWNER {} TEMPLATE {} CONNECTION LIMIT {}" + self.strategy + options
        return SQL(clause).format(Identifier(name), Identifier(self.owner), Identifier(self.source), self.limit)

    def complete(self, name: str) -> list[Composed]:
        """The statements that give a copy the rest."""
        database = Identifier(name)
        statements: list[Composed] = []
        if self.settings:
            statements.append(SETTINGS.format(self.source, name))
        if self.grants is not None:
            statements.append(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(database, Identifier(self.owner)))
        for privilege, role, option in self.grants or ():
            grantee = Identifier(role) if role else SQL("PUBLIC")
            grant = SQL("GRANT " + privilege + " ON DATABASE {} TO {}" + option)
            statements.append(grant.format(database, grantee))
        if self.comment is not None:
            statements.append(SQL("COMMENT ON DATABASE {} IS {}").format(database, Literal(self.comment)))
        return statements


def read(conn: Connection, source: str) -> Blueprint:
    """How to copy a database. Raises ItestError (data) where there is none of that name."""
    row = conn.execute(FACTS, [source]).fetchone()
    if row is None:
        hint = "`make up SUITE=…` seeds the stack and seals its template"
        raise ItestError("data", f"database {source}: not on this server", hint=hint, cause="template")
    durable, owner, limit, comment, granted, grants, settings = row
    # Copying files costs two checkpoints, which are dear where they are synced; the other way goes through the log.
    strategy = f" STRATEGY {'WAL_LOG' if durable else 'FILE_COPY'}" if conn.info.server_version >= 150000 else ""
    return Blueprint(source, strategy, owner, limit, comment, grants if granted else None, settings)
