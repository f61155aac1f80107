"""A requests session that knows its service, so that a test says `http.get("/items")`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

import requests

from itest.errors import ItestError
from itest.stack.probes import innermost

TIMEOUT = 10.0  # seconds until a request that nobody answers fails the test instead of hanging it


class BaseUrlSession(requests.Session):
    """base: such as `http://127.0.0.1:32768`. No proxy or .netrc of the environment comes between.

    state: asked for a few words on the service when it can't be reached. now: asked before each request for the base,
    which a service that was started anew may have another one of.
    """

    def __init__(self, base: str, state: Callable[[], str] = lambda: "", now: Callable[[], str] | None = None) -> None:
        super().__init__()
        self.base = base
        self.now = now or (lambda: self.base)
        self.state = state
        self.trust_env = False

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Raises what requests does, a service out of reach in one line: where it is, and what became of it."""
        __tracebackhide__ = True  # or pytest prints the 600 lines of requests and urllib3 around one refused socket
        kwargs.setdefault("timeout", TIMEOUT)
        with suppress(ItestError):  # it has ended: what refuses at the last one tells so, as a client would see it
            self.base = self.now()
        try:
            return super().request(method, urljoin(self.base, str(url)), *args, **kwargs)
        except (requests.ConnectionError, requests.Timeout) as error:
            asked = f"{method!s} {url!s}: {self.base} {_reason(error, kwargs['timeout'])}"
            state = self.state()
            told = type(error)(f"{asked} ({state})" if state else asked, request=error.request)
        raise told from None


def _reason(error: requests.RequestException, timeout: object) -> str:
    if isinstance(error, requests.Timeout):
        return f"did not answer within {timeout} s"
    words = innermost(error)
    if "Connection refused" in words:
        return "refused the connection"
    if "Connection reset" in words or "without response" in words:
        return "closed the connection without an answer"
    return words
