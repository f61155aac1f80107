"""What a mock's journal says to a person: what fails a test, and the readable form that is kept of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import groupby
from typing import Any

from itest.errors import ItestError
from itest.mocking.call import Call, call_of

ANSWERED = 'mock.stub("{method}", "{path}", status=…, json=…) in the test, or a file in fixtures/<set>/stubs'

TAKEN = "a greater MOCK_LIMIT in the suite's .env, and MOCK_MEMORY with it"


def blamed(service: str, verdict: Mapping[str, Any], *, strict: bool) -> ItestError | None:
    """Why what came to the mock fails the test that it belongs to, None where it doesn't.

    strict: stubs of the test that answered nothing fail it, too.
    """
    unmatched = [call_of(entry) for entry in verdict["unmatched"]]
    broken = [call_of(entry) for entry in verdict["problems"]]
    unused = [_named(one["name"], one["where"]) for one in verdict["unused"]] if strict else []
    lines = [line for call in unmatched for line in missed(call)]
    rest = [f"{call.title}: {_named(call.stub, call.where)}: {call.problem}" for call in broken]
    rest += [f"stub {name} answered nothing" for name in unused]
    lines += rest if len(rest) > 1 or unmatched else []  # or the message says it all
    lines += [f"and {more} more that no stub answers" for more in [verdict.get("more", {}).get("unmatched")] if more]
    if unmatched:
        first = unmatched[0]
        problem, cause = first.problem and f"{first.title}: {first.problem}", "unmatched"
        problem = problem or f"no stub answers {first.title}"
        hint = ANSWERED.format(method=first.method, path=first.path) if first.status != 413 else TAKEN
    elif broken:
        problem, cause = f"stub {_named(broken[0].stub, broken[0].where)}: {broken[0].problem}", "stub"
        hint = f"mend it: {broken[0].where}"
    elif unused:
        problem, cause = f"stub {unused[0]} answered nothing, and the test is strict", "unused"
        hint = "remove it, or find out why the request never came: mock.received().times(…)"
    else:
        return None
    return ItestError("test", f"{service}: {problem}", hint=hint, evidence="\n".join(lines), cause=cause)


def missed(call: Call) -> list[str]:
    """A request that nothing answered: which stub came nearest, and what differed."""
    if call.problem:
        return [f"{call.title}: {call.problem}"]
    if not call.nearest:
        return [f"{call.title}: there is no stub at all"]
    return [f"{call.title}: nearest is {call.nearest}", *(f"  {difference}" for difference in call.differences)]


def unanswered(verdict: Mapping[str, Any]) -> list[str]:
    """The requests that nothing answered, a line each."""
    return [f"{call_of(entry).title}: no stub answers it" for entry in verdict["unmatched"]]


def in_short(service: str, verdict: Mapping[str, Any]) -> str:
    """Which requests had no answer, or a broken one, on one line: a test that failed by itself may have for them."""
    unmatched, broken = ([call_of(entry) for entry in verdict[name]] for name in ("unmatched", "problems"))
    if unmatched:
        count = len(unmatched) + verdict["more"].get("unmatched", 0)
        why = unmatched[0].problem or "; ".join(unmatched[0].differences) or "there is no stub at all"
        return f"{service}: {count} request{'s' * (count != 1)} that no stub answered: {why}"
    return next((f"{service}: stub {_named(one.stub, one.where)}: {one.problem}" for one in broken), "")


def late(service: str, verdict: Mapping[str, Any]) -> list[str]:
    """What came when no test was under way, and would have failed one."""
    calls = [call_of(entry) for entry in verdict["unmatched"]]
    return [f"{service}: between two tests came what no stub answers: {'; '.join(missed(call))}" for call in calls]


def text(entries: Sequence[Mapping[str, Any]], lost: int = 0) -> str:
    """The journal for reading, test by test. lost: entries that it had no room for."""
    calls = [call_of(entry) for entry in entries]
    unmatched, flying = sum(not call.stub for call in calls), sum(call.completed is None for call in calls)
    lines = [f"{len(calls)} requests, {unmatched} that no stub answered, {flying} in flight"]
    lines += [f"{lost} more came before these; the journal had no room for them"] if lost else []
    by_scope = sorted(calls, key=lambda call: call.scope)
    for (scope, test), mine in groupby(by_scope, lambda call: (call.scope, call.test)):
        lines += ["", f"{test or 'between tests'}   [{scope}]", *_listed(mine)]
    return "\n".join(lines) + "\n"


def _listed(calls: Iterable[Call]) -> Iterable[str]:
    for call in calls:
        when = datetime.fromtimestamp(call.arrived, timezone.utc).strftime("%H:%M:%S.%f")[:-3]
        trace = f"   trace {call.traceparent}" if call.traceparent else ""
        yield f"  {when}Z  {call.line(call.arrived).replace(' +0.000 s', '')}{trace}"
        more = missed(call) if not call.stub else filter(None, [call.problem])
        yield from (f"      {line}" for line in more)


def _named(name: str, where: str) -> str:
    return name if where in ("", name) else f"{name} ({where})"
