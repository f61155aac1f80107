"""One request that came to the mock, as its journal tells it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itest.errors import ItestError
from itest.mock import matching
from itest.mock.incoming import NO_JSON, Incoming


@dataclass(frozen=True)
class Call:
    """A request and what became of it. arrived and completed: seconds since the epoch, by the mock's clock;

    completed: None while it is under way; outcome: `sent`, `disconnected` (the client gave up), or the fault that ended
    it; status: of the answer; stub: the name of the one that answered, "" for none; where: that one's `file:line`;
    attempt: of this stub, from 1; nearest and differences: where no stub answered, the nearest one and what kept it;
    traceparent: the header by which the call can be followed, "" without; size and answered: bytes of the request's
    body and of the answer's; detail: what the journal keeps, `full`, `headers` or `line`; said: what it kept of the
    answer's body.

    `headers`, `body` and `answer` raise ItestError (usage) where the mock didn't keep them, or not whole.
    """

    number: int
    test: str
    scope: str
    request: Incoming
    arrived: float
    completed: float | None
    outcome: str
    status: int
    stub: str
    where: str
    attempt: int
    effect: str
    traceparent: str
    size: int
    answered: int
    detail: str
    said: bytes
    nearest: str
    differences: tuple[str, ...]
    problem: str

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def host(self) -> str:
        return self.request.host

    @property
    def path(self) -> str:
        """Decoded, without its query."""
        return self.request.decoded_path

    @property
    def query(self) -> dict[str, str]:
        """Of several values of one name the last; all are in `request.query`."""
        return dict(self.request.query)

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name, several values joined by a comma as RFC 9110 has it."""
        if self.headers_missing:
            raise self._not_kept(self.headers_missing, "MOCK_DETAIL=headers")
        names = dict.fromkeys(name.lower() for name, _ in self.request.headers)
        return {name: ", ".join(self.request.header(name)) for name in names}

    @property
    def body(self) -> Any:
        """What its JSON holds, or its text where it is none."""
        if self.body_missing:
            raise self._not_kept(self.body_missing, self._more(self.size))
        return self.request.text if self.request.json is NO_JSON else self.request.json

    @property
    def answer(self) -> str:
        """The body that the client got, as text."""
        if missing := self._missing("answer's body", self.answered, self.said):
            raise self._not_kept(missing, self._more(self.answered))
        return self.said.decode("utf-8", "replace")

    @property
    def headers_missing(self) -> str:
        """What of its headers was not kept, "" where all is there."""
        return "its headers" if self.detail == "line" else ""

    @property
    def body_missing(self) -> str:
        """What of its body was not kept, "" where all is there."""
        return self._missing("body", self.size, self.request.body)

    def _missing(self, what: str, size: int, kept: bytes) -> str:
        if len(kept) >= size:
            return ""
        return f"its {what}" if not kept else f"all of its {what}, but for {len(kept)} of {size} bytes"

    def _more(self, size: int) -> str:
        return f"MOCK_KEEP={size // 1024 + 1}k" if self.detail == "full" else "MOCK_DETAIL=full"

    def _not_kept(self, missing: str, setting: str) -> ItestError:
        problem = f"{self.title} (#{self.number}): the mock's journal did not keep {missing}"
        return ItestError("usage", problem, hint=f"{setting} in the suite's .env", cause="mock")

    @property
    def seconds(self) -> float | None:
        """How long it took, None while it is under way."""
        return None if self.completed is None else self.completed - self.arrived

    @property
    def title(self) -> str:
        """`POST https://payments.example/v1/payments?expand=true`; the host is left out where it is the mock's own."""
        query = "&".join(f"{name}={value}" for name, value in self.request.query)
        own = self.host in ("mock", "localhost", "127.0.0.1", "", self.request.address)
        place = "" if own else f"{self.request.scheme}://{self.host}"
        return f"{self.method} {place}{self.path}{f'?{query}' if query else ''}"

    def line(self, zero: float) -> str:
        """It on one line, its time from zero on."""
        took = "in flight" if self.seconds is None else f"{self.seconds * 1000:.0f} ms"
        ended = f", {self.outcome}" if self.outcome not in ("", "sent", self.effect) else ""
        effect = f", {self.effect}" if self.effect else ""
        stub = f"{self.stub}, attempt {self.attempt}" if self.stub else "no stub"
        body = f" {matching.shown(self.request.text)}" if self.request.text else ""
        body += f" ({self.size} bytes)" if self.body_missing else ""
        title = f"#{self.number} +{self.arrived - zero:.3f} s  {self.title}{body}"
        return f"{title} → {self.status}, {took}{effect}{ended} ({stub})"


def call_of(entry: Mapping[str, Any]) -> Call:
    """From an entry of the admin port's journal."""
    given = entry["request"]
    body = base64.b64decode(given["base64"]) if "base64" in given else given["body"].encode()
    plain = ("method", "scheme", "host", "port", "path", "client", "address", "credentials")
    fields: dict[str, Any] = {name: given[name] for name in plain}
    fields |= {name: tuple((key, value) for key, value in given[name]) for name in ("query", "headers")}
    request = Incoming(**fields, body=body)
    named = ("number", "test", "scope", "arrived", "completed", "outcome", "status", "stub", "where", "attempt")
    rest = ("effect", "traceparent", "size", "answered", "detail", "nearest", "problem")
    said = {name: entry[name] for name in (*named, *rest)}
    answer = base64.b64decode(entry["base64"]) if "base64" in entry else entry["body"].encode()
    return Call(**said, request=request, said=answer, differences=tuple(entry["differences"]))
