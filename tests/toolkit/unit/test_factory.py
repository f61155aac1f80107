"""Made-up values and rows, without a database."""

from __future__ import annotations

import copy
import pickle
import re
from functools import cache

import pytest
from faker import Faker
from hypothesis import given
from hypothesis import strategies as st

from itest.factory import Factory, values
from itest.factory.catalogue import Type
from itest.factory.row import Row
from itest.factory.values import shortened

TEXT = Type("text", "text", "b", "S")


@cache
def faker() -> Faker:
    return Faker(use_weighting=False)  # 15 ms


def numeric(precision: int, scale: int) -> Type:
    """As pg_attribute.atttypmod has it: both in one number, 4 added, a negative scale in 11 bits."""
    return Type("numeric", "numeric", "b", "N", (precision << 16 | scale & 0x7FF) + 4)


def made(of: Type, name: str = "x", *, table: str = "t", unique: bool = False, n: int = 50) -> list[str]:
    fake = faker()
    fake.seed_instance(1)
    make = values.natural(fake, table, name, of, unique)
    assert make
    return [make() for _ in range(n)]


# Values


def test_a_test_makes_up_the_same_values_on_every_machine() -> None:
    """A change here changes what the tests of every team make up."""
    fake = Factory(None, "tests/api/test_orders.py::test_it[a]").fake  # type: ignore[arg-type]

    assert (fake.random.randint(0, 10**6), fake.word(), fake.user_name()) == (51921, "bed", "morandenise")


def test_another_test_makes_up_others() -> None:
    words = {tuple(Factory(None, seed).fake.words(5)) for seed in ("a", "b", "c")}  # type: ignore[arg-type]

    assert len(words) == 3


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("email", r"[a-z0-9]+@example\.com"),
        ("billing_email", r"[a-z0-9]+@example\.com"),
        ("homepage_url", r"https://www\.example\.com/[a-z-]+"),
        ("phone", r"\+1202555\d{4}"),
        ("currency", r"[A-Z]{3}"),
        ("home_city", r"[A-Z].*"),
        ("flavour", r"\w+ \w+"),
    ],
)
def test_a_text_is_what_its_column_is_called(name: str, form: str) -> None:
    assert [text for text in made(TEXT, name) if not re.fullmatch(form, text)] == []


def test_a_name_is_a_person_s_where_the_table_is_of_people() -> None:
    assert all(name[0].isupper() for name in made(TEXT, "name", table="sales.customers"))
    assert not all(name[0].isupper() for name in made(TEXT, "name", table="warehouses"))


@pytest.mark.parametrize("name", ["email", "name", "title"])
@pytest.mark.parametrize("limit", [1, 5, 12, 30])
def test_a_text_fits_its_column(name: str, limit: int) -> None:
    of = Type("varchar", "character varying", "b", "S", limit + 4)

    assert all(0 < len(text) <= limit for unique in (False, True) for text in made(of, name, unique=unique))


def test_unique_texts_differ_and_keep_their_form() -> None:
    emails = made(TEXT, "email", unique=True, n=1000)

    assert len(set(emails)) == 1000
    assert all(re.fullmatch(r"[a-z0-9]+\.[a-z0-9]{7}@example\.com", email) for email in emails)


@given(text=st.text(min_size=1), limit=st.none() | st.integers(1, 50), token=st.text("abc", max_size=10))
def test_what_is_shortened_fits_and_keeps_its_token(text: str, limit: int | None, token: str) -> None:
    short = shortened(text, limit, token)

    assert limit is None or len(short) <= limit
    assert token[:limit] in short


@given(precision=st.integers(1, 30), scale=st.integers(-5, 30), unique=st.booleans())
def test_a_number_fits_its_precision(precision: int, scale: int, unique: bool) -> None:
    for text in made(numeric(precision, scale), unique=unique, n=5):
        whole, _, decimals = text.partition(".")
        assert float(text) > 0
        assert len(decimals) <= max(scale, 0)
        assert len((whole + decimals).strip("0")) <= precision
        assert float(text) < 10.0 ** (precision - scale)


@pytest.mark.parametrize(
    ("name", "later"),
    [("created_at", False), ("sent_at", False), ("pending_since", False), ("expires_at", True), ("valid_until", True)],
)
def test_what_ends_does_so_long_after_now_and_what_began_long_before(name: str, later: bool) -> None:
    years = {int(text[:4]) for text in made(Type("timestamptz", "timestamptz", "b", "D"), name)}

    assert years <= (set(range(2090, 2096)) if later else set(range(2020, 2026)))


# Rows

ROW = Row("users", {"id": 1, "email": "a@example.com", "items": [], "_table": "x"})


def test_a_row_is_read_by_attribute_and_by_item() -> None:
    assert (ROW.id, ROW["email"], ROW.items, ROW["_table"]) == (1, "a@example.com", [], "x")
    assert repr(ROW) == "users(id=1, email='a@example.com', items=[], _table='x')"


def test_rows_are_equal_by_table_and_values() -> None:
    assert Row("users", ROW._asdict()) == ROW
    assert Row("people", ROW._asdict()) != ROW
    assert Row("users", {"id": 1}) != {"id": 1}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])
def test_a_row_can_be_copied_and_sent(again) -> None:
    assert again(ROW) == ROW
