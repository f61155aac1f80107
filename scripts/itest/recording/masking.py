"""Which values of a recording are secret, what is written in their place, and what may not be written at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from itest.recording import kinds
from itest.recording.leaves import Exchange, Leaf, Uncovered, leaves, names
from itest.recording.ledger import Ledger
from itest.recording.rules import Part, Rules

# Of an answer's headers those that a client acts on; `answers:` of the rules adds some. No other is written.
WRITTEN = {"content-type", "location", "retry-after", "link", "allow", "www-authenticate", "etag", "set-cookie"}
COOKIE = re.compile(r"([^=;\s]+)=\"?([^;\"]*)")
SCHEME = re.compile(r"(?i)(?:bearer|basic|token|apikey|digest)\s+(.+)", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """What keeps a recording from being written. what: a request, without secrets; rule: that would cover the place."""

    what: str
    place: str
    kind: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.place}: {self.kind}"


@dataclass(frozen=True)
class Taken:
    """An exchange and all its values."""

    exchange: Exchange
    leaves: tuple[Leaf, ...]

    def of(self, side: str, part: Part) -> list[Leaf]:
        return [leaf for leaf in self.leaves if (leaf.side, leaf.part) == (side, part)]


def take(exchanges: Iterable[Exchange], rules: Rules, ledger: Ledger) -> tuple[list[Taken], list[Finding]]:
    """Take exchanges apart, and learn their secrets. Returns those too that have a body which nobody can look into."""
    taken, unseen, brought = [], [], ""  # all that clients said so far
    for exchange in sorted(exchanges, key=lambda one: one.number):
        try:
            found = tuple(leaves(exchange, rules))
        except Uncovered as error:
            unseen.append((exchange, str(error)))
            continue
        taken.append(Taken(exchange, found))
        brought += "\n".join(["", *(leaf.text for leaf in found if leaf.side == "request")])
        for leaf in found:
            for label, raw in secrets_of(leaf, rules):
                ledger.learn(raw, label, issued=leaf.side == "answer" and raw not in brought)
            for raw in sorted(ledger.known):
                if raw in leaf.text:
                    ledger.learn(raw, "secret", issued=False)
    kind = "nobody can look into it"
    return taken, [Finding(_title(exchange, ledger), place, kind) for exchange, place in unseen]


def secrets_of(leaf: Leaf, rules: Rules) -> Iterator[tuple[str, str]]:
    """(label, secret) of a value that the rules mask: of a header the credentials in it."""
    if leaf.part == "body":
        for expression in rules.of("mask", "body"):
            yield from (("text", seen[1] if seen.re.groups else seen[0]) for seen in re.finditer(expression, leaf.text))
    if leaf.treatment != "mask":
        return
    name = leaf.name.lower()
    if name in ("cookie", "set-cookie"):
        pairs = COOKIE.findall(leaf.text)
        yield from (("cookie", value) for _, value in pairs[: 1 if name == "set-cookie" else None] if value)
    elif leaf.part == "headers" and (given := SCHEME.fullmatch(leaf.text)):
        yield leaf.label, given[1]
    else:
        yield leaf.label, leaf.text


def is_written(leaf: Leaf, rules: Rules) -> bool:
    """Whether a value goes into a file: of headers only some of answers do."""
    return leaf.part != "headers" or (leaf.side == "answer" and leaf.name.lower() in (*WRITTEN, *rules.answers))


def masked(leaf: Leaf, rules: Rules, ledger: Ledger) -> object:
    """What is written in place of a value; a number stays one."""
    text = leaf.text
    cookie = leaf.name.lower() == "set-cookie"  # its value comes first, and may be as short as `1`
    before, times = ("=", 1) if cookie else ("", -1)
    for _, raw in secrets_of(leaf, rules):
        text = text.replace(before + raw, before + ledger.secrets[raw].placeholder, times)
    if leaf.treatment == "mask" and text != leaf.text:
        return text if isinstance(leaf.value, str) else type(leaf.value)(re.sub(r"\D", "", text) or 0)
    return ledger.text(text) if isinstance(leaf.value, str) else leaf.value


def refuse(taken: Sequence[Taken], rules: Rules, ledger: Ledger) -> list[Finding]:
    """Everything that would be written and looks like a secret, once each; never its value."""
    found = [finding for one in taken for finding in _refused(one, rules, ledger)]
    return list(dict.fromkeys(found))


def _refused(one: Taken, rules: Rules, ledger: Ledger) -> Iterator[Finding]:
    what = _title(one.exchange, ledger)
    for leaf in one.leaves:
        if not is_written(leaf, rules) or leaf.treatment == "keep":
            continue
        if leaf.side == "request" and leaf.treatment == "vary":
            continue  # written as an expression that fits anything
        text = str(masked(leaf, rules, ledger))
        left = ledger.without(text)
        for expression in rules.of("keep", "body") if leaf.part == "body" else ():
            left = re.sub(expression, " ", left)
        seen = [kind for kind, _ in kinds.found(left)]
        if not seen and ledger.left_in(text):
            seen = ["a masked value, written otherwise"]
        place = ledger.shown(leaf.place)
        yield from (Finding(what, place, kind, rule(one, leaf, ledger)) for kind in dict.fromkeys(seen))
    for side, name in names(one.exchange):
        if any(kinds.found(ledger.without(name))) or ledger.text(name) != name:
            yield Finding(what, f"{side}, the name of a field", "a secret as a name, which no rule masks")


def _title(exchange: Exchange, ledger: Ledger) -> str:
    request = exchange.request
    return f"{request.method} {request.host}{ledger.shown(request.decoded_path)}"


def rule(one: Taken, leaf: Leaf, ledger: Ledger) -> str:
    """The line of the rules that would mask a value."""
    name = ledger.shown(leaf.name)
    if leaf.part == "path":
        segments = list(one.exchange.request.segments)
        segments[int(leaf.name)] = "{value}"
        name = "/".join(word if word == "{value}" else ledger.shown(word) for word in segments)
    elif leaf.part == "body":
        name = "an expression that fits it"
    return f"mask: {{{leaf.part}: [{json.dumps(name, ensure_ascii=False)}]}}"
