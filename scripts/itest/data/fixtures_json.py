"""Fixtures in JSON: what stands in a file, with the line of every row and the raw text that PostgreSQL itself converts.

The values are never converted here: `1.10`, `9007199254740993` and `2024-02-30` mean what the column's type says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from itest.data.datafile import DataFile
from itest.errors import ItestError

BETWEEN = re.compile(r"[\s,:]*")


@dataclass(frozen=True)
class Row:
    """One row. line: where it begins in the file; keys: its columns; text: its JSON, as written."""

    line: int
    keys: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Table:
    """The rows for one table. name: as written, `table` or `schema.table`; line: where it is named."""

    name: str
    line: int
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """All rows as one JSON array."""
        return "[" + ",".join(row.text for row in self.rows) + "]"


class Twice(dict[str, Any]):
    """An object that names a key twice; JSON allows it, and every reader picks another of the two."""

    key: str = ""


def tables(file: DataFile) -> tuple[Table, ...]:
    """`{"table": [{"column": value, …}, …], …}` in file order. Raises ItestError (data) for anything else."""
    parse(file)
    found: dict[str, Table] = {}
    line = _Lines(file.text)
    entries = _elements(file.text, file.text.index("{"))
    for (name, start, _), (rows, at, _) in zip(entries, entries, strict=True):
        if name in found:
            raise file.error(
                f"table {name} stands in it twice", line=line.at(start), hint="merge the two lists of rows"
            )
        if not isinstance(rows, list):
            problem = f"{name} must be a list of rows, not {_kind(rows)}"
            raise file.error(problem, line=line.at(start), hint=f'write "{name}": [{{"column": "value"}}]')
        named = line.at(start)
        found[name] = Table(name, named, tuple(_rows(file, name, at, line)))
    return tuple(found.values())


def parse(file: DataFile) -> dict[str, Any]:
    """The whole file as one object, numbers as written (strings). Raises ItestError (data) for bad JSON."""
    try:
        whole = json.loads(
            file.text, object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise _malformed(file, error) from None
    except (ValueError, RecursionError) as error:
        raise file.error(f"bad JSON: {error}", hint=f"correct {file.path}") from None
    if not isinstance(whole, dict):
        raise file.error(f"it must hold one object, not {_kind(whole)}", line=1, hint='begin it with { "name": …')
    return whole


def _malformed(file: DataFile, error: json.JSONDecodeError) -> ItestError:
    """The complaint about bad JSON. A missing comma is found at the next value, often lines below, and one too many at
    the bracket that follows: what to mend is the end of what stands before, so that is the place it names."""
    end = error.pos + file.text.startswith(",", error.pos)  # Python 3.13 blames the comma, others the bracket
    before, after = file.text[:end].rstrip(), file.text[end:].lstrip()
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n") - 1
    if error.msg.startswith("Expecting ',' delimiter"):
        problem, hint = f"a comma or a closing bracket is missing after column {column}", f"write it in line {line}"
    elif before.endswith(",") and after[:1] in ("]", "}"):
        problem, hint = f"a comma too many in column {column}", f"remove it from line {line}"
    else:
        line, problem = error.lineno, f"column {error.colno}: {error.msg}"
        hint = f'correct line {line}; JSON wants "double quotes", and takes no comments'
    return file.error(f"bad JSON: {problem}", line=line, hint=hint, seen=file.excerpt(line, error.lineno))


def _rows(file: DataFile, name: str, start: int, line: _Lines) -> Iterator[Row]:
    for number, (row, at, end) in enumerate(_elements(file.text, start), start=1):
        if not isinstance(row, dict):
            problem = f"{name} row {number} must be an object, not {_kind(row)}"
            raise file.error(problem, line=line.at(at), hint='write {"column": "value"}')
        if isinstance(row, Twice):
            problem = f"{name} row {number} names {row.key} twice"
            raise file.error(problem, line=line.at(at), hint="keep one of the two")
        yield Row(line.at(at), tuple(row), file.text[at:end])


class _Lines:
    """Line numbers for offsets that only grow: counting from the start each time would be quadratic."""

    def __init__(self, text: str) -> None:
        self._text, self._offset, self._line = text, 0, 1

    def at(self, offset: int) -> int:
        self._line += self._text.count("\n", self._offset, offset)
        self._offset = offset
        return self._line


def _elements(text: str, start: int) -> Iterator[tuple[Any, int, int]]:
    """(value, start, end) of what stands directly in the object or array that opens at `start`; keys count as values.

    The text is known to be valid, so whatever stands between two values is punctuation.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_int=str)
    at = _skip(text, start + 1)
    while text[at] not in "]}":
        value, end = decoder.raw_decode(text, at)
        yield value, at, end
        at = _skip(text, end)


def _skip(text: str, at: int) -> int:
    match = BETWEEN.match(text, at)
    assert match  # it matches the empty string too
    return match.end()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) == len(pairs):
        return whole
    twice = Twice(whole)
    seen: set[str] = set()
    twice.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return twice


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f'{word} is no JSON; write "{word}"')


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"`{value}`")
