"""The operations of an OpenAPI 3 document, and which of them a stub's path and method mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote, urlsplit

from itest.mock.incoming import Incoming
from itest.mock.matching import CAPTURE, captures
from itest.mock.stubs import Value
from itest.stubcheck.node import Node
from itest.suite.schema import wrong

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PARAMETER = re.compile(r"\{([^{}]+)\}")
SAMPLE = "1"  # what stands for a parameter where its schema gives no better example


@dataclass(frozen=True)
class Operation:
    """path: with the prefix that a server has; node: what the document says of it; item: of its path."""

    method: str
    path: str
    node: Node
    item: Node

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def parameters(self) -> dict[tuple[str, str], Node]:
        """By place (`query`, `header`, `path`, `cookie`) and name, those of the path where it has none of its own.

        A header's name is in small letters.
        """
        found: dict[tuple[str, str], Node] = {}
        for holder in (self.item, self.node):
            for one in holder.each("parameters"):
                place, name = one.text("in"), one.text("name")
                found[place, name.lower() if place == "header" else name] = one
        return found

    @cached_property
    def sample(self) -> str:
        """A path that a client might ask for."""
        return PARAMETER.sub(lambda found: self._sample(found[1]), self.path)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Its paths, with a group for each parameter."""
        parts = PARAMETER.split(self.path)
        return re.compile("".join("([^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)))

    def path_values(self, path: str) -> dict[str, str]:
        """What a path has for the parameters."""
        found = self.pattern.fullmatch(path)
        return dict(zip(PARAMETER.findall(self.path), map(unquote, found.groups()), strict=True)) if found else {}

    def _sample(self, name: str) -> str:
        parameter = self.parameters.get(("path", name))
        schema = parameter and parameter.get("schema")
        chosen = [one and one.get("example") for one in (parameter, schema)]
        chosen += [schema and schema.get("default"), schema and schema.get("enum", 0)]
        return next((str(one.value) for one in chosen if one), SAMPLE)


def read(document: Node) -> list[Operation]:
    """All operations, once for each prefix of a server. Raises ItestError (usage) where it is no OpenAPI 3."""
    if not document.text("openapi").startswith("3."):
        raise wrong(document.file, ("openapi",), f"OpenAPI 3 is read, not `{document.value['openapi']}`")
    found = []
    for path, item in document.items("paths"):
        for method in METHODS:
            if (node := item.get(method)) is not None:
                servers = next((one for one in map(_servers, (node, item, document)) if one), [""])
                found += [Operation(method.upper(), f"{prefix}{path}", node, item) for prefix in servers]
    return found


def meant(operations: Sequence[Operation], path: Value | None) -> list[Operation]:
    """The operations at the paths that a stub answers, whatever their method.

    As the specification has it, a path that is written out goes before one with parameters.
    """
    if path is None:
        return list(operations)
    if path.how not in ("equals", "template"):
        return [one for one in operations if captures(path, Incoming.of("GET", one.sample)) is not None]
    example = CAPTURE.sub(SAMPLE, path.what)
    fits = [one for one in operations if one.pattern.fullmatch(example)]
    fits = fits or [one for one in operations if captures(path, Incoming.of("GET", one.sample)) is not None]
    fewest = min((len(PARAMETER.findall(one.path)) for one in fits), default=0)
    return [one for one in fits if len(PARAMETER.findall(one.path)) == fewest]


def _servers(holder: Node) -> list[str]:
    """The prefixes that servers give to paths, each once."""
    return list(dict.fromkeys(map(_prefix, holder.each("servers"))))


def _prefix(server: Node) -> str:
    url = server.text("url")
    for name, variable in server.items("variables"):
        url = url.replace(f"{{{name}}}", variable.text("default"))
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError as error:
        raise wrong(server.file, (*server.keys, "url"), f"`{url}` is no address: {error}") from error
