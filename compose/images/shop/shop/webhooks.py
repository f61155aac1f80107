"""What the payment provider tells by itself: signed, so that nobody else can, and each event counts once.

The signature is made as Stripe makes it: `t=<seconds>,v1=<hex of HMAC-SHA256 over "<t>.<body>">`, with a v1 for each
secret while one takes over from another.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Request
from psycopg.errors import ForeignKeyViolation
from pydantic import BaseModel, StringConstraints, ValidationError

from shop import ledger
from shop.database import Pool
from shop.mail import ReceiptMailer
from shop.problems import Problem
from shop.tracing import CurrentTrace

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Told(BaseModel):
    """The payment that an event is about. id: the provider's own; reference: ours."""

    id: Text
    reference: UUID
    failure: Text = "failed"


class Event(BaseModel):
    """Something that has happened at the provider."""

    id: Text
    type: Literal["payment.succeeded", "payment.failed"]
    data: Told


async def _signed(request: Request, payments_signature: Annotated[str, Header(max_length=1000)] = "") -> bytes:
    """The body as it was signed. Anything else is refused before it is even read."""
    settings = request.app.state.settings
    body = await request.body()
    parts = [part.partition("=")[::2] for part in payments_signature.split(",")]
    stamp = next((value for name, value in parts if name.strip() == "t"), "")
    wanted = hmac.digest(settings.webhook_secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hex()
    # bytes: compare_digest takes no text beyond ASCII. A list: each takes its time, whether another one fits or not.
    fits = [hmac.compare_digest(wanted.encode(), value.encode()) for name, value in parts if name.strip() == "v1"]
    if not any(fits):
        raise Problem(400, "The signature is not valid")
    # What was signed is a number of seconds, or the provider isn't the provider.
    if abs(time.time() - float(stamp)) > settings.webhook_tolerance_seconds:
        raise Problem(400, "The signature is too old, or of a clock that is ahead")
    return body


@router.post("/payments", status_code=204)
def payments(
    body: Annotated[bytes, Depends(_signed)],
    pool: Pool,
    mailer: ReceiptMailer,
    trace: CurrentTrace,
    later: BackgroundTasks,
) -> None:
    """Take an event. 204 for one that is known already, too: the provider repeats it until it hears that."""
    try:
        event = Event.model_validate_json(body)
    except ValidationError as error:
        raise Problem(422, f"The event can't be read: {error.error_count()} errors") from None
    receipt = None
    try:
        with pool.connection() as connection:
            if ledger.note_event(connection, event.id, event.data.reference, event.type):
                if event.type == "payment.succeeded":
                    receipt = ledger.settle(connection, event.data.reference, event.data.id)
                else:
                    ledger.fail(connection, event.data.reference, event.data.failure)
    except ForeignKeyViolation:
        raise Problem(404, f"There is no payment {event.data.reference}") from None
    if receipt:
        later.add_task(mailer.send, receipt, trace)
