"""Calls to a third party: each attempt has its time, and what may pass is tried again, ever later and never in step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from shop.breaker import Breaker
from shop.settings import Patience
from shop.tracing import Trace

T = TypeVar("T")


class Failed(Exception):
    """No answer that is worth anything, so what came of the call is not known. late: for lack of time."""

    def __init__(self, reason: str, *, late: bool = False) -> None:
        super().__init__(reason)
        self.late = late


class Busy(Failed):
    """It answered, but not to this: 429. seconds: for how long it wants to be left alone, None if it didn't say."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("it has too much to do")
        self.seconds = seconds


class Refused(Exception):
    """It answered that it won't: any other 4xx. To ask again would change nothing. code: in its own words."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"refused with {status}{f' {code}' if code else ''}")
        self.status = status
        self.code = code


def open_client(patience: Patience) -> httpx.Client:
    """Connections to third parties. It takes what the environment says of proxies and of whom to trust."""
    return httpx.Client(
        timeout=httpx.Timeout(patience.answer_timeout_ms / 1000, connect=patience.connect_timeout_ms / 1000)
    )


class Partner:
    """One address of a third party. key: what it knows the shop by."""

    def __init__(self, client: httpx.Client, url: str, key: str, patience: Patience, breaker: Breaker) -> None:
        self._client, self._url, self._key, self._patience, self._breaker = client, url, key, patience, breaker

    def post(self, data: Mapping[str, Any], key: str, trace: Trace, read: Callable[[bytes], T]) -> T:
        """Send JSON, with one Idempotency-Key for all attempts, and return what `read` makes of the answer's body.

        read: raises ValueError for an answer that makes no sense. Raises Failed, Refused, and Open (breaker).
        """
        attempts = Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=stop_after_attempt(self._patience.retry_attempts),
            wait=self._pause,
            reraise=True,
        )
        return attempts(self._attempt, data, key, trace, read)

    def _may_pass(self, error: BaseException) -> bool:
        if isinstance(error, Busy) and error.seconds:
            return error.seconds * 1000 <= self._patience.retry_after_max_ms
        return isinstance(error, Failed)

    def _pause(self, state: RetryCallState) -> float:
        """As long as it was asked for; else 1, 2, 4 … times the backoff, and up to one more at random."""
        error = state.outcome.exception() if state.outcome else None
        backoff = self._patience.retry_backoff_ms / 1000
        asked_for = error.seconds if isinstance(error, Busy) else None
        return max(asked_for or 0.0, wait_exponential_jitter(initial=backoff, jitter=backoff)(state))

    def _attempt(self, data: Mapping[str, Any], key: str, trace: Trace, read: Callable[[bytes], T]) -> T:
        self._breaker.admit()
        try:
            authorized = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key}
            answer = read(self._exchange(data, authorized | trace.headers()))
        except (Busy, Refused):
            self._breaker.succeeded()
            raise
        except (Failed, ValueError) as error:
            self._breaker.failed()
            raise error if isinstance(error, Failed) else Failed("its answer makes no sense") from error
        self._breaker.succeeded()
        return answer

    def _exchange(self, data: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        try:
            status, answer_headers, body = self._sent(data, headers)
        except httpx.TimeoutException as error:
            raise Failed("it took too long", late=True) from error
        except httpx.RequestError as error:
            raise Failed(f"{type(error).__name__}: {error}") from error
        if status == 429:
            raise Busy(_seconds(answer_headers.get("Retry-After", "")))
        if 400 <= status < 500:
            raise Refused(status, _code(body))
        if not 200 <= status < 300:
            raise Failed(f"it answered {status}")
        return body

    def _sent(self, data: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        """httpx's own time-out begins anew with every byte; headers that trickle in are noticed at their end."""
        deadline, body = time.monotonic() + self._patience.answer_timeout_ms / 1000, b""
        with self._client.stream("POST", self._url, json=data, headers=headers) as answer:
            for piece in answer.iter_bytes():
                body += piece
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the body takes too long")
        return answer.status_code, answer.headers, body


def _seconds(retry_after: str) -> float | None:
    """A Retry-After in seconds, or as a date (RFC 9110 section 10.2.3); None where it is neither."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return None


def _code(body: bytes) -> str:
    """`{"error": {"code": "card_declined"}}`; whatever else it says is not for us to pass on."""
    try:
        return str(httpx.Response(200, content=body).json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
