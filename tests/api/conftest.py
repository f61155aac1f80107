"""Accounts and signed-in clients of the shop, and what every error answer must look like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import requests

from itest.factory import Factory
from itest.stack.http import BaseUrlSession

PASSWORD = "correct horse battery staple"  # of every account, seeded (fixtures/README.md) or made up


def hashed(password: str) -> str:
    """As the shop stores it, but a cheap one: next to no time, instead of a tenth of a second."""
    n, r, p, salt = 16, 8, 1, b"salt for tests.."
    return (
        f"scrypt${n}${r}${p}${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=32).hex()}"
    )


@pytest.fixture
def factory(factory: Factory) -> Factory:
    """The toolkit's, whose accounts can log in here."""
    factory.defaults("users", password_hash=hashed(PASSWORD))
    return factory


@pytest.fixture
def make_user(factory: Factory) -> Callable[..., Any]:
    """Make up an account that can log in: `sign_in(make_user(role="admin").email)`."""
    return partial(factory.create, "users")


@pytest.fixture
def make_order(factory: Factory) -> Callable[..., Any]:
    """Make up an order with a line of an item of its own: `make_order(user=user, status="paid")`."""

    def make(**columns: Any) -> Any:
        order = factory.create("orders", **columns)
        factory.create("order_lines", order=order)
        return order

    return make


@pytest.fixture
def login(http: requests.Session) -> Callable[..., dict[str, Any]]:
    """Log in and return the tokens: `login("ada@example.com")`."""

    def log_in(email: str, password: str = PASSWORD) -> dict[str, Any]:
        response = http.post("/login", json={"email": email, "password": password})
        assert response.status_code == 200, response.text
        return response.json()

    return log_in


@pytest.fixture
def sign_in(stack: Any, login: Callable[..., dict[str, Any]]) -> Iterator[Callable[[str], requests.Session]]:
    """Log in and return a session that says so in every request: `sign_in("ada@example.com").get("/me")`."""
    with ExitStack() as opened:

        def open_session(email: str) -> requests.Session:
            session = opened.enter_context(BaseUrlSession(stack.url("shop")))
            session.headers["Authorization"] = f"Bearer {login(email)['access_token']}"
            return session

        yield open_session


@pytest.fixture
def as_customer(sign_in: Callable[[str], requests.Session]) -> requests.Session:
    """Ada, a customer with one order in the books."""
    return sign_in("ada@example.com")


@pytest.fixture
def as_other_customer(sign_in: Callable[[str], requests.Session]) -> requests.Session:
    """Grace, a customer too."""
    return sign_in("grace@example.com")


@pytest.fixture
def as_admin(sign_in: Callable[[str], requests.Session]) -> requests.Session:
    """The admin."""
    return sign_in("admin@example.com")


@pytest.fixture
def problem() -> Callable[[requests.Response, int], dict[str, Any]]:
    """Demand problem details (RFC 9457) of this status and return them: `problem(response, 404)["detail"]`."""

    def demand(response: requests.Response, status: int) -> dict[str, Any]:
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"] == "application/problem+json"
        body = response.json()
        assert body["status"] == status
        assert body["title"]
        return body

    return demand
