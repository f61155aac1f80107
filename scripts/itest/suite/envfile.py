"""An env file of compose: the variables that it sets, with their lines, quotes and `${…}` read as compose reads them.

https://docs.docker.com/reference/compose-file/interpolation/ and https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from itest.errors import ItestError
from itest.suite.yamlfile import read_text

ASSIGNMENT = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*[=:]\s*
    (?:'(?P<literal>[^']*)' | "(?P<quoted>[^"]*)" | (?P<plain>.*?))
    (?:\s+\#.*)?\s*""",
    re.VERBOSE,
)
VARIABLE = re.compile(
    r"""\$(?:(?P<dollar>\$) | (?P<plain>\w+)
    | \{(?P<name>\w+) (?:(?P<op>:?[-+?])(?P<word>(?:[^{}]|\$\{[^{}]*\})*))?\})""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class EnvFile:
    """path: relative to the repository's root; the rest by variable, the last of two of a name.

    texts: what stands there and is interpolated, so nothing of a value in single quotes.
    """

    path: Path
    values: Mapping[str, str]
    lines: Mapping[str, int]
    texts: Mapping[str, str]

    def get(self, name: str, example: str) -> str:
        """A variable's value. Raises ItestError (usage), with an example, when it is missing or empty."""
        if not self.values.get(name):
            raise ItestError(
                "usage", f"{self.where(name)}: {name} is missing", hint=f"add {name}={example}", cause="config"
            )
        return self.values[name]

    def wrong(self, name: str, problem: str, hint: str) -> ItestError:
        """A configuration error at a variable."""
        return ItestError("usage", f"{self.where(name)}: {name} {problem}", hint=hint, cause="config")

    def where(self, name: str) -> str:
        """`file:line` of a variable, or the file alone."""
        return f"{self.path}:{self.lines[name]}" if name in self.lines else f"{self.path}"


def read(root: Path, path: Path) -> EnvFile:
    """Read an env file. The environment wins over what the file said before, as it does in compose.

    Lines that set nothing are left to compose, which refuses them. Raises ItestError (usage) where it is no text.
    """
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    texts: dict[str, str] = {}
    for number, line in enumerate(read_text(root, path).splitlines(), start=1):
        if found := ASSIGNMENT.fullmatch(line):
            name, text = found["name"], found["quoted"] or found["plain"] or ""
            values[name] = found["literal"] or expand(text, values | os.environ)
            lines[name], texts[name] = number, text
    return EnvFile(path, values, lines, texts)


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+value}`, nested too; without `:`, empty counts as set."""

    def replace(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name, op, word = found["plain"] or found["name"], found["op"] or "", found["word"] or ""
        value = values.get(name, "")
        there = bool(value) if op.startswith(":") else name in values
        if op.endswith("+"):
            return expand(word, values) if there else ""
        return expand(word, values) if op.endswith("-") and not there else value

    return VARIABLE.sub(replace, text)
