"""A database kept for somebody to look at: a copy that is taken while services stay connected, and how to open it."""

from __future__ import annotations

import re
import secrets

from psycopg.sql import SQL, Identifier

from itest.data import sql, template
from itest.errors import ItestError
from itest.stack.stack import Stack

LOCK_TIMEOUT = 10.0  # seconds


def kept_name(database: str, label: str) -> str:
    """A free name for a database that outlasts its test: `app_itest_kept_refund_twice_3fa1`."""
    word = re.sub("[^a-z0-9]+", "_", label.lower().removeprefix("test_")).strip("_")[:14]
    return template.named(database, f"kept_{word}_{secrets.token_hex(2)}")


def copy(stack: Stack, service: str, label: str) -> str:
    """Copy what is committed in the stack's database to a new one. Returns its name.

    By pg_dump inside the container: CREATE DATABASE … TEMPLATE would have to disconnect the services first.
    Raises ItestError: service where PostgreSQL doesn't answer, data with pg_dump's words where it fails.
    """
    from python_on_whales.exceptions import DockerException

    with sql.connect(stack.dsn(service), "itest keep", lock_timeout=LOCK_TIMEOUT) as conn:
        source, user = conn.info.dbname, conn.info.user
        name = kept_name(source, label)
        conn.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
    dump = f"/tmp/{name}.dump"
    try:
        for command in (
            ["pg_dump", f"--username={user}", "--format=custom", f"--file={dump}", source],
            ["pg_restore", f"--username={user}", f"--dbname={name}", dump],
            ["rm", dump],
        ):
            stack.project_of(service).execute(service, command)
    except DockerException as error:
        problem = f"service {service}: {source} can't be copied: {error.stderr}"
        raise ItestError("data", problem, hint="make logs", cause="keep") from error
    return name


def look(stack: Stack, service: str, database: str) -> str:
    """The command that opens psql on a database; inside the container it needs no password."""
    container = stack.containers[service]
    user = container.environment.get("POSTGRES_USER") or "postgres"
    return f"docker exec -it {container.id[:12]} psql -U {user} {database}"
