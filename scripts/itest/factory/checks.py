"""Values that a column's CHECK constraints accept. No expression is parsed: PostgreSQL judges samples, once a column.

Candidates come from the type and from what the constraint itself mentions: its strings, patterns of LIKE, numbers and
lengths. The first kind of value whose samples all pass is how that column is filled from then on. Where none does,
values stay as they are, and the INSERT says which constraint refuses them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Connection, RawCursor
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier

from itest.factory import values
from itest.factory.catalogue import Column
from itest.factory.quiet import quiet
from itest.factory.values import Maker

if TYPE_CHECKING:
    from faker import Faker

SAMPLES = 12  # of each kind of value; every one has to pass
LITERAL = re.compile(r"'((?:[^']|'')*)'")
PATTERN = re.compile(r"~~\*? '((?:[^']|'')*)'")  # how PostgreSQL writes LIKE and ILIKE
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
LONGEST = 4096  # characters: a larger number is no length that anybody wants filled
# Codes, numbers, versions and times as people write them: ? is a letter, # a digit.
FORMS = ("????-#####", "??######", "????_?????", "+1202555####", "#.#.##", "1#:3#")
ALPHABETS = (string.ascii_uppercase, string.ascii_lowercase, string.digits, "0123456789abcdef")


@dataclass(frozen=True)
class Kind:
    """One way to fill a column, and samples of it. literal: its one value stands in the constraint, or is a label."""

    make: Maker
    samples: tuple[str, ...]
    literal: bool = False


def makers(conn: Connection[Any], fake: Faker, naturals: Mapping[Column, Maker]) -> dict[Column, Maker]:
    """For each column that has checks, given how it would be filled without: how it is filled so that they pass.

    One round trip. Draws from the random generator.
    """
    kinds = {column: list(_kinds(fake, column, natural)) for column, natural in naturals.items()}
    asked = {column: [value for kind in of for value in kind.samples] for column, of in kinds.items()}
    with quiet(conn):
        passed = _judge(conn, asked)
    chosen = dict(naturals)
    for column, of in kinds.items():
        good = [kind for kind in of if passed[column].issuperset(kind.samples)]
        literals = [value for kind in good if kind.literal for value in kind.samples]
        if good:
            chosen[column] = _one_of(fake, literals) if good[0].literal else good[0].make
    return chosen


def _judge(conn: Connection[Any], asked: Mapping[Column, Sequence[str]]) -> dict[Column, set[str]]:
    """The samples that PostgreSQL lets pass. A check that can't even be asked about lets none pass."""
    passed: dict[Column, set[str]] = {column: set() for column in asked}
    columns = list(asked)
    query = SQL(" UNION ALL ").join(_question(number, column) for number, column in enumerate(columns, start=1))
    try:
        with conn.transaction():  # a savepoint, where a test has a transaction open
            rows = RawCursor(conn, row_factory=tuple_row).execute(query, [list(asked[one]) for one in columns])
            for number, value in rows.fetchall():
                passed[columns[number - 1]].add(value)
    except (psycopg.DataError, psycopg.ProgrammingError):
        if len(columns) > 1:  # whichever it was, the others are judged without it
            return {column: _judge(conn, {column: asked[column]})[column] for column in columns}
    return passed


def _question(number: int, column: Column) -> Composed:
    """The samples of parameter $number, cast to the column's type, that meet all checks. NULL passes a CHECK, too."""
    checks = [SQL("coalesce(({})::boolean, true)").format(SQL(_over(column, one.expression))) for one in column.checks]
    return SQL("SELECT {}, v FROM (SELECT v, v::{} AS {} FROM unnest(${}::text[]) AS v) AS t WHERE {}").format(
        number, SQL(column.type.sql), Identifier(column.name), SQL(str(number)), SQL(" AND ").join(checks)
    )


def _over(column: Column, expression: str) -> str:
    """A domain's check speaks of VALUE: the same expression about the column."""
    if column.name in expression and "VALUE" not in expression:
        return expression
    quoted = '"' + column.name.replace('"', '""') + '"'
    parts = re.split(r"('(?:[^']|'')*')", expression)
    return "".join(part if part.startswith("'") else re.sub(r"\bVALUE\b", quoted, part) for part in parts)


