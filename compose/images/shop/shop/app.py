"""The application: what it is made of, and what it opens and closes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shop import health, items, orders, problems, sessions, users
from shop.cache import Cache
from shop.database import open_pool
from shop.settings import Settings


def create_app() -> FastAPI:
    """Build the application from the environment. It starts without its dependencies: alive, and not ready yet."""
    settings = Settings.from_environment(os.environ)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.cache = Cache(settings.redis_url, settings.cache_seconds)
        app.state.pool = open_pool(settings.database_url)
        yield
        app.state.pool.close()
        app.state.cache.close()

    app = FastAPI(title="Shop", version="1.0.0", lifespan=lifespan, responses=problems.RESPONSES)
    problems.install(app)
    for module in (health, users, sessions, items, orders):
        app.include_router(module.router)
    return app
