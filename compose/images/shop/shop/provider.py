"""The payment provider: what it is asked for, and which of its answers is believed."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Request
from pydantic import BaseModel, Field

from shop.partner import Partner
from shop.tracing import Trace

CURRENCY = "EUR"


class Charge(BaseModel):
    """What the provider says of a payment. amount: in cents; `processing`: it will tell by webhook."""

    id: Annotated[str, Field(min_length=1)]
    status: Literal["succeeded", "processing"]
    amount: int


class Provider:
    """Charges customers, through the partner that it is given."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner

    def charge(self, payment_id: UUID, token: str, amount: Decimal, trace: Trace) -> Charge:
        """Charge for a payment, once however often it is called. Raises what `Partner.post` does."""
        cents = int(amount * 100)
        wanted = {"amount": cents, "currency": CURRENCY, "source": token, "reference": str(payment_id)}

        def read(body: bytes) -> Charge:
            charge = Charge.model_validate_json(body)
            if charge.amount != cents:
                raise ValueError(f"it charged {charge.amount} instead of {cents}")
            return charge

        return self._partner.post(wanted, str(payment_id), trace, read)


def _provider(request: Request) -> Provider:
    provider: Provider = request.app.state.provider
    return provider


PaymentProvider = Annotated[Provider, Depends(_provider)]
