"""A database kept for somebody to look at: a copy that is taken while services stay connected, and how to open it."""

from __future__ import annotations

import re
import secrets

from psycopg.sql import SQL, Identifier

from itest.data import sql, template
from itest.stack.stack import Stack

LOCK_TIMEOUT = 10.0  # seconds


def kept_name(database: str, label: str) -> str:
    """A free name for a database that outlasts its test: `app_itest_kept_refund_twice_3fa1`."""
    word = re.sub("[^a-z0-9]+", "_", label.lower().removeprefix("test_")).strip("_")[:14]
    return template.named(database, f"kept_{word}_{secrets.token_hex(2)}")


def copy(stack: Stack, service: str, label: str) -> str:
    """Copy what is committed in the stack's database to a new one. Returns its name.

    By pg_dump inside the container: CREATE DATABASE … TEMPLATE would have to disconnect the services first.
    Raises ItestError (service) where PostgreSQL doesn't answer, DockerException where pg_dump fails.
    """
    with sql.connect(stack.dsn(service), "itest keep", lock_timeout=LOCK_TIMEOUT) as conn:
        source, user = conn.info.dbname, conn.info.user
        name = kept_name(source, label)
        conn.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
    dump = f"/tmp/{name}.dump"
    ours = ("--exclude-schema=itest_*", "--exclude-table=public.itest_migrations")
    run = stack.project.execute
    run(service, ["pg_dump", f"--username={user}", "--format=custom", *ours, f"--file={dump}", source])
    run(service, ["pg_restore", f"--username={user}", f"--dbname={name}", dump])
    run(service, ["rm", dump])
    return name


def look(stack: Stack, service: str, database: str) -> str:
    """The command that opens psql on a database; inside the container it needs no password."""
    container = stack.containers[service]
    user = container.environment.get("POSTGRES_USER") or "postgres"
    return f"docker exec -it {container.id[:12]} psql -U {user} {database}"
