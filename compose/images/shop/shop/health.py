"""Liveness and readiness. Alive: the process answers. Ready: what it depends on answers too."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from psycopg import Connection, OperationalError, ProgrammingError
from redis.exceptions import RedisError

from shop.database import connect
from shop.settings import Settings
from shop.store import Store

router = APIRouter(prefix="/health", tags=["health"])

OK = "ok"
# Fails unless every table is there, and this role may read it.
SCHEMA = "SELECT FROM users, sessions, refresh_tokens, items, orders, order_lines, payments, payment_events WHERE false"


@router.get("/live")
async def live() -> dict[str, str]:
    """200 while the process is up. No dependency counts: a restart of the shop would not mend it."""
    return {"status": OK}


@router.get("/ready")
def ready(request: Request, response: Response) -> dict[str, str | dict[str, str]]:
    """200 when requests can be served, else 503; either way what each dependency said."""
    checks = {**_database(request.app.state.settings), "redis": _redis(request.app.state.store)}
    healthy = all(result == OK for result in checks.values())
    response.status_code = 200 if healthy else 503
    return {"status": OK if healthy else "unavailable", "checks": checks}


def _database(settings: Settings) -> dict[str, str]:
    """On a connection of its own: a pool that has none left only knows that it waited, not why."""
    try:
        with connect(settings.database_url, "shop-health", settings.limits) as connection:
            return {"postgres": OK, "schema": _schema(connection)}
    except OperationalError as error:
        return {"postgres": _first_line(error), "schema": "unknown without postgres"}


def _schema(connection: Connection) -> str:
    try:
        connection.execute(SCHEMA)
    except ProgrammingError as error:
        return _first_line(error)
    return OK


def _redis(store: Store) -> str:
    try:
        store.redis.ping()
    except RedisError as error:
        return _first_line(error)
    return OK


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
