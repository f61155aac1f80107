"""A place in a contract: its value, the way to it, and so its line."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from itest.suite import yamlfile
from itest.suite.schema import described, wrong
from itest.suite.yamlfile import Keys, YamlFile


def read(root: Path, path: Path) -> Node:
    """A contract, YAML or JSON, from its top. Raises ItestError (usage) with file and line where it can't be read."""
    file = yamlfile.parse(path, yamlfile.read_text(root, path))  # JSON is YAML
    file = replace(file, data=_plain(file.data))
    if not isinstance(file.data, dict):
        raise wrong(file, (), f"a contract is a mapping, not {described(file.data)}")
    return Node(file, (), file.data)


@dataclass(frozen=True)
class Node:
    """keys: from the document's top; followed where it is a reference to another place of the document."""

    file: YamlFile
    keys: Keys
    value: Any

    @property
    def where(self) -> str:
        return self.file.where(*self.keys)

    def __contains__(self, name: str) -> bool:
        return isinstance(self.value, Mapping) and name in self.value

    def get(self, *names: str | int) -> Node | None:
        """What is at some keys below, None where one of them is missing."""
        node = self
        for name in names:
            value = node.value
            there = (
                name in value if isinstance(value, Mapping) else isinstance(value, list) and name in range(len(value))
            )
            if not there:
                return None
            node = Node(self.file, (*node.keys, name), value[name]).followed()
        return node

    def text(self, name: str) -> str:
        """The text at a key, "" without one."""
        found = self.get(name)
        return found.value if found and isinstance(found.value, str) else ""

    def items(self, *names: str) -> Iterator[tuple[str, Node]]:
        """What the mapping at some keys below holds; nothing where there is none."""
        holder = self.get(*names)
        for name in holder.value if holder and isinstance(holder.value, Mapping) else ():
            if holder and (found := holder.get(name)):
                yield name, found

    def each(self, name: str) -> Iterator[Node]:
        """What the list at a key holds; nothing where there is none."""
        holder = self.get(name)
        for index in range(len(holder.value) if holder and isinstance(holder.value, list) else 0):
            if holder and (found := holder.get(index)):
                yield found

    def followed(self) -> Node:
        """The place that a reference means, else this one. Raises ItestError where that is not in the document."""
        node, seen = self, set()
        while isinstance(node.value, Mapping) and isinstance(reference := node.value.get("$ref"), str):
            if not reference.startswith("#") or reference in seen:
                hint = "one file has to hold it all; tools that bundle OpenAPI documents do that"
                raise wrong(self.file, self.keys, f"`$ref: {reference}` doesn't lead to a place in this document", hint)
            seen.add(reference)
            node = node._at(reference)
        return node

    def _at(self, reference: str) -> Node:
        """The place that a JSON pointer names (RFC 6901)."""
        keys: list[str | int] = []
        value: Any = self.file.data
        for part in reference.lstrip("#").split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            key: str | int = int(name) if isinstance(value, list) and name.isdigit() else name
            try:
                value = value[key]
            except (LookupError, TypeError) as error:
                problem = f"`$ref: {reference}`: there is no `{name}`"
                raise wrong(self.file, self.keys, problem) from error
            keys.append(key)
        return Node(self.file, tuple(keys), value)


def _plain(value: Any) -> Any:
    """As JSON has it: keys are texts, `200:` too, and so are dates."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, (datetime.date, datetime.datetime)) else value
