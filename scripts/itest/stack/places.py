"""A worker's own place in a store that it shares: a database, a logical database, a virtual host, a mock's scope.

Made anew when its slot is claimed, whatever a worker that was killed left there, and given back at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from itest.errors import ItestError
from itest.stack.rabbitmq import drop_vhost, make_vhost
from itest.stack.stack import Stack
from itest.suite import workers


@dataclass(frozen=True)
class Place:
    """What a kind of store gives to a worker.

    name: (stack, service, slot) -> how the place is called. make: (the stack as it is, service, place). drop: (the
    worker's stack, service, place).
    """

    name: Callable[[Stack, str, int], str]
    make: Callable[[Stack, str, str], None]
    drop: Callable[[Stack, str, str], None]


def names(stack: Stack, slot: int) -> dict[str, str]:
    """The places of a slot in all stores that workers share: service -> name."""
    shared = [one for one in stack.suite.services.values() if one.stores and one.name not in stack.suite.per_worker]
    if not workers.scoped(stack.suite):
        shared = [one for one in shared if one.kind != "mock"]
    return {one.name: PLACES[one.kind].name(stack, one.name, slot) for one in shared}


def make(stack: Stack, places: Mapping[str, str]) -> None:
    """Make them, in place of any that were left. Raises ItestError (usage, data or service)."""
    for service, place in places.items():
        PLACES[stack.suite.services[service].kind].make(stack, service, place)


def drop(stack: Stack) -> None:
    """Give back the places of a worker's stack. A store that is gone has nothing left to give back."""
    for service, place in stack.places.items():
        with suppress(ItestError):
            PLACES[stack.suite.services[service].kind].drop(stack, service, place)


def _database(stack: Stack, service: str, slot: int) -> str:
    from psycopg.conninfo import conninfo_to_dict

    from itest.data import template

    return template.named(str(conninfo_to_dict(stack.dsn(service))["dbname"]), str(slot))


def _clone(stack: Stack, service: str, database: str) -> None:
    from itest.data import template

    with template.maintenance(stack.dsn(service)) as admin:
        template.drop(admin, database)
        template.create(admin, database, database)


def _drop_clone(stack: Stack, service: str, database: str) -> None:
    from itest.data import template

    with template.maintenance(stack.dsn(service)) as admin:
        template.drop(admin, database)


def _refuse_beyond(stack: Stack, service: str, number: str) -> None:
    """Redis has all its logical databases from the start; more than those there aren't."""
    import redis

    with redis.Redis.from_url(stack.dsn(service)) as client:
        databases = int(client.config_get("databases")["databases"])
    if int(number) >= databases:
        problem = f"service {service}: it has {databases} logical databases, and worker {number} needs its own"
        hint = f"`databases {int(number) + 1}` in its configuration, or fewer workers: -n {databases}"
        raise ItestError("usage", problem, hint=hint, cause="workers")


def _flush(stack: Stack, service: str, _number: str) -> None:
    import redis

    with suppress(redis.RedisError), redis.Redis.from_url(stack.dsn(service)) as client:
        client.flushdb()


def _end_scope(stack: Stack, service: str, scope: str) -> None:
    from itest.mocking.admin import Admin

    with Admin(stack.admin(service)) as admin:
        admin.end(scope)


PLACES: Mapping[str, Place] = {
    "postgres": Place(_database, _clone, _drop_clone),
    "redis": Place(lambda _stack, _service, slot: str(slot), _refuse_beyond, _flush),
    "rabbitmq": Place(lambda _stack, _service, slot: f"itest-{slot}", make_vhost, drop_vhost),
    "mock": Place(lambda _stack, _service, slot: f"worker{slot}", _end_scope, _end_scope),
}
