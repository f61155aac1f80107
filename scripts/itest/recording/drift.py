"""Where the real service differs from what was recorded of it: in status, headers, or the shape of its JSON.

Requests hold no secrets in a recording, so only the suite's own tests can make them again: they run against the real
service as when it is recorded, and what comes is compared instead of written. Values are not: they differ by nature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itest.mock.stubs import Json, Request, Response, Stub
from itest.recording.masking import WRITTEN
from itest.recording.rules import Rules
from itest.recording.stubs import Asked

TEMPLATE = re.compile(r"\{\{.*\}\}", re.DOTALL)


@dataclass(frozen=True)
class Drift:
    """One difference. what: which request; place: where in its answer, or ""; then and now: in words."""

    what: str
    place: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {f'{self.place}: ' if self.place else ''}recorded {self.then}, now {self.now}"


def compare(recorded: Sequence[Stub], now: Sequence[Asked], rules: Rules) -> list[Drift]:
    """What differs, request by request. recorded: the stubs of the files; now: those that would be written today."""
    left, found = list(recorded), []
    for asked in now:
        stub = _same(left, asked)
        if stub is None:
            found.append(Drift(str(asked.as_data()["name"]), "", "no such request", _status(asked.sequence[0])))
            continue
        left.remove(stub)
        for then, said in zip(repeated(stub.responses, len(asked.sequence)), asked.sequence, strict=False):
            found += _answers(stub.name, then, said, rules)
    found += [Drift(stub.name, "", str(stub.responses[0].status), "nobody asks") for stub in left]
    return list(dict.fromkeys(found))


def _same(stubs: Iterable[Stub], asked: Asked) -> Stub | None:
    """The stub of the same request: the one that is most alike of those with its method, host and form of path.

    What the service made up then and now, such as an id, differs: so a segment counts less than the number of them.
    """
    said = asked.wanted.data
    alike = [(_likeness(stub.request, said), stub) for stub in stubs if _may_be(stub.request, said)]
    return max(alike, key=lambda pair: pair[0])[1] if alike else None


def _may_be(request: Request, said: Mapping[str, Any]) -> bool:
    path = request.path
    return (
        request.methods == (said["method"],)
        and request.host is not None
        and str(request.host.what).lower() == said["host"].lower()
        and path is not None
        and _compatible(_segments(path.as_data()), _segments(said["path"]))
    )


def _segments(path: Any) -> list[str]:
    text = path if isinstance(path, str) else str(next(iter(path.values())))
    return text.split("/")


def _compatible(then: Sequence[str], now: Sequence[str]) -> bool:
    """As many segments, and those that differ hold a digit, as what is made up does, or are no exact text."""
    made_up = re.compile(r"\d|\(\?P<")
    return len(then) == len(now) and all(
        one == other or (made_up.search(one) and made_up.search(other)) for one, other in zip(then, now, strict=True)
    )


def _likeness(request: Request, said: Mapping[str, Any]) -> int:
    """How much of two requests is the same."""
    mine = set(_flat(json.loads(json.dumps(request.as_data()))))
    return len(mine & set(_flat(said))) * 2 - len(mine ^ set(_flat(said)))


def _flat(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield f"{path}={json.dumps(value)}"


def repeated(responses: Sequence[Response], count: int) -> Iterator[Response]:
    """The last one repeats."""
    return (responses[min(index, len(responses) - 1)] for index in range(max(count, len(responses))))


def _answers(what: str, then: Response, now: Mapping[str, Any], rules: Rules) -> Iterator[Drift]:
    if then.status != now["status"]:
        yield Drift(what, "status", str(then.status), str(now["status"]))
    yield from _headers(what, then.headers, now.get("headers", {}), rules)
    before, after = then.body.value if isinstance(then.body, Json) else then.body, now.get("json", now.get("body", ""))
    if isinstance(then.body, Json) and "json" in now:
        yield from (Drift(what, place, one, other) for place, one, other in shapes(before, after, "$"))
    elif _sort(then) != _sort_now(now):
        yield Drift(what, "body", _sort(then), _sort_now(now))


def _headers(what: str, then: Mapping[str, str], now: Mapping[str, str], rules: Rules) -> Iterator[Drift]:
    before, after = ({name.lower(): value for name, value in one.items()} for one in (then, now))
    for name in sorted({*before, *after} & {*WRITTEN, *rules.answers}):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield Drift(what, f"header {name}", "none" if one is None else "one", "none" if other is None else "one")
        elif name == "content-type" and one.partition(";")[0] != other.partition(";")[0]:
            yield Drift(what, f"header {name}", one, other)


def _sort(then: Response) -> str:
    return "JSON" if isinstance(then.body, Json) else "text" if then.body else "none"


def _sort_now(now: Mapping[str, Any]) -> str:
    return "JSON" if "json" in now else "text" if now.get("body") else "none"


def shapes(then: Any, now: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """(place, then, now) of every type and key that differs. Of lists the items are compared with the first one."""
    if TEMPLATE.fullmatch(str(then)) or TEMPLATE.fullmatch(str(now)):
        return  # it repeats what was asked
    if _type(then) != _type(now):
        yield path, _type(then), _type(now)
    elif isinstance(then, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            if name not in now or name not in then:
                one, other = (_type(side[name]) if name in side else "nothing" for side in (then, now))
                yield f"{path}.{name}", one, other
            else:
                yield from shapes(then[name], now[name], f"{path}.{name}")
    elif isinstance(then, list) and then and now:
        yield from dict.fromkeys(one for item in now for one in shapes(then[0], item, f"{path}[]"))


def _type(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _status(answer: Mapping[str, Any]) -> str:
    return f"answered with {answer['status']}"
