"""A customer who orders while things are going wrong, and what the books say afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from psycopg import Connection

ADA, PASSWORD = "ada@example.com", "correct horse battery staple"  # fixtures/README.md


@pytest.fixture
def sign_in(http: requests.Session) -> Callable[[str], dict[str, str]]:
    """The headers of somebody who has logged in: `http.get("/me", headers=sign_in("ada@example.com"))`."""

    def headers(email: str) -> dict[str, str]:
        tokens = http.post("/login", json={"email": email, "password": PASSWORD}).json()
        return {"Authorization": f"Bearer {tokens['access_token']}"}

    return headers


@pytest.fixture
def order(http: requests.Session, sign_in: Callable[[str], dict[str, str]]) -> Callable[..., requests.Response]:
    """Ada orders one of each item: `order(MUG, NOTEBOOK, key="7d1c")`."""
    ada = sign_in(ADA)

    def place(*items: int, key: str | None = None) -> requests.Response:
        headers = ada if key is None else ada | {"Idempotency-Key": key}
        return http.post("/orders", json={"lines": [{"item_id": item} for item in items]}, headers=headers)

    return place


@pytest.fixture
def books(db: Connection) -> Callable[[], dict[str, int]]:
    """What counts: how many orders there are, and what is left of each item that tests order."""

    def read() -> dict[str, int]:
        (orders,) = db.execute("SELECT count(*) FROM orders WHERE id > 2").fetchone()
        return {"orders": orders, **dict(db.execute("SELECT sku, stock FROM items WHERE id IN (1, 2)").fetchall())}

    return read


@pytest.fixture
def turned_away() -> Callable[[requests.Response], None]:
    """Demand that a request was answered with 503, problem details, and when to come back."""

    def demand(response: requests.Response) -> None:
        assert response.status_code == 503, response.text
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"] == "The database is not available, see /health/ready"
        assert response.headers["Retry-After"] == "1"

    return demand


@pytest.fixture
def well(http: requests.Session, eventually: Callable[..., Any]) -> Callable[[], None]:
    """Wait until the shop has both its stores again: by itself, within seconds."""

    def has_both() -> bool:
        answers = [http.get(path) for path in ("/health/ready", "/items?limit=1", "/items/5")]
        return all(answer.ok for answer in answers) and answers[-1].headers["X-Cache"] == "hit"

    return lambda: eventually(has_both)


@pytest.fixture(autouse=True)
def _well_again(well: Callable[[], None]) -> Iterator[None]:
    """Whatever a test did to it, the next one finds the shop well. Torn down when all faults are healed."""
    yield
    well()
