r"""Where the statements of a SQL file begin and end, by PostgreSQL's lexical rules; its grammar isn't needed for that.

The rules: https://www.postgresql.org/docs/current/sql-syntax-lexical.html, as src/fe_utils/psqlscan.l in PostgreSQL's
sources applies them, without what psql alone knows (\commands, :variables). standard_conforming_strings is on, as by
default. BEGIN ATOMIC is read by gram.y instead (routine_body_stmt_list): the END that closes it follows a semicolon,
that of a CASE or a column named "end" never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

# 'a''b' may be read as two strings: nothing can stand between them. Not so in E'…', where \' is no end, and which goes
# on as E'…' after a newline. What is not closed reaches to the end.
TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\n\r\f\v]+ | --[^\n\r]*)
    | (?P<comment>/\*)
    | [eE]'(?: [^\\']+ | \\(?:.|\Z) | ''
             | '[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[ \t\n\r\f\v] | --[^\n\r]*[\n\r])*' )*(?:'|\Z)
    | '[^']*(?:'|\Z)
    | "[^"]*(?:"|\Z)
    | \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z_\x80-\U0010ffff0-9]*)?)\$.*?(?:\$(?P=tag)\$|\Z)
    | [A-Za-z_\x80-\U0010ffff][A-Za-z_\x80-\U0010ffff0-9$]*
    | [^ \t\n\r\f\vA-Za-z_\x80-\U0010ffff'"$;()/-]+
    | .
    """,
    re.VERBOSE | re.DOTALL,
)

COMMENT_EDGE = re.compile(r"/\*|\*/")

ROUTINE = re.compile(r"CREATE (OR REPLACE )?(FUNCTION|PROCEDURE)\b")


def statements(text: str) -> list[slice]:
    """Each statement, from its first token to its last: without semicolon and without the comments around it.

    Empty statements are left out. A quote, comment or parenthesis that isn't closed makes one statement of all that
    follows: the server says what is wrong with it.
    """
    found = []
    start = stop = depth = 0
    head: list[str] = []
    before, body = "", False
    for token, begin, end in tokens(text):
        if token == ";" and not depth and not body:
            if head:
                found.append(slice(start, stop))
            head = []
            continue
        if not head:
            start = begin
        if len(head) < 4:  # CREATE OR REPLACE FUNCTION
            head.append(token)
        depth = max(0, depth + (token == "(") - (token == ")"))
        if (before, token) == ("BEGIN", "ATOMIC") and not depth and ROUTINE.match(" ".join(head)):
            body = True
        elif token == "END" and before in (";", "ATOMIC"):
            body = False
        before, stop = token, end
    return [*found, slice(start, stop)] if head else found


def opening(text: str, count: int) -> str:
    """The first tokens of a statement: in capitals, one blank between them, no comments."""
    return " ".join(token for token, _, _ in islice(tokens(text), count))


def tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """What is neither blank nor comment: in capitals, with the offsets of its begin and its end."""
    stop = 0
    while found := TOKEN.match(text, stop):
        start, stop = found.span()
        if found.lastgroup == "blank":
            continue
        if found.lastgroup == "comment":
            closed = _comment_end(text, start)
            stop = closed or len(text)
            if closed:
                continue
        yield text[start:stop].upper(), start, stop


def _comment_end(text: str, start: int) -> int:
    """The offset after a comment and those nested in it; 0 where it isn't closed."""
    depth = 0
    for edge in COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return 0
