"""`fixtures/<set>/record.yaml`: where the real services are, and what of their traffic may stand in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from itest.errors import ItestError
from itest.mock import jsonpath
from itest.suite import schema, yamlfile
from itest.suite.schema import wrong
from itest.suite.suite import Suite
from itest.suite.yamlfile import Keys, YamlFile

FILE = "record.yaml"
Part = Literal["path", "query", "headers", "form", "json", "body"]
PARTS: tuple[Part, ...] = ("path", "query", "headers", "form", "json", "body")
Treatment = Literal["mask", "keep", "vary"]
TREATMENTS: tuple[Treatment, ...] = ("mask", "keep", "vary")
HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d+)?(?:/[^\s?#]*)?")
EXAMPLE = "upstreams: {payments.example.com: https://sandbox.payments.example.com}"


@dataclass(frozen=True)
class Named:
    """A real service. name: the host for which clients ask, `host[:port][/path]`; url: where it really is;

    every: requests that a stub would answer go there too; ca: a file below the root, of who vouches for it, "" for the
    authorities that this machine trusts.
    """

    name: str
    url: str
    every: bool = False
    ca: str = ""


@dataclass(frozen=True)
class Rules:
    """What one file says. treat: (treatment, part) -> names, JSONPaths, paths with {captures}, or expressions;

    answers: headers of answers that are written, beside the usual ones; where: the file, from the root.
    """

    where: Path
    upstreams: tuple[Named, ...]
    treat: Mapping[tuple[Treatment, Part], tuple[str, ...]] = field(default_factory=dict)
    answers: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where stubs go that are recorded by these rules."""
        from itest.data.stubs import FOLDER
        from itest.mock.stubfile import RECORDED

        return self.where.parent / FOLDER / RECORDED

    def of(self, treatment: Treatment, part: Part) -> tuple[str, ...]:
        return self.treat.get((treatment, part), ())


def find(suite: Suite) -> Rules:
    """The rules of a suite: the one file among its fixtures. Raises ItestError (usage)."""
    found = [folder / FILE for folder in suite.fixtures if (suite.root / folder / FILE).is_file()]
    if len(found) == 1:
        return read(suite.root, found[0])
    if found:
        problem = f"suite {suite.name}: its fixtures have several {FILE}: {', '.join(map(str, found))}"
        raise ItestError("usage", problem, hint="keep one of them", cause="record")
    place = suite.fixtures[-1] / FILE if suite.fixtures else Path("fixtures") / suite.name / FILE
    problem = f"suite {suite.name}: no {FILE} says where the real services are, so nothing may leave"
    raise ItestError("usage", problem, hint=f"{place}: `{EXAMPLE}`; see fixtures/README.md, Record", cause="record")


def read(root: Path, path: Path) -> Rules:
    """One file, checked in full. Raises ItestError (usage) with file and line."""
    file = yamlfile.read(root, path)
    for key in file.data:
        if key not in ("upstreams", "answers", *TREATMENTS):
            known = ("upstreams", "answers", *TREATMENTS)
            raise wrong(file, (str(key),), f"unknown key `{key}`", schema.nearest(key, known))
    upstreams = tuple(_upstreams(root, file))
    answers = schema.strings(file, ("answers",), file.data.get("answers", []))
    return Rules(path, upstreams, dict(_treatments(file)), tuple(name.lower() for name in answers))


def _upstreams(root: Path, file: YamlFile) -> Iterator[Named]:
    given = file.data.get("upstreams")
    if not isinstance(given, dict) or not given:
        raise wrong(file, ("upstreams",), "`upstreams` must name the real service of each host", EXAMPLE)
    for name, value in given.items():
        keys: Keys = ("upstreams", str(name))
        if not HOST.fullmatch(str(name)):
            raise wrong(file, keys, f"`{name}` is no host", "such as payments.example.com, or mock:8080/payments")
        said = value if isinstance(value, dict) else {"url": value}
        schema.mapping(file, keys, said, ("url", "every", "ca"))
        yield _upstream(root, file, keys, said)


def _upstream(root: Path, file: YamlFile, keys: Keys, said: Mapping[str, Any]) -> Named:
    url = schema.string(file, (*keys, "url"), said.get("url"))
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname or where.username or where.query:
        problem = f"`{keys[-1]}` needs the URL of a service, without user and query"
        raise wrong(file, keys, problem, "such as https://sandbox.payments.example.com")
    ca = said.get("ca", "")
    if ca and not (root / schema.string(file, (*keys, "ca"), ca)).is_file():
        raise wrong(file, (*keys, "ca"), f"`ca: {ca}` is no file", "paths begin at the repository's root")
    every = schema.truth(file, (*keys, "every"), said.get("every", False))
    return Named(str(keys[-1]), url, every, ca)


def _treatments(file: YamlFile) -> Iterator[tuple[tuple[Treatment, Part], tuple[str, ...]]]:
    for treatment in TREATMENTS:
        given = schema.mapping(file, (treatment,), file.data.get(treatment, {}), PARTS)
        for part in PARTS:
            keys: Keys = (treatment, part)
            values = schema.strings(file, keys, given.get(part, []))
            for index, value in enumerate(values):
                _check(file, (*keys, index) if isinstance(given[part], list) else keys, part, value)
            yield (treatment, part), values


def _check(file: YamlFile, keys: Keys, part: Part, value: str) -> None:
    """Raises for what could never fit anything."""
    try:
        if part == "json":
            jsonpath.steps(value)
        elif part == "body":
            re.compile(value)
    except (jsonpath.JsonPathError, re.error) as error:
        raise wrong(file, keys, f"`{value}`: {error}") from error
    if part == "path" and not (value.startswith("/") and re.search(r"\{\w+\}", value)):
        problem = f"`{value}` is no path with a {{name}} for the part that is meant"
        raise wrong(file, keys, problem, "such as /customers/{email}/cards")
