"""How much of what came the journal keeps, and for how long: the mock's memory is bounded, whatever clients send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from itest.errors import ItestError
from itest.mock.incoming import Incoming

Level = Literal["full", "headers", "line"]

TRACE = "traceparent"  # of a request's headers, the one by which it can be followed
SIZE = re.compile(r"(\d+)([kmg]?)b?", re.IGNORECASE)
FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True)
class Detail:
    """level: `headers` is without bodies, `line` with no more than the request line and traceparent; keep: bytes of

    each body; journal: bytes of all entries together; limit: bytes of a request's body that is still taken.
    """

    level: Level = "full"
    keep: int = 64 * 1024
    journal: int = 64 * 1024**2
    limit: int = 8 * 1024**2

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Detail:
        """From MOCK_DETAIL, MOCK_KEEP, MOCK_JOURNAL and MOCK_LIMIT (`64k`, `8m`). Raises ItestError (usage)."""
        said = environ.get("MOCK_DETAIL") or cls.level
        level: Level | None = next((one for one in get_args(Level) if one == said), None)
        if level is None:
            problem = f"MOCK_DETAIL={said}: the journal keeps {', '.join(get_args(Level))}"
            raise ItestError("usage", problem, hint=f"MOCK_DETAIL={cls.level}", cause="config")
        sizes = {field.name: f"MOCK_{field.name.upper()}" for field in fields(cls) if field.name != "level"}
        return cls(level, **{name: _size(key, environ[key]) for name, key in sizes.items() if environ.get(key)})

    def request(self, incoming: Incoming) -> Incoming:
        """A request as it is kept, without what was worked out from its body: that takes ten times as much."""
        if self.level == "full" and not incoming.body:
            return incoming
        headers = incoming.headers
        if self.level == "line":
            headers = tuple((name, value) for name, value in headers if name.lower() == TRACE)
        return replace(incoming, headers=headers, body=self.body(incoming.body))

    def body(self, body: bytes) -> bytes:
        """What is kept of a body."""
        return body[: self.keep] if self.level == "full" else b""


def _size(name: str, text: str) -> int:
    found = SIZE.fullmatch(text.strip())
    if not found:
        raise ItestError("usage", f"{name}={text} is no number of bytes", hint=f"{name}=64k", cause="config")
    return int(found[1]) * FACTORS[found[2].lower()]
