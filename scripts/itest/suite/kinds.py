"""What a service's kind means: its usual port, whether it holds data, and the address by which a test reaches it.

A kind is one entry of `KINDS`. Port, user, password and database are read from the container itself, so that nothing
that a compose file says has to be said again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote


class Endpoint(NamedTuple):
    """Where a published port answers."""

    host: str
    port: int


Environment = Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """port: the usual container port; stores: holds data that tests must find clean; address: DSN or URL."""

    port: int | None
    stores: bool
    address: Callable[[Endpoint, Environment], str]


def postgres_dsn(endpoint: Endpoint, environment: Environment, user: str = "", password: str = "") -> str:
    """A libpq URI: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS

    user, password: of another role than the image's superuser, whose password then is not used.
    """
    superuser = environment.get("POSTGRES_USER") or "postgres"
    database = environment.get("POSTGRES_DB") or superuser  # the image's own defaults
    if user in ("", superuser):
        password = password or environment.get("POSTGRES_PASSWORD", "")
    name = quote(user or superuser, safe="")
    secret = f":{quote(password, safe='')}" if password else ""
    return f"postgresql://{name}{secret}@{endpoint.host}:{endpoint.port}/{quote(database, safe='')}"


def redis_dsn(endpoint: Endpoint, environment: Environment) -> str:
    """https://www.iana.org/assignments/uri-schemes/prov/redis"""
    password = environment.get("REDIS_PASSWORD", "")
    secret = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{secret}{endpoint.host}:{endpoint.port}/0"


KINDS: Mapping[str, Kind] = {
    "postgres": Kind(5432, True, postgres_dsn),
    "redis": Kind(6379, True, redis_dsn),
    "http": Kind(None, False, lambda endpoint, _: f"http://{endpoint.host}:{endpoint.port}"),
    "tcp": Kind(None, False, lambda endpoint, _: f"tcp://{endpoint.host}:{endpoint.port}"),
}
