"""Migration files and their order, without a database."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itest.data import migrate, migrations
from itest.data.datafile import DataFile
from itest.data.migrate import Record
from itest.data.migrations import Migration
from itest.errors import ItestError

APPLIED = datetime.datetime(2024, 5, 17, 9, 30)


def folder(root: Path, *names: str, text: str = "SELECT 1") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def migration(version: int, text: str = "SELECT 1") -> Migration:
    return Migration(version, "x", DataFile("migration", Path(f"m/V{version:04d}__x.sql"), text))


def record(of: Migration) -> Record:
    return Record(of.version, of.file.path.as_posix(), of.checksum, APPLIED, 1.0)


@given(versions=st.sets(st.integers(0, 10**6), max_size=8), width=st.integers(1, 8), rolled=st.booleans())
def test_files_come_in_numeric_order_whatever_their_padding(
    tmp_path_factory: pytest.TempPathFactory, versions: set[int], width: int, rolled: bool
) -> None:
    form = "{:0{}}_step.up.sql" if rolled else "V{:0{}}__step.sql"
    root = folder(tmp_path_factory.mktemp("m"), *(form.format(version, width) for version in versions))
    assert [found.version for found in migrations.discover([Path()], root=root)] == sorted(versions)


def test_folders_merge_and_other_files_are_left_alone(tmp_path: Path) -> None:
    folder(tmp_path, "a/V0003__c.sql", "b/001_a.up.sql", "b/001_a.down.sql")
    folder(tmp_path, "b/README.md", "b/.#V9__x.sql", "b/old/x.sql")
    found = migrations.discover([Path("a"), Path("b")], root=tmp_path)
    assert [(each.version, each.name, each.file.path.as_posix()) for each in found] == [
        (1, "a", "b/001_a.up.sql"),
        (3, "c", "a/V0003__c.sql"),
    ]
    assert found[0].down is not None
    assert found[0].down.path == Path("b/001_a.down.sql")


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("users.sql", "V0001__users.sql or 001_users.up.sql"),
        ("v7__users.sql", "V0007__users.sql"),
        ("V0002_users.sql", "V0002__users.sql"),
        ("002_users.sql", "V0002__users.sql or 002_users.up.sql"),
        ("V0001__users.SQL", "V0001__users.sql"),
        ("V\u0661__users.sql", "V0001__"),  # a digit to Python, none to people who sort files
    ],
)
def test_a_name_without_a_version_is_refused_with_the_right_form(tmp_path: Path, name: str, right: str) -> None:
    with pytest.raises(ItestError, match="its name is not of the form") as caught:
        migrations.discover([Path()], root=folder(tmp_path, name))
    assert name in caught.value.message
    assert right in caught.value.hint


def test_two_files_of_one_version_are_refused_by_name(tmp_path: Path) -> None:
    folder(tmp_path, "a/V0001__x.sql", "b/1_y.up.sql")
    with pytest.raises(ItestError, match=r"migration b/1_y\.up\.sql: version 1 is also a/V0001__x\.sql"):
        migrations.discover([Path("a"), Path("b")], root=tmp_path)


def test_a_way_back_without_a_way_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ItestError, match=r"002_x\.down\.sql: takes back 002_x\.up\.sql, which is not there"):
        migrations.discover([Path()], root=folder(tmp_path, "002_x.down.sql"))


def test_a_folder_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ItestError, match="migrations nowhere: no such folder") as caught:
        migrations.discover([Path("nowhere")], root=tmp_path)
    assert caught.value.category == "usage"


@pytest.mark.parametrize(
    ("text", "transactional"),
    [
        ("-- itest: no-transaction\nVACUUM", False),
        ("-- Why it is so.\n\n--itest:no-transaction  \r\nVACUUM", False),
        ("VACUUM", True),
    ],
)
def test_a_leading_comment_takes_a_file_out_of_the_transaction(tmp_path: Path, text: str, transactional: bool) -> None:
    (found,) = migrations.discover([Path()], root=folder(tmp_path, "V1__x.sql", text=text))
    assert found.transactional is transactional


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- itest: no-transacton\nSELECT 1", r":1: unknown directive `no-transacton`"),
        ("SELECT 1;\n-- itest: no-transaction\n", r":2: `no-transaction` stands after the first statement"),
    ],
)
def test_a_directive_that_would_do_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ItestError, match=message):
        migrations.discover([Path()], root=folder(tmp_path, "V1__x.sql", text=text))


LINES = st.lists(st.text(st.characters(exclude_characters="\r\n \t\ufeff", codec="utf-8"), max_size=8))


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]), mark=st.sampled_from(["", "\ufeff"]), data=st.data())
def test_a_checksum_is_blind_to_line_ends_and_trailing_blanks_only(
    lines: list[str], end: str, mark: str, data: st.DataObject
) -> None:
    mangled = mark + "".join(line + data.draw(st.text(" \t", max_size=3)) + end for line in lines)
    assert migrations.normalised(mangled) == "\n".join(lines).rstrip("\n")
    assert migrations.normalised(migrations.normalised(mangled)) == migrations.normalised(mangled)


@given(versions=st.sets(st.integers(0, 500), min_size=1), data=st.data())
def test_pending_is_what_follows_the_newest_applied(versions: set[int], data: st.DataObject) -> None:
    everything = [migration(version) for version in sorted(versions)]
    cut = data.draw(st.integers(0, len(everything)))
    assert migrate.pending(everything, [record(each) for each in everything[:cut]]) == everything[cut:]


@given(versions=st.sets(st.integers(0, 500), min_size=2), data=st.data())
def test_a_file_before_the_newest_applied_is_out_of_order(versions: set[int], data: st.DataObject) -> None:
    everything = [migration(version) for version in sorted(versions)]
    late = data.draw(st.sampled_from(everything[:-1]))
    with pytest.raises(ItestError, match="out of order") as caught:
        migrate.pending(everything, [record(each) for each in everything if each != late])
    assert caught.value.message.startswith(f"migration {late.file.path}:")
    assert f"V{max(versions) + 1:04d}__x.sql" in caught.value.hint


def test_an_edited_file_is_named_with_the_mend() -> None:
    with pytest.raises(ItestError) as caught:
        migrate.pending([migration(1), migration(2, "SELECT 2")], [record(migration(1)), record(migration(2))])
    assert str(caught.value) == (
        "itest: error: migration m/V0002__x.sql: edited after it was applied on 2024-05-17 09:30\n"
        "hint: `make down SUITE=… && make up SUITE=…` starts from the files as they are now; "
        "in a shared database, take the edit back and write it as V0003__x.sql"
    )
    assert (caught.value.category, caught.value.cause) == ("data", "migration")


def test_a_missing_file_is_named_with_the_mend() -> None:
    with pytest.raises(ItestError) as caught:
        migrate.pending([migration(2)], [record(migration(1)), record(migration(2))])
    assert caught.value.message == "migration m/V0001__x.sql: applied on 2024-05-17 09:30, but its file is missing"
    assert caught.value.hint == (
        "`make down SUITE=… && make up SUITE=…` starts from the files as they are now; "
        "in a shared database, bring the file back"
    )


def test_a_file_may_get_a_better_name() -> None:
    renamed = Migration(1, "clearer", DataFile("migration", Path("elsewhere/V1__clearer.sql"), "SELECT 1\r\n"))
    assert migrate.pending([renamed], [record(migration(1))]) == []
