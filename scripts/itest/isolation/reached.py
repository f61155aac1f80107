"""What it means when a store can't be reached between tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from itest.errors import ItestError
from itest.stack.stack import Stack


@contextmanager
def reached(stack: Stack, service: str) -> Iterator[None]:
    """Turn what the drivers raise for a store that is gone into an error that names it and says what it is now.

    Raises ItestError (service).
    """
    import psycopg
    import redis

    if service in stack.halted:  # one that is paused would accept the connection and never answer
        raise _unreachable(stack, service, "a test took it away")
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, redis.ConnectionError, redis.TimeoutError) as error:
        raise _unreachable(stack, service, " ".join(str(error).split())) from error
    except ItestError as error:
        if error.category != "service" or error.cause == "unreachable":
            raise
        raise _unreachable(stack, service, error.message) from error


def _unreachable(stack: Stack, service: str, words: str) -> ItestError:
    problem = f"service {service}: {stack.state(service)}, can't return to the seeded state: {words}"
    hint = f"a test that kills, pauses or stops it has to call `stack.start({service!r})` in the end; or make logs"
    return ItestError("service", problem, hint=hint, cause="unreachable")
