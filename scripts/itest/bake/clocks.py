"""Where SQL reads the clock, by its words: strings, comments and names in quotes are none.

Most of it shows in the rows themselves, see `ages`; `now() - interval '1 month'` does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from itest.data import sqlsplit
from itest.data.datafile import DataFile

CALLED = {"NOW", "CLOCK_TIMESTAMP", "STATEMENT_TIMESTAMP", "TRANSACTION_TIMESTAMP", "TIMEOFDAY"}
WORDS = {"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"}
# A string is a time beside a type, as in `date 'yesterday' - 30` or `'now'::timestamptz`; alone it may be a name.
# ZONE: the last word of `timestamp with time zone`.
LITERALS = {"'NOW'", "'TODAY'", "'TOMORROW'", "'YESTERDAY'"}
TYPES = {"DATE", "TIME", "TIMETZ", "TIMESTAMP", "TIMESTAMPTZ", "ZONE"}
# How statements begin that may fill or change rows. DDL does so by defaults, and what those give is seen in the rows.
WRITING = {"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT", "CALL", "DO"}
NOTHING = ("", 0, 0)


@dataclass(frozen=True)
class Reading:
    """One place that reads the clock. offset: in the text, from 0; words: as they are written there."""

    offset: int
    words: str


def readings(text: str) -> Iterator[Reading]:
    """All places in a piece of SQL, those in the body of a DO included."""
    tokens = [NOTHING, *sqlsplit.tokens(text), NOTHING, NOTHING]
    block = len(tokens) > 3 and tokens[1][0] == "DO"
    for (before, *_), (token, begin, end), (after, *_), (second, *_) in zip(
        tokens, tokens[1:], tokens[2:], tokens[3:], strict=False
    ):
        typed = before in TYPES or (after == "::" and second in TYPES)
        if (token in CALLED and after == "(") or token in WORDS or (token in LITERALS and typed):
            yield Reading(begin, text[begin:end])
        elif block and token.startswith("$"):
            tag = token.index("$", 1) + 1
            yield from (Reading(begin + tag + one.offset, one.words) for one in readings(text[begin + tag : end - tag]))


def in_fixture(file: DataFile) -> str:
    """The first place of a fixture that reads the clock, as `path:line reads the clock (now)`; empty for none."""
    found = next(readings(file.text), None) if file.path.suffix.lower() == ".sql" else None
    return _told(file, found) if found else ""


def in_migration(file: DataFile, tables: Collection[str]) -> str:
    """The same for the statements of a migration that write rows and name one of some tables (bare names)."""
    wanted = {name.upper() for name in tables}
    for piece in sqlsplit.statements(file.text):
        text = file.text[piece]
        if not (writes(text) and wanted & set(_names(text))):
            continue
        for one in readings(text):
            return _told(file, Reading(piece.start + one.offset, one.words))
    return ""


def writes(statement: str) -> bool:
    """Whether a statement may fill or change rows otherwise than by a column's default."""
    opening = sqlsplit.opening(statement, 1)
    # CREATE TABLE … AS SELECT; a view's rows, or a function's, are made when they are asked for.
    made = sqlsplit.opening(statement, 3).startswith(("CREATE TABLE", "CREATE UNLOGGED TABLE", "CREATE MATERIALIZED"))
    return opening in WRITING or (made and any(token in ("SELECT", "WITH") for token, *_ in sqlsplit.tokens(statement)))


def _names(text: str) -> Iterator[str]:
    """The words of a statement, in capitals and without quotes, those in the body of a DO included."""
    for token, begin, end in sqlsplit.tokens(text):
        if token.startswith("$") and token.count("$") > 2:
            tag = token.index("$", 1) + 1
            yield from _names(text[begin + tag : end - tag])
        else:
            yield token.strip('"')


def _told(file: DataFile, one: Reading) -> str:
    return f"{file.path}:{file.line_at(one.offset)} reads the clock ({one.words})"
