"""What came to the mock, what it answered, and what of that is still under way. The oldest entries make room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from itest.mock.incoming import Incoming

MOST_ENTRIES = 20_000
MOST_BODY = 64 * 1024  # bytes of a request's or an answer's body that are kept


@dataclass(frozen=True)
class Entry:
    """One request. arrived and completed: seconds since the epoch, completed None while it is under way;

    outcome: `sent`, or what became of it instead; stub: the name of the one that answered, "" where none did; nearest:
    then the one that came nearest, and differences: what kept it; state: before and after, of the stub's scenario;
    problem: what is wrong with the stub itself, such as a template that fails; attempt: of this stub in this scope,
    from 1; size: bytes of the body, of which request holds the first MOST_BODY.
    """

    number: int
    scope: str
    test: str
    arrived: float
    request: Incoming
    status: int
    size: int = 0
    completed: float | None = None
    outcome: str = ""
    stub: str = ""
    where: str = ""
    attempt: int = 0
    delay: float = 0.0
    effect: str = ""
    limited: bool = False
    scenario: str = ""
    state: tuple[str, str] | None = None
    nearest: str = ""
    differences: tuple[str, ...] = ()
    problem: str = ""
    body: bytes = field(default=b"", repr=False)  # of the answer

    @property
    def matched(self) -> bool:
        return bool(self.stub)

    def as_data(self) -> dict[str, Any]:
        """For JSON; `traceparent` is the request's header, by which a call can be followed (W3C Trace Context)."""
        plain = ("number", "scope", "test", "arrived", "completed", "outcome", "status", "size", "stub", "where")
        rest = ("attempt", "delay", "effect", "limited", "scenario", "nearest", "problem", "matched")
        said = {name: getattr(self, name) for name in (*plain, *rest)}
        said |= {"state": list(self.state) if self.state else None, "differences": list(self.differences)}
        said["traceparent"] = next(iter(self.request.header("traceparent")), "")
        return said | {"request": self.request.as_data(), "body": self.body.decode("utf-8", "replace")}


class Journal:
    """Every entry, of all scopes, by its number; numbers count from 1 and are never used again."""

    def __init__(self, limit: int = MOST_ENTRIES) -> None:
        self._entries: dict[int, Entry] = {}
        self._limit = limit
        self.last = 0  # number of the newest entry

    def write(self, make: Callable[[int], Entry]) -> Entry:
        """Add the entry that is made with the next number."""
        self.last += 1
        entry = make(self.last)
        if max(entry.size, len(entry.body)) > MOST_BODY:
            request = replace(entry.request, body=entry.request.body[:MOST_BODY])
            entry = replace(entry, request=request, body=entry.body[:MOST_BODY])
        self._entries[self.last] = entry
        if len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]
        return entry

    def complete(self, number: int, now: float, outcome: str) -> None:
        """A request is over; nothing where its entry is gone, or was over before."""
        entry = self._entries.get(number)
        if entry and entry.completed is None:
            self._entries[number] = replace(entry, completed=now, outcome=outcome)

    def since(self, number: int, scope: str | None = None) -> list[Entry]:
        """The entries after a number, in the order of arrival; of all scopes, or of one."""
        first = next(iter(self._entries), 1)
        after = range(max(number + 1, first), self.last + 1)
        return [entry for key in after if (entry := self._entries[key]) and scope in (None, entry.scope)]
