"""What the rules let vary in answers stays as it was recorded first, so that recording again changes no line for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from itest.mock import stubfile
from itest.mock.stubs import Json, Response, Stub
from itest.recording import jsonplaces
from itest.recording.drift import TEMPLATE, repeated
from itest.recording.leaves import leaves
from itest.recording.masking import Taken
from itest.recording.rules import Part, Rules
from itest.recording.stubs import Asked, filled


def keep(asked: Iterable[Asked], recorded: Sequence[Stub], taken: Sequence[Taken], rules: Rules) -> None:
    """Put the values of the files in the place of those that came now. recorded: the stubs of the files.

    What a client sends back stays: its request is recorded with it.
    """
    sent = "\n".join(leaf.text for one in taken for leaf in one.leaves if leaf.side == "request")
    for one in asked:
        (request,) = (stub.request for stub in stubfile.from_data(one.as_data(), "recorded"))
        for stub in [stub for stub in recorded if stub.request == request]:
            for answers in one.answers.values():
                for then, now in zip(repeated(stub.responses, len(answers)), answers, strict=False):
                    _keep(then, now, sent, rules)


def _keep(then: Response, now: dict[str, Any], sent: str, rules: Rules) -> None:
    names = {name.lower() for name in rules.of("vary", "headers")}
    before = {name.lower(): value for name, value in then.headers.items() if name.lower() in names}
    for name, value in now.get("headers", {}).items():
        now["headers"][name] = value if value in sent else before.get(name.lower(), value)
    if isinstance(then.body, Json) and "json" in now:
        now["json"] = filled(now["json"], "$", dict(_kept(then.body.value, now["json"], sent, rules)))


def _kept(then: Any, now: Any, sent: str, rules: Rules) -> Iterator[tuple[str, Any]]:
    """(JSONPath, value) of each leaf that varies and was there, of the same type; what repeats the request does so."""
    before, varies = dict(jsonplaces.leaves(then)), jsonplaces.meant(now, rules)
    for path, value in jsonplaces.leaves(now):
        old = before.get(path)
        same_sort = type(old) is type(value) and not TEMPLATE.search(f"{old}{value}")
        if varies.get(path) == "vary" and same_sort and str(value) not in sent:
            yield path, old


def idle(taken: Sequence[Taken], rules: Rules) -> list[str]:
    """The rules that fit nothing of what was recorded, a line each."""
    said = [(treatment, part, value) for (treatment, part), values in rules.treat.items() for value in values]
    return [
        f"{rules.where}: {treatment}: {{{part}: [{value}]}} fits nothing that was recorded"
        for treatment, part, value in said
        if not _fits(taken, rules, part, value)
    ]


def _fits(taken: Sequence[Taken], rules: Rules, part: Part, value: str) -> bool:
    """As the one rule there is, to keep: which no name asks for by itself, as some ask to be masked."""
    if part == "body":
        return any(re.search(value, leaf.text) for one in taken for leaf in one.leaves if leaf.part == "body")
    alone = replace(rules, treat={("keep", part): (value,)})
    return any(leaf.treatment == "keep" for one in taken for leaf in leaves(one.exchange, alone))
