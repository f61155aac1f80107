"""A requests session that knows its service, so that a test says `http.get("/items")`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import requests

TIMEOUT = 10.0  # seconds until a request that nobody answers fails the test instead of hanging it


class BaseUrlSession(requests.Session):
    """base: such as `http://127.0.0.1:32768`. No proxy or .netrc of the environment comes between."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.trust_env = False

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", TIMEOUT)
        return super().request(method, urljoin(self.base, str(url)), *args, **kwargs)
