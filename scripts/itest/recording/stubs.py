"""Stubs of what was recorded: a file a host, in an order that stays, so that the next recording's diff can be read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from itest.recording.jsonplaces import step_to
from itest.recording.leaves import Leaf, answer_body
from itest.recording.ledger import Ledger
from itest.recording.masking import Finding, Taken, is_written, masked
from itest.recording.requests import Wanted, wanted
from itest.recording.rules import Rules
from itest.verdict.mask import is_distinct

HEAD = """\
# Recorded by `make record`, with the rules of {rules}: secrets and personal data are masked.
# `make record` writes it anew; `make record ARGS=--check` says where the real service has changed since.
"""
MARKS = ("{{", "{%", "{#")  # of a template


@dataclass
class Asked:
    """One stub in the making: a request, and the answers to it in each test."""

    wanted: Wanted
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    brought: dict[str, tuple[Mapping[str, str], int]] = field(default_factory=dict)  # by secrets: and the first status

    @property
    def sequence(self) -> list[dict[str, Any]]:
        """The answers of the test that saw most of them, the first of these; the last one repeats."""
        return max(map(_short, self.answers.values()), key=len)

    @property
    def note(self) -> str:
        """What a person should know: tests that don't see on replay what they saw."""
        first = {answers[0]["status"]: test for test, answers in reversed(self.answers.items())}
        if len(first) < 2:
            return ""
        seen = ", ".join(f"{status} in {test}" for status, test in sorted(first.items()))
        return (
            f"{self.as_data()['name']}: {seen}; every test gets {self.sequence[0]['status']}, unless it stubs its own"
        )

    @property
    def order(self) -> tuple[str, str, str]:
        said = self.wanted.data
        return str(said["path"]), said["method"], json.dumps(said, sort_keys=True)

    def as_data(self) -> dict[str, Any]:
        said, answers = self.wanted.data, self.sequence
        path = said["path"] if isinstance(said["path"], str) else next(iter(said["path"].values()))
        several = {"responses": answers} if len(answers) > 1 else {"response": answers[0]}
        return {"name": f"{said['method']} {path}", "request": said, **several}


def made(taken: Sequence[Taken], rules: Rules, ledger: Ledger) -> tuple[list[Asked], list[Finding]]:
    """Stubs of exchanges; and what can't be told apart on replay, as only a masked value did."""
    found: dict[str, Asked] = {}
    issued: set[str] = set()
    refused: list[Finding] = []
    for one in taken:
        request = wanted(one, rules, ledger, issued)
        asked = found.setdefault(json.dumps(request.data, sort_keys=True), Asked(request))
        asked.answers.setdefault(one.exchange.test, []).append(_answer(one, request, rules, ledger))
        refused += _confused(asked, request, one)
        issued |= {leaf.text for leaf in one.leaves if leaf.side == "answer"}
    return sorted(found.values(), key=lambda asked: asked.order), list(dict.fromkeys(refused))


def notes(asked: Iterable[Asked], taken: Iterable[Taken], rules: Rules) -> list[str]:
    """What a person should know: what replay can't give."""
    found = [one.note for one in asked if one.note]
    for one in taken:
        names = Counter(leaf.name.lower() for leaf in one.of("answer", "headers") if is_written(leaf, rules))
        request = f"{one.exchange.request.method} {one.exchange.request.path}"
        found += [
            f"{request}: of {count} headers {name} a stub gives the last" for name, count in names.items() if count > 1
        ]
    return list(dict.fromkeys(found))


def files(asked: Iterable[Asked], rules: Rules) -> dict[Path, str]:
    """Path from the root -> text."""
    hosts: dict[str, list[dict[str, Any]]] = {}
    for one in asked:
        hosts.setdefault(one.wanted.data["host"], []).append(one.as_data())
    head = HEAD.format(rules=rules.where)
    return {file_of(host, rules): head + dumped(stubs) for host, stubs in sorted(hosts.items())}


def file_of(host: str, rules: Rules) -> Path:
    """The file of a host, from the root."""
    return rules.folder / f"{host.replace(':', '-')}.yaml"


def dumped(data: Any) -> str:
    """YAML for reading: keys in their order, texts of several lines as blocks, no aliases."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text.rstrip("\n") else None
    node = dumper.represent_str(text)
    node.style = style or node.style
    return node


_Dumper.add_representer(str, _text)


def _confused(asked: Asked, request: Wanted, one: Taken) -> Iterator[Finding]:
    """The same request for a stub, another one for the service, which answers otherwise."""
    status = one.exchange.answer.status
    key = json.dumps(request.patterns, sort_keys=True)
    asked.brought.setdefault(key, (request.patterns, status))
    for other, before in asked.brought.values():
        places = [place for place, value in request.patterns.items() if other.get(place) != value]
        if places and before != status:
            what = f"{request.data['method']} {request.data['host']}: answered with {before} and with {status}"
            rule = f"keep: what is at `{places[0]}`, if it is no secret"
            yield Finding(what, places[0], "only a masked value tells these requests apart", rule)


def _short(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those at the end that only repeat."""
    end = len(answers)
    while end > 1 and answers[end - 1] == answers[end - 2]:
        end -= 1
    return answers[:end]


def _answer(one: Taken, request: Wanted, rules: Rules, ledger: Ledger) -> dict[str, Any]:
    """The response of a stub. What repeats the request's own values does so on replay: it is a template then."""
    part, body = answer_body(one.exchange.answer)
    written = [leaf for leaf in one.of("answer", "headers") if is_written(leaf, rules)]
    said: dict[str, Any] = {"status": one.exchange.answer.status}
    if written:
        said["headers"] = {leaf.name: str(masked(leaf, rules, ledger)) for leaf in written}
    values = {leaf.name: masked(leaf, rules, ledger) for leaf in one.of("answer", "json")}
    if part == "json":
        said["json"] = filled(body, "$", values)
    elif part == "form":
        said["body"] = urlencode([(leaf.name, masked(leaf, rules, ledger)) for leaf in one.of("answer", "form")])
    elif part:
        said["body"] = "".join(str(masked(leaf, rules, ledger)) for leaf in one.of("answer", "body"))
    if _looks_like_template(said):
        return said | {"template": False}
    echoed = {leaf.name: text for leaf in one.of("answer", "json") if (text := _echoed(leaf, request, ledger))}
    return said | {"json": filled(body, "$", values | echoed)} if echoed else said


def _echoed(leaf: Leaf, request: Wanted, ledger: Ledger) -> str:
    """The template of a text that repeats what its request asked with, alone or among other words; "" of any other."""
    if not isinstance(leaf.value, str):
        return ""
    among = leaf.treatment != "mask"
    raws = [raw for raw in request.echoes if raw == leaf.text or (among and is_distinct(raw) and raw in leaf.text)]
    if not raws:
        return ""
    parts = re.split(f"({'|'.join(map(re.escape, sorted(raws, key=len, reverse=True)))})", leaf.text)
    said = (f"{{{{ {request.echoes[part]} }}}}" if part in raws else ledger.text(part) for part in parts)
    return "".join(said)


def _looks_like_template(said: Mapping[str, Any]) -> bool:
    return any(mark in json.dumps(said, ensure_ascii=False) for mark in MARKS)


def filled(value: Any, path: str, values: Mapping[str, Any]) -> Any:
    """A JSON value with others at some of its places. path: its own; values: by JSONPath."""
    if isinstance(value, dict):
        return {name: filled(inner, path + step_to(name), values) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, f"{path}[{index}]", values) for index, inner in enumerate(value)]
    return values.get(path, value)
