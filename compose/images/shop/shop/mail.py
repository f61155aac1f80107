"""Mail, through a mail service's HTTP API: after the answer, and never at the cost of what it is about."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from shop.breaker import Open
from shop.partner import Failed, Partner, Refused
from shop.provider import CURRENCY
from shop.tracing import Trace

log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Receipt:
    """What a customer is to be told of a payment."""

    payment_id: UUID
    order_id: int
    email: str
    amount: Decimal


class Mailer:
    """Sends mail, through the partner that it is given."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner

    def send(self, receipt: Receipt, trace: Trace) -> None:
        """Tell a customer of a payment. Where that can't be done it is logged: nobody is left to be told."""
        mail = {
            "to": receipt.email,
            "subject": f"Order {receipt.order_id} is paid",
            "text": f"We have received {receipt.amount} {CURRENCY}. Thank you!",
        }
        try:
            self._partner.post(mail, f"receipt {receipt.payment_id}", trace, read=bytes)
        except (Failed, Refused, Open) as error:
            log.warning("mail: receipt of payment %s not sent: %s", receipt.payment_id, error)


def _mailer(request: Request) -> Mailer:
    mailer: Mailer = request.app.state.mailer
    return mailer


ReceiptMailer = Annotated[Mailer, Depends(_mailer)]
