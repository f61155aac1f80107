"""What came to the mock, what it answered, and what of that is still under way. The oldest entries make room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from itest.mock.detail import TRACE, Detail, Level
from itest.mock.incoming import Incoming, body_data

MOST_ENTRIES = 20_000
WEIGHT = 1500  # bytes of memory that an entry takes before it holds anything
WEIGHT_PAIR = 150  # and a header or a query's value, as CPython has them: measured


@dataclass(frozen=True)
class Entry:
    """One request. arrived and completed: seconds since the epoch, completed None while it is under way;

    outcome: `sent`, or what became of it instead; stub: the name of the one that answered, "" where none did; nearest:
    then the one that came nearest, and differences: what kept it; state: before and after, of the stub's scenario;
    problem: what is wrong with the stub itself, such as a template that fails; attempt: of this stub in this scope,
    from 1; size and answered: bytes of the request's body and of the answer's, of which request and body hold as many
    as were kept; detail: what else was.
    """

    number: int
    scope: str
    test: str
    arrived: float
    request: Incoming
    status: int
    size: int = 0
    answered: int = 0
    detail: Level = "full"
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

    def as_data(self, *, bodies: bool = True) -> dict[str, Any]:
        """For JSON; `traceparent` is the request's header, by which a call can be followed (W3C Trace Context)."""
        plain = ("number", "scope", "test", "arrived", "completed", "outcome", "status", "size", "answered", "detail")
        rest = ("stub", "where", "attempt", "delay", "effect", "limited", "scenario", "nearest", "problem", "matched")
        said = {name: getattr(self, name) for name in (*plain, *rest)}
        said |= {"state": list(self.state) if self.state else None, "differences": list(self.differences)}
        said["traceparent"] = next(iter(self.request.header(TRACE)), "")
        request = self.request if bodies else replace(self.request, body=b"")
        return said | {"request": request.as_data()} | body_data(self.body if bodies else b"")


class Journal:
    """Every entry, of all scopes, by its number; numbers count from 1 and are never used again.

    most: entries that it holds; detail: the bytes that they may take together. The newest one is always there.
    """

    def __init__(self, detail: Detail, most: int = MOST_ENTRIES) -> None:
        self._entries: dict[int, Entry] = {}
        self._most = most
        self._left = detail.journal  # bytes
        self.detail = detail
        self.last = 0  # number of the newest entry

    def write(self, make: Callable[[int], Entry]) -> Entry:
        """Add the entry that is made with the next number."""
        self.last += 1
        entry = self._entries[self.last] = make(self.last)
        self._left -= weight(entry)
        while (self._left < 0 and len(self._entries) > 1) or len(self._entries) > self._most:
            self._left += weight(self._entries.pop(next(iter(self._entries))))
        return entry

    def complete(self, number: int, now: float, outcome: str) -> None:
        """A request is over; nothing where its entry is gone, or was over before."""
        entry = self._entries.get(number)
        if entry and entry.completed is None:
            self._entries[number] = replace(entry, completed=now, outcome=outcome)

    def amend(self, number: int, **said: Any) -> None:
        """Say something else of an entry; nothing where it is gone."""
        if isinstance(body := said.get("body"), bytes):
            said |= {"body": self.detail.body(body), "answered": len(body)}
        if entry := self._entries.get(number):
            amended = self._entries[number] = replace(entry, **said)
            self._left += weight(entry) - weight(amended)

    def since(self, number: int, scope: str | None = None) -> list[Entry]:
        """The entries after a number, in the order of arrival; of all scopes, or of one."""
        after = range(max(number + 1, self.first), self.last + 1)
        return [entry for key in after if (entry := self._entries[key]) and scope in (None, entry.scope)]

    @property
    def first(self) -> int:
        """Number of the oldest entry that is still there."""
        return next(iter(self._entries), 1)


def weight(entry: Entry) -> int:
    """Bytes of memory that an entry takes, roughly, and never much more."""
    pairs = (*entry.request.headers, *entry.request.query)
    texts = (
        sum(len(name) + len(text) for name, text in pairs) + len(entry.request.path) + sum(map(len, entry.differences))
    )
    return WEIGHT + WEIGHT_PAIR * len(pairs) + texts + len(entry.request.body) + len(entry.body)
