"""Variables that layers and env files read: one that is not set, or whose value compose can't use, is told by name.

Compose makes nothing of the first and only warns, and of the second it tells the value alone.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itest.errors import ItestError
from itest.suite import envfile
from itest.suite.envfile import VARIABLE, EnvFile
from itest.suite.yamlfile import YamlFile

ENV_FILES = "compose/*/*.env"  # of all suites and profiles
# `Invalid hostPort: abc`, `invalid size: 'lots'`, `strconv.ParseFloat: parsing "lots": invalid syntax`
REFUSED = re.compile(r"""(?:[Ii]nvalid [\w ]+: |parsing )(?P<quote>['"]?)(?P<value>.+?)(?P=quote)(?:: |$)""")


@dataclass(frozen=True)
class Read:
    """Where a file reads a variable. default: it says what holds where the variable isn't set."""

    name: str
    where: str
    default: bool


def refuse_unset(root: Path, env_files: Iterable[Path], files: Sequence[YamlFile]) -> None:
    """Raises ItestError (usage) for the first variable that has no default and that nothing sets."""
    given = [envfile.read(root, path) for path in env_files]
    values = _values(given)
    read_in: list[EnvFile | YamlFile] = [*given, *files]
    reads = [read for file in read_in for read in _reads(file, values)]
    for read in reads:
        if not read.default and read.name not in values:
            problem = f"{read.where}: ${{{read.name}}} is not set and has no default"
            hint = _nearest(root, read.name, {other.name for other in reads if other.default} | values.keys())
            raise ItestError("usage", problem, hint=hint, cause="config")


def blamed(root: Path, env_files: Iterable[Path], files: Sequence[YamlFile], error: ItestError) -> ItestError | None:
    """Compose's complaint about a value, as one about the variable that holds it; None where no variable does."""
    refused = REFUSED.search(error.message)
    if error.cause != "config" or refused is None:
        return None
    given = [envfile.read(root, path) for path in env_files]
    values = _values(given)
    for read in (read for file in files for read in _reads(file, values)):
        if values.get(read.name) == refused["value"]:
            says = error.message.replace(f"{root}/", "").partition(": ")[2]
            problem = f"{_origin(given, read.name)}: {read.name}={refused['value']}, which {read.where} reads: {says}"
            return ItestError("usage", problem, hint=_mend(read.name, says), cause="config")
    return None


def _values(given: Sequence[EnvFile]) -> dict[str, str]:
    """What compose takes: of two files the later wins, and the environment wins over both."""
    values: dict[str, str] = {}
    for file in given:
        values |= file.values
    return values | os.environ


def _reads(file: YamlFile | EnvFile, values: Mapping[str, str]) -> Iterator[Read]:
    lines = (
        file.values if isinstance(file, YamlFile) else ((file.lines[name], text) for name, text in file.texts.items())
    )
    for line, text in lines:
        for name, default in _names(text, values):
            yield Read(name, f"{file.path}:{line}", default)


def _names(text: str, values: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Variables in a text, and in those defaults that count: in `${A:-${B}}`, B only where A is empty."""
    for found in VARIABLE.finditer(text):
        name, op = found["plain"] or found["name"] or "", found["op"] or ""
        if not re.match("[A-Za-z_]", name):
            continue  # `$$`, and `$1`, which compose leaves alone
        yield name, bool(op)
        there = bool(values.get(name)) if op.startswith(":") else name in values
        if op and there == op.endswith("+"):
            yield from _names(found["word"] or "", values)


def _nearest(root: Path, name: str, known: Iterable[str]) -> str:
    may_be_empty = f"${{{name}:-}} says that it may be empty"
    setting = {path.relative_to(root): envfile.read(root, path.relative_to(root)) for path in root.glob(ENV_FILES)}
    for path, file in sorted(setting.items()):
        if name in file.values:
            return f"only {path} sets it; {may_be_empty}"
    options = {*known, *(other for file in setting.values() for other in file.values)}
    close = difflib.get_close_matches(name, sorted(options - {name}), n=1)
    return f"did you mean `{close[0]}`? {may_be_empty}" if close else may_be_empty


def _origin(given: Sequence[EnvFile], name: str) -> str:
    files = [file for file in given if name in file.values]
    return files[-1].where(name) if files and name not in os.environ else "environment"


def _mend(name: str, says: str) -> str:
    if "port" in says.lower():
        return f"{name} is a number from 1 to 65535, or nothing for any free port"
    return f"give {name} another value, or none"