def _kinds(fake: Faker, column: Column, natural: Maker) -> Iterator[Kind]:
    """What may fill a column, the best first."""
    text = " ".join(one.definition for one in column.checks)
    yield _kind(natural)
    if column.type.category == "N":
        yield from _intervals(fake, column, text)
    elif column.type.category == "S":
        yield from (_kind(_like(fake, pattern.replace("''", "'"))) for pattern in PATTERN.findall(text))
    for value in _literals(column, text):
        yield Kind(natural, (value,), literal=True)
    if column.type.category == "S":
        yield from map(_kind, _shapes(fake, _lengths(text), values.length(column.type)))
    elif column.type.name == "bytea":
        yield from (_kind(_bytes(fake, size)) for size in _lengths(text))


def _kind(make: Maker, *samples: str) -> Kind:
    return Kind(make, (*samples, *(make() for _ in range(SAMPLES))))


def _literals(column: Column, text: str) -> list[str]:
    """Single values that the constraints name, or all there are of a type with few."""
    if column.type.kind == "e":
        return list(column.type.labels)
    if column.type.name == "bool":
        return ["true", "false"]
    if column.type.category == "N":
        whole = column.type.name in values.INTEGERS
        return [f"{number:f}" for number in _numbers(text) if not whole or number == int(number)]
    found = [quoted.replace("''", "'") for quoted in LITERAL.findall(PATTERN.sub("", text))]
    if column.type.category == "D":
        return [value for value in found if re.fullmatch(r"\d{4}-\d\d-\d\d.*", value)]
    return found if column.type.category == "S" else []


def _one_of(fake: Faker, values: Sequence[str]) -> Maker:
    return lambda: fake.random.choice(values)


def _like(fake: Faker, pattern: str) -> Maker:
    """What fits a pattern of LIKE: any run of characters becomes a few of ours, any one character a letter."""

    def filled(part: str) -> str:
        return values.token(fake) if part == "%" else fake.random.choice("abc") if part == "_" else part

    return lambda: "".join(map(filled, re.split(r"([%_])", pattern)))


def _shapes(fake: Faker, lengths: Sequence[int], limit: int | None) -> Iterator[Maker]:
    """Codes and numbers as people use them, and plain ones of the lengths that a constraint mentions."""
    for form, letters in product(FORMS, ALPHABETS[:2]):
        yield partial(fake.bothify, form, letters)
    for size, alphabet in product(dict.fromkeys((*lengths, 12)), ALPHABETS):
        if limit is None or size <= limit:
            yield _letters(fake, alphabet, size)
    yield lambda: f"{values.token(fake)}@example.com"
    yield lambda: f"https://www.example.com/{values.token(fake)}"
    yield lambda: str(fake.uuid4())


def _letters(fake: Faker, alphabet: str, size: int) -> Maker:
    return lambda: "".join(fake.random.choices(alphabet, k=size))


def _bytes(fake: Faker, size: int) -> Maker:
    return lambda: f"\\x{fake.random.getrandbits(8 * size):0{2 * size}x}"


def _intervals(fake: Faker, column: Column, text: str) -> Iterator[Kind]:
    """Between any two numbers that a constraint mentions, with and without them, and from each up or down."""
    step, largest = values.step(column.type), values.largest(column.type)
    numbers = sorted(number for number in {Decimal(0), *_numbers(text)} if abs(number) <= largest)
    far = Decimal(values.WIDE if column.unique else 100)
    ends = [*combinations(numbers, 2)]
    ends += [(low, min(low + far, largest)) for low in numbers] + [
        (max(high - far, -largest), high) for high in numbers
    ]
    for low, high in sorted(ends, key=lambda pair: (pair[0] - pair[1], -pair[0])):  # the widest first, then upwards
        for first, last in ((low, high), (low + step, high - step)):
            if first < last:
                yield _kind(values.between(fake, column.type, first, last), f"{first:f}", f"{last:f}")


def _numbers(text: str) -> list[Decimal]:
    """Numbers that stand by themselves; PostgreSQL writes some of them as quoted ones with a cast."""
    return [Decimal(number) for number in dict.fromkeys(NUMBER.findall(text))]


def _lengths(text: str) -> list[int]:
    """Numbers that may be lengths, those inside a pattern such as {3,32} included."""
    return [size for size in dict.fromkeys(map(int, re.findall(r"\d+", text))) if 0 < size <= LONGEST]
