"""Fixture files: whose they are and what they say, before any container starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itest.data import fixtures, fixtures_json, fixtures_redis, fixtures_rows
from itest.data.datafile import DataFile
from itest.errors import ItestError

KINDS = {"postgres": "postgres", "redis": "redis", "shop": "http"}


def put(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def discover(root: Path, *folders: str, kinds: dict[str, str] = KINDS) -> list[fixtures.Fixture]:
    return fixtures.discover([Path(folder) for folder in folders or (".",)], root=root, kinds=kinds)


def file(text: str) -> DataFile:
    return DataFile("fixture", Path("f/a.json"), text)


def test_files_go_by_name_and_folders_in_the_given_order(tmp_path: Path) -> None:
    put(
        tmp_path, {"b/10.sql": "SELECT 1", "a/20.json": '{"t": []}', "a/10.redis.json": '{"k": "v"}', "a/README.md": ""}
    )
    found = discover(tmp_path, "b", "a")
    assert [(each.file.path.as_posix(), each.service) for each in found] == [
        ("b/10.sql", "postgres"),
        ("a/10.redis.json", "redis"),
        ("a/20.json", "postgres"),
    ]


@pytest.mark.parametrize(
    ("name", "kinds", "message"),
    [
        ("a.redsi.json", KINDS, r"a\.redsi\.json: no service redsi in this suite\nhint: did you mean `redis`\?"),
        ("a.shop.json", KINDS, "service shop is of kind http, which takes no .json file"),
        ("a.redis.sql", KINDS, "service redis is of kind redis, which takes no .sql file"),
        ("a.sql", {"redis": "redis"}, "it names no service, and this suite has 0 of kind postgres"),
        (
            "a.sql",
            {"one": "postgres", "two": "postgres"},
            r"has 2 of kind postgres\nhint: rename it to a\.<service>\.sql",
        ),
    ],
)
def test_a_file_that_belongs_to_no_store_is_refused(
    tmp_path: Path, name: str, kinds: dict[str, str], message: str
) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ItestError, match=message):
        discover(tmp_path, kinds=kinds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "users": [\n    {"id": 1,}\n  ]\n}', r"a\.json:3: bad JSON: a comma too many in column 13"),
        ("", r"a\.json:1: bad JSON: column 1: Expecting value"),
        ('{"users": [{"id": NaN}]}', 'bad JSON: NaN is no JSON; write "NaN"'),
        ("[]", r"a\.json:1: it must hold one object, not a list"),
        ('{\n"users": {"id": 1}}', r"a\.json:2: users must be a list of rows, not an object"),
        ('{"users": 3}', "users must be a list of rows, not `3`"),
        ('{"users": [\n{"id": 1},\n[1]]}', r"a\.json:3: users row 2 must be an object, not a list"),
        ('{"users": [\n{"id": 1, "id": 2}]}', r"a\.json:2: users row 1 names id twice"),
        ('{"users": [],\n"users": []}', r"a\.json:2: table users stands in it twice"),
        ("[" * 100_000, "bad JSON"),
    ],
)
def test_json_of_another_shape_is_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(ItestError, match=message) as caught:
        fixtures_json.tables(file(text))
    assert caught.value.message.startswith("fixture f/a.json")
    assert (caught.value.category, caught.value.cause) == ("data", "fixture")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=4)


WHOLES = st.dictionaries(st.text(max_size=5), ROWS, max_size=4)


@given(whole=WHOLES, indent=st.sampled_from([None, 0, 3]), escaped=st.booleans())
def test_rows_keep_text_keys_and_lines(whole: dict[str, Any], indent: int | None, escaped: bool) -> None:
    text = json.dumps(whole, indent=indent, ensure_ascii=escaped)
    tables = fixtures_json.tables(file(text))
    assert {table.name: json.loads(table.text) for table in tables} == whole
    for table in tables:
        for row in table.rows:
            assert row.keys == tuple(json.loads(row.text))
            assert row.text.split("\n")[0] in text.split("\n")[row.line - 1]


def test_a_missing_comma_is_named_at_the_end_of_the_value_before_it() -> None:
    text = '{\n  "users": [\n    {"id": 1}\n\n    {"id": 2}\n  ]\n}'
    with pytest.raises(ItestError) as caught:
        fixtures_json.parse(file(text))
    assert str(caught.value) == (
        "itest: error: fixture f/a.json:3: bad JSON: a comma or a closing bracket is missing after column 13\n"
        '  3 |     {"id": 1}\n'
        '  5 |     {"id": 2}\n'
        "hint: write it in line 3"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1,\n\n]}', ":1: bad JSON: a comma too many in column 9"),
        ('{"a": [,]}', ":1: bad JSON: a comma too many in column 8"),
        ('{"a": [{"x": 1 "y": 2}]}', ":1: bad JSON: a comma or a closing bracket is missing after column 14"),
        ("{\n// why\n}", ":2: bad JSON: column 1: Expecting property name"),
        ("{'a': []}", ":1: bad JSON: column 2: Expecting property name"),
    ],
)
def test_bad_json_names_the_line_to_mend(text: str, message: str) -> None:
    with pytest.raises(ItestError) as caught:
        fixtures_json.parse(file(text))
    assert message in caught.value.message
    assert caught.value.evidence, "the line itself is shown"


GRAPHS = st.integers(1, 9).flatmap(
    lambda n: st.fixed_dictionaries({node: st.sets(st.integers(0, n), max_size=3) for node in range(n)})
)


@given(parents=GRAPHS)
def test_groups_come_after_all_that_they_refer_to_and_cycles_stay_together(parents: dict[int, set[int]]) -> None:
    def reaches(start: int, goal: int) -> bool:
        seen: set[int] = set()
        left = [start]
        while left:
            node = left.pop()
            if node == goal:
                return True
            if node not in seen:
                seen.add(node)
                left.extend(parents.get(node, ()))
        return False

    groups = fixtures_rows.in_order(parents)
    place = {node: index for index, group in enumerate(groups) for node in group}
    assert sorted(place) == sorted(parents)
    for one in parents:
        for other in parents:
            assert (place[one] == place[other]) == (reaches(one, other) and reaches(other, one))
            if reaches(one, other):
                assert place[one] >= place[other]


def test_every_type_of_redis_becomes_commands() -> None:
    text = """{"a": "1", "n": 1.50, "s": {"string": "x", "ttl": 1.5}, "h": {"hash": {"f": 1, "g": "é"}},
               "l": {"list": ["b", 2]}, "t": {"set": ["x"]}, "z": {"zset": {"ada": 10, "bob": "-inf"}}}"""
    assert fixtures_redis.commands(file(text)) == (
        ("SET", "a", "1"),
        ("SET", "n", "1.50"),
        *(("DEL", "s"), ("SET", "s", "x"), ("PEXPIRE", "s", "1500")),
        *(("DEL", "h"), ("HSET", "h", "f", "1", "g", "é")),
        *(("DEL", "l"), ("RPUSH", "l", "b", "2")),
        *(("DEL", "t"), ("SADD", "t", "x")),
        *(("DEL", "z"), ("ZADD", "z", "10", "ada", "-inf", "bob")),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("true", "must be a string, a number or an object"),
        ("null", "must be a string, a number or an object"),
        ('{"hsah": {"a": "b"}}', r"`hsah` is no type\nhint: did you mean `hash`\?"),
        ('{"ttl": 5}', "must name one of string, hash, list, set, zset, not 0"),
        ('{"string": "a", "list": ["b"]}', "must name one of .*, not 2"),
        ('{"string": null}', "`string` may hold strings and numbers only"),
        ('{"list": []}', "Redis keeps no empty list"),
        ('{"hash": {"a": true}}', "`hash` may hold strings and numbers only"),
        ('{"hash": {"a": "1", "a": "2"}}', "`hash` names a twice"),
        ('{"zset": {"a": "high"}}', "a score must be a number, not `high`"),
        ('{"string": "a", "ttl": 0}', "`ttl` must be a positive number of seconds"),
        ('{"string": "a", "ttl": "soon"}', "`ttl` must be a number, not `soon`"),
    ],
)
def test_a_redis_value_of_another_shape_is_refused_by_key(value: str, message: str) -> None:
    with pytest.raises(ItestError, match=message) as caught:
        fixtures_redis.commands(file('{"shop:flags": ' + value + "}"))
    assert caught.value.message.startswith("fixture f/a.json: key shop:flags")


def test_a_redis_key_belongs_to_one_file(tmp_path: Path) -> None:
    put(tmp_path, {"a.redis.json": '{"k": "1"}', "b.redis.json": '{"k": "2"}'})
    with pytest.raises(ItestError, match=r"b\.redis\.json: key k is also in a\.redis\.json"):
        discover(tmp_path)
