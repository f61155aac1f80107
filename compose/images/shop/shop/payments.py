"""Paying an order: one payment that counts, however often it is asked for, and whatever becomes of the provider."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Request, Response
from pydantic import BaseModel, StringConstraints

from shop import ledger
from shop.auth import CurrentUser
from shop.breaker import Open
from shop.database import Pool
from shop.ledger import Entry, Payment
from shop.mail import ReceiptMailer
from shop.orders import OrderId
from shop.partner import Busy, Failed, Refused
from shop.problems import Problem
from shop.provider import Charge, PaymentProvider, Provider
from shop.tracing import CurrentTrace, Trace

router = APIRouter(tags=["payments"])

DECLINED = 402
SOON = 1.0  # seconds


class PaymentInput(BaseModel):
    """What the provider's form in the browser made of a card: the number itself never comes here."""

    token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.post("/orders/{order_id}/payment", response_model=Payment)
def pay(
    order_id: OrderId,
    wanted: PaymentInput,
    request: Request,
    response: Response,
    user: CurrentUser,
    pool: Pool,
    provider: PaymentProvider,
    mailer: ReceiptMailer,
    trace: CurrentTrace,
    later: BackgroundTasks,
) -> Entry:
    """Pay an order: 200 paid, 202 the provider will tell. After an error that says `pending`, ask again: it is safe."""
    seconds = request.app.state.settings.patience.most_seconds
    with pool.connection() as connection:
        entry = ledger.begin(connection, order_id, user, wanted.token, seconds)
    if entry.status == "paid":
        return entry
    charge, failure = _charged(provider, entry, trace)
    receipt = None
    with pool.connection() as connection:
        if isinstance(failure, Refused) and failure.status == DECLINED:
            ledger.fail(connection, entry.id, failure.code or "declined")
        elif charge and charge.status == "succeeded":
            receipt = ledger.settle(connection, entry.id, charge.id)
        entry = ledger.release(connection, entry.id)
    if receipt:
        later.add_task(mailer.send, receipt, trace)
    if entry.status == "failed":
        raise Problem(DECLINED, "The payment was declined", payment=entry.status, reason=entry.failure)
    if failure and entry.status != "paid":  # a webhook may have been faster
        raise _problem(failure)
    response.status_code = 200 if entry.status == "paid" else 202
    return entry


def _charged(provider: Provider, entry: Entry, trace: Trace) -> tuple[Charge | None, Exception | None]:
    """What the provider said, or why it said nothing that counts."""
    try:
        return provider.charge(entry.id, entry.token, entry.amount, trace), None
    except (Failed, Refused, Open) as error:
        return None, error


def _problem(failure: Exception) -> Problem:
    """What the customer is told where the end is not known. It says `pending`, and to ask again is safe."""
    if isinstance(failure, Open | Busy):
        wait = {"Retry-After": str(math.ceil(failure.seconds or SOON))}
        return Problem(503, "Payments are not possible at this moment", wait, payment="pending")
    status = 504 if isinstance(failure, Failed) and failure.late else 502
    return Problem(status, f"The payment provider failed: {failure}", payment="pending")
