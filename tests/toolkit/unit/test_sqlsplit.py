"""Statements of a SQL file, found again between whatever else holds a semicolon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itest.data import sqlsplit

ONE = [
    "SELECT ';', 'it''s;', ''';', U&'d\\0061;', B'01', N';'",
    "SELECT 'a\\', ';'",  # no escape outside of E'…'
    "SELECT E'\\';', e'\\';', E'\\\\', E'a''\\';'",
    "SELECT 'a'\n';b'",
    "SELECT E'a' -- it's; \n\n-- it's\r '\\';'",  # goes on after a newline, still as E'…'
    "SELECT namE'\\', ';'",  # the end of a name
    'SELECT 1 AS "a;""b;", 2 AS U&"d\\0061;"',
    "SELECT $$;'$$, $a$;$b$;$$;$a$, $é_1$;$é_1$, $a$;$A$;$a$,$b$c$;$b$",
    "SELECT a$b$c, $1, $2 FROM x$$y",
    "SELECT 1 -- ; it's\r+ 2 /* ; /* ' ; */ ; -- */ * 3",
    "SELECT 2*/*;*/3, 4+--;'\n5, 6 @-/*/;*/7",
    "DO LANGUAGE plpgsql $do$ BEGIN PERFORM $$;$$; END $do$",
    "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; DELETE FROM b WHERE i IN (1, 2);)",
    "SELECT x.begin atomic FROM x",
    "CREATE FUNCTION begin() RETURNS int AS 'BEGIN ATOMIC' LANGUAGE sql",
    "CREATE FUNCTION f(begin atomic) RETURNS int AS 'SELECT 1' LANGUAGE sql",
    "CREATE FUNCTION f() RETURNS int RETURN CASE WHEN true THEN 1 END",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE 1 WHEN 2 THEN 3 END; END",
    "create or replace /* ; */ procedure p() begin -- ;\natomic select 1; end",
    "CREATE OR REPLACE FUNCTION f(i int = (1)) RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT (2); END",
    "CREATE PROCEDURE p() BEGIN ATOMIC END",
    "END",
]

BLANKS = st.sampled_from(["", " ", "\n", "\t\r\n\f\v", "-- it's; \"\n", "--\r", "/* ; ' */", "/*/**/ $$ */"])
WORDS = ["--", "/*", "*/", "$$", "$a$", "E'", "CREATE ", "FUNCTION ", "BEGIN ", "ATOMIC ", "END "]
BITS = st.sampled_from([*" ;'\"$\\/*-()\n\ré1,E", *WORDS])
ENDS = st.lists(BLANKS, max_size=3).map("".join)


def pieces(text: str) -> list[str]:
    return [text[piece] for piece in sqlsplit.statements(text)]


@pytest.mark.parametrize("statement", ONE)
def test_a_semicolon_inside_of_something_ends_no_statement(statement: str) -> None:
    assert pieces(f"{statement};SELECT 2;") == [statement, "SELECT 2"]


@given(statements=st.lists(st.tuples(ENDS, st.sampled_from(ONE), ENDS)), last=st.sampled_from(["", ";", "; ;\n"]))
def test_statements_joined_are_split_again(statements: list[tuple[str, str, str]], last: str) -> None:
    text = ";".join(f"{before} {one} {after}" for before, one, after in statements) + last
    assert pieces(text) == [one for _, one, _ in statements]


@given(st.lists(BITS | st.characters(codec="utf-8", exclude_characters="\0")).map("".join))
def test_whatever_the_text_only_blanks_comments_and_semicolons_are_left_out(text: str) -> None:
    stop = 0
    for piece in sqlsplit.statements(text):
        assert stop <= piece.start < piece.stop
        assert content(text[stop : piece.start]) == ""
        assert pieces(text[piece]) == [text[piece]]
        stop = piece.stop
    assert content(text[stop:]) == ""


def content(text: str) -> str:
    """The text from its first character that is neither blank nor semicolon nor inside of a comment."""
    depth = at = 0
    while at < len(text):
        mark = text[at : at + 2]
        if mark in ("/*", "*/") and (depth or mark == "/*"):
            depth += 1 if mark == "/*" else -1
            at += 2
        elif mark == "--" and not depth:
            at = next((end for end in range(at, len(text)) if text[end] in "\n\r"), len(text))
        elif depth or text[at] in "; \t\r\n\f\v":
            at += 1
        else:
            break
    return "/*" if depth else text[at:]


@pytest.mark.parametrize(
    "rest",
    ["'; x", "E'\\'; x", "E'a\\", '"; x', "$a$; $b$; $ a$", "$a$; $A$", "/* ; /* */ x;", "(; x", "((; x);"],
)
def test_what_is_not_closed_reaches_to_the_end(rest: str) -> None:
    assert pieces(f"SELECT 1; SELECT {rest}") == ["SELECT 1", f"SELECT {rest}"]


def test_a_comment_that_is_not_closed_is_left_to_the_server() -> None:
    assert pieces("/* nothing; ") == ["/* nothing; "]


def test_a_parenthesis_too_many_hides_no_semicolon() -> None:
    assert pieces("SELECT 1); SELECT (2); SELECT 3") == ["SELECT 1)", "SELECT (2)", "SELECT 3"]


@pytest.mark.parametrize("text", ["", " \n;;", "-- x;", "/* ; */;\f\v"])
def test_without_a_token_there_is_no_statement(text: str) -> None:
    assert pieces(text) == []


def test_a_no_break_space_is_part_of_a_name() -> None:
    assert pieces("SELECT\u00a0e'\\'; SELECT 2") == ["SELECT\u00a0e'\\'", "SELECT 2"]


def test_a_statement_opens_with_its_first_tokens() -> None:
    assert sqlsplit.opening("Rollback/**/To -- where\n a", 2) == "ROLLBACK TO"
