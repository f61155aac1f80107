"""A copy of a database for somebody to look at, taken while services stay connected to it."""

from __future__ import annotations

import re
from itertools import count

from psycopg.errors import DuplicateDatabase
from psycopg.sql import SQL, Identifier

from itest.data import sql
from itest.stack.stack import Stack

LOCK_TIMEOUT = 10.0  # seconds
NAME = 63  # bytes of an identifier


def copy(stack: Stack, service: str, label: str) -> str:
    """Copy the stack's database to a new one named after `label`, with what is committed. Returns its name.

    By pg_dump in the container: CREATE DATABASE … TEMPLATE would have to disconnect the services first.
    Raises ItestError (service) where PostgreSQL doesn't answer, DockerException where pg_dump fails.
    """
    with sql.connect(stack.dsn(service), "itest keep", lock_timeout=LOCK_TIMEOUT) as conn:
        source, user = conn.info.dbname, conn.info.user
        stem = f"{source}_itest_kept_{re.sub('[^a-z0-9]+', '_', label.lower()).strip('_')}"[: NAME - 4].rstrip("_")
        for number in count(1):
            name = stem if number == 1 else f"{stem}_{number}"
            try:
                conn.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
                break
            except DuplicateDatabase:
                continue
    file = f"/tmp/{name}.dump"
    project = stack.project
    project.execute(service, ["pg_dump", "-U", user, "-Fc", "-N", "itest_*", "-e", "*", "-f", file, source])
    project.execute(service, ["pg_restore", "-U", user, "-d", name, file])
    project.execute(service, ["rm", file])
    return name


def look(stack: Stack, service: str, database: str) -> str:
    """The command that opens psql on a database, without a password."""
    container = stack.containers[service]
    user = container.environment.get("POSTGRES_USER") or "postgres"
    return f"docker exec -it {container.id[:12]} psql -U {user} {database}"
