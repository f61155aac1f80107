"""What a SQL file reveals without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from itest.data import datafile, sql
from itest.data.datafile import DataFile
from itest.errors import ItestError


def script(text: str) -> DataFile:
    return DataFile("migration", Path("m/V0001__x.sql"), text)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("CREATE TABLE a ();\nCOMMIT;\n", 2, "COMMIT"),
        ("begin;\nCREATE TABLE a ();\nend;\n", 1, "BEGIN"),
        ("SELECT 1; ROLLBACK", 1, "ROLLBACK"),
        ("SELECT 1;\n-- and now\n\n  /* really */ start transaction;", 4, "START TRANSACTION"),
        ("SELECT ';';\nabort", 2, "ABORT"),
        ("SELECT E'\\'';\nCOMMIT; --'", 2, "COMMIT"),
        ("/* /* */ ; */ SELECT $é$;$é$; -- now\nROLLBACK /* all */ WORK", 2, "ROLLBACK"),
    ],
)
def test_a_file_that_ends_its_transaction_is_refused_by_line(text: str, line: int, word: str) -> None:
    with pytest.raises(ItestError, match=f"^itest: error: migration m/V0001__x.sql:{line}: {word} in a file") as caught:
        sql.refuse(script(text), "remove it")
    assert caught.value.category == "data"
    assert caught.value.hint == "remove it"


@pytest.mark.parametrize(
    "text",
    [
        "-- COMMIT;\nSELECT 1",
        "SELECT '\nCOMMIT;'",
        "/* ;\nCOMMIT; */ SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$\nBEGIN\nRETURN 1;\nEND;\n$f$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC\nSELECT 1;\nEND;",
        "CREATE TEMP TABLE a () ON\nCOMMIT DROP",
        "SAVEPOINT a; ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT a; RELEASE a",
        "PREPARE p AS SELECT 1; SELECT 1 AS commit",
        'SELECT 1 AS ";\nCOMMIT"',
    ],
)
def test_words_of_transactions_elsewhere_are_no_reason(text: str) -> None:
    assert sql.refuse(script(text), "") is None  # or it would have raised


@pytest.mark.parametrize("text", ["", " \n\t", "-- TODO\n", "/* nothing\n yet */\n;\n;"])
def test_a_file_without_a_statement_is_refused(text: str) -> None:
    with pytest.raises(ItestError, match=r"m/V0001__x\.sql: empty"):
        sql.refuse(script(text), "")


@pytest.mark.parametrize(
    ("raw", "message", "hint"),
    [
        (b"SELECT 1;\n-- caf\xe9", r"V0001__x\.sql:2: not UTF-8 text \(byte 0xe9\)", "iconv -f latin1"),
        ("SELECT 1".encode("utf-16"), r"V0001__x\.sql:1: not UTF-8 text", "iconv -f utf-16"),
        (b"SELECT 1\0", "not UTF-8 text", "iconv"),
    ],
)
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, raw: bytes, message: str, hint: str) -> None:
    (tmp_path / "V0001__x.sql").write_bytes(raw)
    with pytest.raises(ItestError, match=message) as caught:
        datafile.read("migration", Path("V0001__x.sql"), root=tmp_path)
    assert caught.value.hint.startswith(hint)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_bytes(b"\xef\xbb\xbfSELECT 1")
    assert datafile.read("fixture", Path("a.sql"), root=tmp_path).text == "SELECT 1"


def test_a_link_out_of_the_repository_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (tmp_path / "secret.sql").write_text("SELECT 1")
    (root / "a.sql").symlink_to(tmp_path / "secret.sql")
    with pytest.raises(ItestError, match=r"fixture a\.sql: a link that leads out of the repository"):
        datafile.read("fixture", Path("a.sql"), root=root)


def test_a_link_inside_the_repository_is_followed(tmp_path: Path) -> None:
    (tmp_path / "one.sql").write_text("SELECT 1")
    (tmp_path / "two.sql").symlink_to("one.sql")
    assert datafile.read("fixture", Path("two.sql"), root=tmp_path).text == "SELECT 1"


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "big.sql").open("wb") as big:
        big.truncate(datafile.SIZE_LIMIT + 1)
    with pytest.raises(ItestError, match=r"big\.sql: 16 MiB, more than the limit of 16 MiB"):
        datafile.read("fixture", Path("big.sql"), root=tmp_path)
