"""Whose request a call is made for: W3C trace context and baggage, passed on as OpenTelemetry does."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

# W3C Trace Context, section 3.2: the one version so far.
TRACEPARENT = re.compile(r"00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})")
PASSED_ON = ("tracestate", "baggage")


@dataclass(frozen=True)
class Trace:
    """What a request said of the trace that it belongs to; a new trace where it said nothing."""

    trace: str
    flags: str
    rest: tuple[tuple[str, str], ...] = ()

    def headers(self) -> dict[str, str]:
        """For one call, which is a span of its own."""
        return {"traceparent": f"00-{self.trace}-{secrets.token_hex(8)}-{self.flags}", **dict(self.rest)}


def _trace(request: Request) -> Trace:
    rest = tuple((name, request.headers[name]) for name in PASSED_ON if name in request.headers)
    if found := TRACEPARENT.fullmatch(request.headers.get("traceparent", "")):
        return Trace(found["trace"], found["flags"], rest)
    return Trace(secrets.token_hex(16), "00", tuple(pair for pair in rest if pair[0] != "tracestate"))


CurrentTrace = Annotated[Trace, Depends(_trace)]
