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
SCOPE = "default"  # of a mock: whose a request is that says nothing, and whose tests have no scope of their own


@dataclass(frozen=True)
class Kind:
    """What is known of a kind of service.

    port: the usual container port. address: (endpoint, environment, place) -> DSN or URL. place: of a store, what a
    worker has of its own in it (a database, a vhost …), as the end of the variable by which layers name it:
    `POSTGRES_DB` for a service called postgres; empty for what holds no data. admin: the port at which the service is
    told what to do, where that is another one.
    """

    port: int | None
    address: Callable[[Endpoint, Environment, str], str]
    place: str = ""
    admin: int | None = None

    @property
    def stores(self) -> bool:
        """Whether it holds data that tests must find clean."""
        return bool(self.place)


def postgres_dsn(
    endpoint: Endpoint, environment: Environment, place: str = "", user: str = "", password: str = ""
) -> str:
    """A libpq URI: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS

    place: another database than the image's own. user, password: of another role than the image's superuser, whose
    password then is not used.
    """
    superuser = environment.get("POSTGRES_USER") or "postgres"
    database = place or environment.get("POSTGRES_DB") or superuser  # the image's own defaults
    if user in ("", superuser):
        password = password or environment.get("POSTGRES_PASSWORD", "")
    name = quote(user or superuser, safe="")
    secret = f":{quote(password, safe='')}" if password else ""
    return f"postgresql://{name}{secret}@{endpoint.host}:{endpoint.port}/{quote(database, safe='')}"


def redis_dsn(endpoint: Endpoint, environment: Environment, place: str = "") -> str:
    """https://www.iana.org/assignments/uri-schemes/prov/redis; place: the number of a logical database."""
    password = environment.get("REDIS_PASSWORD", "")
    secret = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{secret}{endpoint.host}:{endpoint.port}/{place or 0}"


def rabbitmq_url(endpoint: Endpoint, environment: Environment, place: str = "") -> str:
    """https://www.rabbitmq.com/docs/uri-spec; place: a virtual host. The image's own default is guest, `/`."""
    user = quote(environment.get("RABBITMQ_DEFAULT_USER") or "guest", safe="")
    password = quote(environment.get("RABBITMQ_DEFAULT_PASS") or "guest", safe="")
    vhost = quote(place or environment.get("RABBITMQ_DEFAULT_VHOST") or "/", safe="")
    return f"amqp://{user}:{password}@{endpoint.host}:{endpoint.port}/{vhost}"


def http_url(endpoint: Endpoint, _environment: Environment, _place: str = "") -> str:
    """The base URL of a service that speaks HTTP."""
    return f"http://{endpoint.host}:{endpoint.port}"


KINDS: Mapping[str, Kind] = {
    "postgres": Kind(5432, postgres_dsn, place="DB"),
    "redis": Kind(6379, redis_dsn, place="DB"),
    "rabbitmq": Kind(5672, rabbitmq_url, place="VHOST"),
    "mock": Kind(8080, http_url, place="SCOPE", admin=1080),
    "http": Kind(None, http_url),
    "tcp": Kind(None, lambda endpoint, *_: f"tcp://{endpoint.host}:{endpoint.port}"),
}
