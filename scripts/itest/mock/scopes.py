"""Who a request belongs to, and what it gets. One object decides, synchronously and so atomically: no two requests can
see a scenario in the same state. Each scope has its own stubs, before the global ones, and its own journal, states,
counts and faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from itest.mock import finding, matching, replies, whose
from itest.mock.detail import Detail
from itest.mock.finding import Patience
from itest.mock.incoming import Incoming
from itest.mock.journal import MOST_ENTRIES, Entry, Journal
from itest.mock.patience import TooSlow
from itest.mock.replies import Answer
from itest.mock.shelf import Count, Placed, Scope
from itest.mock.stubs import EMPTY, Effect, Response, Stub
from itest.mock.templates import TemplateError, Templates
from itest.mock.verdict import Verdict, verdict

DEFAULT = "default"  # the scope of what says nothing


@dataclass(frozen=True)
class Decision:
    """delay: seconds before the answer; effect: what the wire must do with it, one of replies.ON_THE_WIRE, or None."""

    scope: str
    answer: Answer
    delay: float
    effect: Effect | None
    entry: Entry


class Scopes:
    """Everything that the mock knows. Times are seconds of one clock that counts from the epoch and never goes back.

    environ: what templates see as `env`; detail and limit: what the journal holds of each request, and how many;
    patience: what is tried within it may end with TooSlow.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = EMPTY,
        detail: Detail | None = None,
        limit: int = MOST_ENTRIES,
        patience: Patience | None = None,
    ) -> None:
        self._templates = Templates(environ)
        self._journal = Journal(detail or Detail(), limit)
        self.amend = self._journal.amend  # an entry, where who answers is found out later
        self._patience: Patience = patience or nullcontext()
        self._scopes: dict[str, Scope] = {}
        self._given: tuple[Stub, ...] = ()  # the global ones
        self._global: list[Placed] = []
        self._addresses: dict[str, str] = {}
        self._number = 0

    def set_global(self, stubs: Iterable[Stub], now: float) -> bool:
        """The stubs that every scope sees after its own, in place of those before. Whether they are others.

        The same ones stay where they are with all that was counted: every worker says anew which they are.
        """
        given = tuple(stubs)
        if given == self._given:
            return False
        self._given, self._global = given, self._placed(given, now)
        return True

    def set_addresses(self, scopes: Mapping[str, str]) -> None:
        """Which scope a request belongs to that says none, by the address of the mock at which it came in."""
        self._addresses = dict(scopes)

    def know_addresses(self, scopes: Mapping[str, str]) -> None:
        """Some more of them, as a further worker comes."""
        self._addresses |= scopes

    def begin(self, scope: str, now: float, test: str = "", *, strict: bool = False) -> None:
        """A test begins: nothing is left of what the scope had, seen and counted."""
        self._scopes[scope] = Scope(now, test, strict, self._journal.last)

    def reset(self, scope: str) -> None:
        """The scope is not needed any more, nor its addresses. A request that belongs to it makes it anew."""
        self._scopes.pop(scope, None)
        self._addresses = {address: other for address, other in self._addresses.items() if other != scope}

    def add(self, scope: str, stubs: Iterable[Stub], now: float) -> list[int]:
        """Stubs that the scope alone sees, until it begins again. Returns their numbers, for `remove`."""
        known, placed = self._known(scope, now), self._placed(stubs, now)
        known.shelf = _sorted([*known.shelf, *placed])
        return sorted(one.number for one in placed)

    def remove(self, scope: str, number: int) -> bool:
        """Take one of a scope's own stubs away. Whether it was there."""
        return scope in self._scopes and self._scopes[scope].remove(number)

    def journal(self, scope: str) -> list[Entry]:
        """What came to a scope since it began."""
        known = self._scopes.get(scope)
        return self._journal.since(known.after, scope) if known else []

    def since(self, number: int) -> list[Entry]:
        """What came to any scope after the entry of that number."""
        return self._journal.since(number)

    def names(self) -> tuple[str, ...]:
        return tuple(self._scopes)

    def completed(self, number: int, now: float, outcome: str = "sent") -> None:
        """The client has its answer, or is gone. outcome: which of these."""
        self._journal.complete(number, now, outcome)

    def verify(self, scope: str, now: float) -> Verdict:
        """What is to be said about a scope since it began."""
        return verdict(self._known(scope, now), self.journal(scope))

    @property
    def forgotten(self) -> int:
        """How many entries the journal had no room for, of all scopes, the oldest ones."""
        return self._journal.first - 1

    def answer(self, incoming: Incoming, now: float) -> Decision:
        """Decide on a request and write it down. It is under way until `completed` is called with its number."""
        name = self.scope_of(incoming)
        scope = self._known(name, now)
        draft = self._draft(name, scope, incoming, now)
        try:
            over = finding.over(finding.seen(scope, self._global, overlay=True), scope, incoming, now, self._patience)
            placed = finding.first(self._answering(scope), scope, incoming, self._patience)
        except finding.Slow as error:
            draft = partial(draft, stub=error.stub.name, where=error.stub.where, problem=str(error))
            return self._decided(draft, replies.broken(error.stub, str(error)))
        if placed:
            return self._serve(draft, scope, placed, incoming, now, over[1] if over else None)
        if over and over[1].what in replies.ALONE:
            draft = partial(draft, stub=over[0].name, where=over[0].where)
            return self._decided(draft, Answer(200), effect=over[1])
        return self._unmatched(draft, name, scope, incoming)

    def turn_away(self, incoming: Incoming, now: float, status: int, problem: str) -> int:
        """Write down a request that got another answer before any stub could be asked, and its number."""
        name = self.scope_of(incoming)
        draft = self._draft(name, self._known(name, now), incoming, now)
        return self._journal.write(partial(draft, status=status, problem=problem)).number

    def scope_of(self, incoming: Incoming) -> str:
        """The scope that a request names, or else the one of the address at which it came in."""
        keyed = [placed.stub for placed in self._global if placed.stub.scope_key]
        try:
            with self._patience if keyed else nullcontext():
                said = whose.said(incoming, keyed)
        except TooSlow:  # which the search among the stubs will tell
            said = ""
        return said or self._addresses.get(incoming.address, DEFAULT)

    def _answering(self, scope: Scope) -> list[Placed]:
        return finding.seen(scope, self._global, overlay=False)

    def _draft(self, name: str, scope: Scope, incoming: Incoming, now: float) -> partial[Entry]:
        scope.written += 1
        detail = self._journal.detail
        kept, size = detail.request(incoming), len(incoming.body)
        return partial(Entry, scope=name, test=scope.test, arrived=now, request=kept, size=size, detail=detail.level)

    def _serve(
        self,
        draft: partial[Entry],
        scope: Scope,
        placed: Placed,
        incoming: Incoming,
        now: float,
        over: Effect | None,
    ) -> Decision:
        """over: what an overlay does to it, before faults of its own."""
        stub, count = placed.stub, scope.counts.setdefault(placed, Count())
        asked, count.asked = count.asked, count.asked + 1
        draft = partial(draft, stub=stub.name, where=stub.where, attempt=count.asked)
        if stub.limit:
            if wait := replies.wait_of(stub.limit, count.admitted, now):
                return self._decided(partial(draft, limited=True), replies.refusal(stub.limit, wait))
            count.admitted.append(now)
            while len(count.admitted) > stub.limit.requests:
                count.admitted.popleft()
        fault = None if over else replies.fault_of(stub, asked, now - max(scope.begun, placed.added))
        effect = fault.effect if fault else over
        response = replies.response_of(stub, count.served)
        delay = replies.delay_of(response.delay, stub, asked)
        answer, problem = self._rendered(stub, response, incoming, count.served + 1, now)
        if not effect or effect.what in replies.SERVES:
            count.served += 1
            draft = self._moved(draft, scope, stub)
        return self._decided(partial(draft, problem=problem), answer, delay, effect)

    def _rendered(
        self, stub: Stub, response: Response, incoming: Incoming, counter: int, now: float
    ) -> tuple[Answer, str]:
        """The answer, and what is wrong with the stub, if anything is."""
        try:
            with self._patience:
                captures = matching.captures(stub.request.path, incoming) if stub.request.path else None
                context = self._templates.context(incoming, captures or {}, counter, now)
                return replies.rendered(response, self._templates, context), ""
        except (TemplateError, TooSlow) as error:
            problem = f"template {error}"
            return replies.broken(stub, problem), problem

    def _moved(self, draft: partial[Entry], scope: Scope, stub: Stub) -> partial[Entry]:
        if not stub.scenario:
            return draft
        before = scope.state(stub.scenario.name)
        after = scope.states[stub.scenario.name] = stub.scenario.then or before
        return partial(draft, scenario=stub.scenario.name, state=(before, after))

    def _decided(
        self, draft: partial[Entry], answer: Answer, delay: float = 0.0, effect: Effect | None = None
    ) -> Decision:
        if effect:
            answer = replies.spoilt(effect, answer)
            delay += effect.amount if effect.what == "delay" else 0.0
        what = effect.what if effect else ""
        kept = self._journal.detail.body(answer.body)
        made = partial(draft, status=answer.status, body=kept, answered=len(answer.body), delay=delay, effect=what)
        entry = self._journal.write(made)
        return Decision(entry.scope, answer, delay, effect if what in replies.ON_THE_WIRE else None, entry)

    def _unmatched(self, draft: partial[Entry], name: str, scope: Scope, incoming: Incoming) -> Decision:
        miss, problem = finding.nearest(self._answering(scope), scope, incoming, self._patience)
        draft = partial(draft, nearest=miss.title, differences=miss.lines, problem=problem)
        return self._decided(draft, miss.answer(incoming, name))

    def _known(self, name: str, now: float) -> Scope:
        return self._scopes.setdefault(name, Scope(now, after=self._journal.last))

    def _placed(self, stubs: Iterable[Stub], now: float) -> list[Placed]:
        placed = []
        for stub in stubs:
            self._number += 1
            placed.append(Placed(stub, self._number, now))
        return _sorted(placed)


def _sorted(shelf: Iterable[Placed]) -> list[Placed]:
    return sorted(shelf, key=lambda placed: matching.precedence(placed.stub, placed.number), reverse=True)
