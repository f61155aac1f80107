"""What a stub answers to its n-th request: the response, its delay, its fault. Pure; who counts is `scopes`.

Chance depends on seed, stub and count alone: the n-th request draws the same in every run, worker and test.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itest.mock.incoming import Pairs
from itest.mock.stubs import Delay, Effect, Fault, Json, Limit, Response, Stub
from itest.mock.templates import TemplateError, Templates

SERVES = ("slow_headers", "slow_body", "delay")  # the effects with which a request is nevertheless served
ALONE = ("status", "reset", "never_answers")  # the effects that need no answer to spoil
BREAK = re.compile(r"[\r\n\0]")  # ends a header, and begins what nobody wrote
ON_THE_WIRE = ("slow_headers", "slow_body", "truncated", "reset", "never_answers")


@dataclass(frozen=True)
class Answer:
    """An HTTP response, complete. headers: in their order, without a length."""

    status: int
    headers: Pairs = ()
    body: bytes = b""

    @classmethod
    def of_json(cls, status: int, value: Any, headers: Pairs = ()) -> Answer:
        text = json.dumps(value, ensure_ascii=False) + "\n"
        return cls(status, (("Content-Type", "application/json"), *headers), text.encode("utf-8", "replace"))


def response_of(stub: Stub, served: int) -> Response:
    """The response for a request before which so many were served; the last one repeats."""
    return stub.responses[min(served, len(stub.responses) - 1)]


def fault_of(stub: Stub, asked: int, age: float) -> Fault | None:
    """The first fault that applies. asked: requests that came to the stub before this one; age: see Fault.between."""
    return next((fault for fault in stub.faults if _applies(fault, stub, asked, age)), None)


def delay_of(delay: Delay | None, stub: Stub, asked: int) -> float:
    """Seconds before the answer to the request that comes after so many."""
    if delay is None or delay.spread == "fixed":
        return delay.first if delay else 0.0
    draws = _draws(stub, "delay", 0, asked)
    if delay.spread == "uniform":
        return draws.uniform(delay.first, delay.second)
    return draws.lognormvariate(math.log(delay.first), delay.second) if delay.first else 0.0


def wait_of(limit: Limit, admitted: Sequence[float], now: float) -> float:
    """Seconds until another request is admitted, 0 for at once. admitted: the times of those so far, ascending."""
    if len(admitted) < limit.requests:
        return 0.0
    return max(0.0, admitted[-limit.requests] + limit.per - now)


def refusal(limit: Limit, wait: float) -> Answer:
    """The answer to a request over the limit. Retry-After has whole seconds (RFC 9110, 10.2.3), none too few."""
    text = f"more than {limit.requests} requests in {limit.per:g} s"
    return Answer.of_json(limit.status, {"error": text}, (("Retry-After", str(max(1, math.ceil(wait)))),))


def rendered(response: Response, templates: Templates, context: Mapping[str, Any]) -> Answer:
    """A response with its templates filled in. Raises TemplateError."""
    fill = response.template
    headers = {name: templates.text(text, context) if fill else text for name, text in response.headers.items()}
    if broken := [name for name, text in headers.items() if BREAK.search(text)]:
        raise TemplateError(f"`{response.headers[broken[0]]}`: a line break in the header {broken[0]}")
    body: str | bytes
    if isinstance(response.body, Json):
        value = templates.data(response.body.value, context) if fill else response.body.value
        kind, body = "application/json", json.dumps(value, ensure_ascii=False)
    elif isinstance(response.body, str):
        kind, body = "text/plain; charset=utf-8", templates.text(response.body, context) if fill else response.body
    else:
        kind, body = "application/octet-stream" if response.body else "", response.body
    if kind and "content-type" not in (name.lower() for name in headers):
        headers = {"Content-Type": kind} | headers
    encoded = body.encode("utf-8", "replace") if isinstance(body, str) else body
    return Answer(response.status, tuple(headers.items()), encoded)


def broken(stub: Stub, problem: str) -> Answer:
    """What a client gets where a stub itself is wrong."""
    return Answer.of_json(500, {"error": problem, "stub": stub.name, "where": stub.where})


def spoilt(effect: Effect, answer: Answer) -> Answer:
    """What of an effect shows in the answer itself; the rest is the wire's."""
    if effect.what == "status":
        return Answer(effect.status, tuple(effect.headers.items()))
    if (
        effect.what == "malformed"
    ):  # half of any JSON and this is none: in a text it is never closed, outside it is no token
        return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2] + b"<")
    return answer


def _applies(fault: Fault, stub: Stub, asked: int, age: float) -> bool:
    if fault.first is not None and asked >= fault.first:
        return False
    if fault.between is not None and not fault.between[0] <= age < fault.between[1]:
        return False
    place = stub.faults.index(fault)
    drawn = fault.probability is None or _draws(stub, f"fault {place}", fault.seed, asked).random() < fault.probability
    return drawn


def _draws(stub: Stub, purpose: str, seed: int, asked: int) -> random.Random:
    """Seeded by what the stub asks for, not by its name or line, so that neither changes what is drawn."""
    return random.Random(f"{seed}\n{purpose}\n{asked}\n{_fingerprint(stub)}")


def _fingerprint(stub: Stub) -> str:
    return json.dumps(stub.request.as_data(), sort_keys=True, default=str)
