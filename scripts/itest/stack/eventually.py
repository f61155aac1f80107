"""Polling for what a service does in its own time, instead of sleeping until it has surely done it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_exponential,
)

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float = 5.0) -> T:
    """The first true value of check. timeout: seconds.

    Raises AssertionError: the last one that check raised itself, or one that shows what it returned.
    """
    retrying = Retrying(
        stop=stop_after_delay(timeout),
        wait=wait_exponential(multiplier=0.005, max=0.1),
        retry=retry_if_exception_type(AssertionError) | retry_if_result(lambda value: not value),
    )
    try:
        return retrying(check)
    except RetryError as error:
        last = error.last_attempt
        reason = str(last.exception()) if last.failed else f"it still returns {last.result()!r}"
        raise AssertionError(f"not within {timeout:g} s: {reason}") from (last.exception() if last.failed else None)
