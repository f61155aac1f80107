"""A customer with orders to pay, the provider's side of webhooks, and third parties at rest when a test ends."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from psycopg.rows import namedtuple_row

from itest.factory import Factory
from itest.mocking import Mock, Received

ADA, PASSWORD = "ada@example.com", "correct horse battery staple"  # seeded, see fixtures/README.md


@pytest.fixture
def mock(mock: Mock) -> Mock:
    """The toolkit's; a stub that a test makes for nothing fails it."""
    mock.strict = True
    return mock


@pytest.fixture
def customer(http: requests.Session) -> requests.Session:
    """Ada, signed in."""
    tokens = http.post("/login", json={"email": ADA, "password": PASSWORD}).json()
    http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return http


@pytest.fixture
def make_order(factory: Factory) -> Callable[..., int]:
    """Make up an order of Ada's over 12 euros: `make_order(total="3.50")` is its id."""

    def make(**columns: Any) -> int:
        return factory.create("orders", **{"user_id": 2, "status": "placed", "total": "12.00", **columns}).id

    return make


@pytest.fixture
def pay(customer: requests.Session, _receipts: None) -> Callable[..., requests.Response]:
    """Pay an order: `pay(order)`, or as fixtures/external/stubs knows them `pay(order, "tok_declined")`."""

    def ask(order: int, token: str = "tok_visa", **headers: str) -> requests.Response:
        return customer.post(f"/orders/{order}/payment", json={"token": token}, headers=headers)

    return ask


@pytest.fixture
def asked(mock: Mock) -> Callable[..., Received]:
    """What the provider was asked for, of one card or of all: `asked("tok_flaky").times(3)`."""

    def received(token: str = "") -> Received:
        return mock.received("POST", "/v1/payments", json={"source": token} if token else None)

    return received


@pytest.fixture
def mailed(mock: Mock, eventually: Callable[..., Any]) -> Callable[[int], Any]:
    """Wait for the one receipt of an order, and return it: it follows after the shop's own answer."""
    return lambda order: eventually(
        lambda: mock.received("POST", "/v1/mails", json={"subject": f"Order {order} is paid"}).once()
    )


@pytest.fixture
def _receipts(mock: Mock, db: Any, stack: Any, eventually: Callable[..., Any]) -> Iterator[None]:
    """No receipt comes late, in the middle of the next test."""
    yield
    paid = [payment for (payment,) in db.execute("SELECT id FROM payments WHERE status = 'paid'")]

    def begun() -> bool:
        mails = {call.headers["idempotency-key"] for call in mock.received("POST", {"glob": "/**/mails"})}
        return all(f"receipt {payment}" in mails or given_up(stack, payment) for payment in paid)

    eventually(begun)


def given_up(stack: Any, payment_id: object) -> bool:
    """Whether the shop won't try again to send a receipt."""
    return f"receipt of payment {payment_id} not sent" in stack.logs("shop")


@pytest.fixture
def until_given_up(stack: Any, eventually: Callable[..., Any], payment_of: Callable[[int], Any]) -> Callable[..., None]:
    """Wait until the shop sends no receipt any more of orders whose mails fail, so that none comes in the next test."""

    def wait(*orders: int) -> None:
        payments = [payment_of(order).id for order in orders]
        eventually(lambda: all(given_up(stack, payment) for payment in payments))

    return wait


@pytest.fixture
def payment_of(db: Any) -> Callable[[int], Any]:
    """The newest payment of an order, as the books have it: `payment_of(order).status`."""
    return lambda order: (
        db.cursor(row_factory=namedtuple_row)
        .execute("SELECT * FROM payments WHERE order_id = %s ORDER BY created_at DESC LIMIT 1", [order])
        .fetchone()
    )


@pytest.fixture
def status_of(db: Any) -> Callable[[int], str]:
    """What an order's row says: `status_of(order) == "paid"`."""
    return lambda order: db.execute("SELECT status::text FROM orders WHERE id = %s", [order]).fetchone()[0]


@pytest.fixture
def event() -> Callable[..., bytes]:
    """What the provider tells of a payment: `event(payment.id, type="payment.failed")`."""

    def make(reference: object, type: str = "payment.succeeded", id: str = "", **data: str) -> bytes:
        about = {"id": f"pay_{reference}", "reference": str(reference), **data}
        return json.dumps({"id": id or f"evt_{uuid.uuid4().hex}", "type": type, "data": about}).encode()

    return make


@pytest.fixture
def signature(stack: Any) -> Callable[..., str]:
    """As the provider signs: made by hand, the test shares no code with what it tests."""

    def sign(body: bytes, *, secret: str = "", age: float = 0) -> str:
        stamp = str(int(time.time() - age))
        key = secret or stack.env("shop")["SHOP_WEBHOOK_SECRET"]
        return f"t={stamp},v1={hmac.new(key.encode(), stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"

    return sign


@pytest.fixture
def tell(http: requests.Session, signature: Callable[..., str], _receipts: None) -> Callable[..., requests.Response]:
    """Be the provider and call the shop: `tell(event(payment.id))`, signed unless another signature is given."""

    def send(body: bytes, signed: str | None = None) -> requests.Response:
        headers = {
            "Content-Type": "application/json",
            "Payments-Signature": signature(body) if signed is None else signed,
        }
        return http.post("/webhooks/payments", data=body, headers=headers)

    return send


@pytest.fixture
def problem() -> Callable[[requests.Response, int], dict[str, Any]]:
    """Demand problem details (RFC 9457) of this status and return them: `problem(response, 402)["reason"]`."""

    def demand(response: requests.Response, status: int) -> dict[str, Any]:
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"] == "application/problem+json"
        return response.json()

    return demand
