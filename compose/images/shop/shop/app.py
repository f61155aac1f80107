"""The application: what it is made of, and what it opens and closes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shop import health, items, orders, payments, problems, sessions, users, webhooks
from shop.breaker import Breaker
from shop.cache import Cache
from shop.database import open_pool
from shop.mail import Mailer
from shop.partner import Partner, open_client
from shop.provider import Provider
from shop.settings import Patience, Settings
from shop.store import Store


def create_app() -> FastAPI:
    """Build the application from the environment. It starts without its dependencies: alive, and not ready yet."""
    settings = Settings.from_environment(os.environ)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.store = Store(settings.redis_url, settings.limits)
        app.state.cache = Cache(app.state.store, settings.cache_seconds)
        app.state.pool = open_pool(settings.database_url, settings.limits)
        app.state.client = open_client(settings.patience)
        app.state.provider = Provider(_partner(app, "payments", settings.payments_url, settings.payments_key))
        app.state.mailer = Mailer(_partner(app, "mail", settings.mail_url, settings.mail_key))
        yield
        app.state.client.close()
        app.state.pool.close()
        app.state.store.close()

    app = FastAPI(title="Shop", version="1.0.0", lifespan=lifespan, responses=problems.RESPONSES)
    problems.install(app)
    for module in (health, users, sessions, items, orders, payments, webhooks):
        app.include_router(module.router)
    return app


def _partner(app: FastAPI, name: str, url: str, key: str) -> Partner:
    patience: Patience = app.state.settings.patience
    trial_ms = patience.connect_timeout_ms + patience.answer_timeout_ms
    breaker = Breaker(app.state.store, name, patience.breaker_failures, patience.breaker_ms, trial_ms)
    return Partner(app.state.client, url, key, patience, breaker)
