"""Made-up values by column name and type, from Faker, each as the text that PostgreSQL reads for that type.

They depend on the random generator alone, never on the clock, and name nobody real: addresses end with example.com
(RFC 2606), networks are those of documentation (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from itest.factory.catalogue import Type

if TYPE_CHECKING:
    from faker import Faker

Maker = Callable[[], str]

PAST, FUTURE = datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2090, 1, 1, tzinfo=timezone.utc)
SPAN = 5 * 365 * 24 * 3600  # seconds that times spread over
# A name that looks ahead, so that what expires does so after now, and what ends does so after it began.
LATER = re.compile(r"(?:^|_)(?:expir\w*|until|to|due|deadline|end(?:s|ed)?|finish\w*|clos\w*|renew\w*)(?:_|$)")

# What a text column is called: by the whole name, or by its last word.
TEXTS: dict[str, Callable[[Faker], str]] = {
    "address": lambda fake: fake.street_address(),
    "body": lambda fake: fake.paragraph(),
    "city": lambda fake: fake.city(),
    "colour": lambda fake: fake.color_name(),
    "company": lambda fake: fake.company(),
    "country": lambda fake: fake.country(),
    "currency": lambda fake: fake.currency_code(),
    "description": lambda fake: fake.sentence(),
    "first_name": lambda fake: fake.first_name(),
    "full_name": lambda fake: fake.name(),
    "iban": lambda fake: fake.iban(),
    "language": lambda fake: fake.language_code(),
    "last_name": lambda fake: fake.last_name(),
    "locale": lambda fake: fake.locale(),
    "note": lambda fake: fake.sentence(),
    "phone": lambda fake: fake.numerify("+1202555####"),  # the numbers that nobody has
    "postcode": lambda fake: fake.postcode(),
    "slug": lambda fake: fake.slug(),
    "street": lambda fake: fake.street_address(),
    "subject": lambda fake: fake.sentence(),
    "surname": lambda fake: fake.last_name(),
    "title": lambda fake: fake.sentence(nb_words=4).rstrip("."),
    "username": lambda fake: fake.user_name(),
    "zip": lambda fake: fake.postcode(),
}
TEXTS |= {"color": TEXTS["colour"], "comment": TEXTS["note"], "message": TEXTS["note"], "login": TEXTS["username"]}
PEOPLE = ("users", "customers", "people", "persons", "employees", "accounts", "authors", "members", "contacts")

INTEGERS = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1, "oid": 2**32 - 1}  # and the largest of each
WIDE = 2**31 - 1  # unique numbers are spread so far, where the type reaches so far
NUMBERS = {"year": (2000, 2024), "month": (1, 12), "day": (1, 28), "hour": (0, 23), "quantity": (1, 9)}


def natural(fake: Faker, table: str, name: str, of: Type, unique: bool) -> Maker | None:
    """What suits a column of this name and type; None where nothing is known about the type.

    unique: values are spread so widely that two hardly ever meet.
    """
    if of.kind == "e":
        return (lambda: fake.random.choice(of.labels)) if of.labels else None
    if of.category == "S":
        return _text(fake, table, name, length(of), unique)
    if of.inner:
        inner = natural(fake, table, name, of.inner, unique)
        return _array(inner) if of.category == "A" and inner else _range(fake, of)
    if of.name in INTEGERS:
        low, high = NUMBERS.get(_words(name)[-1], (1, 100))
        return between(fake, of, *((1000, min(WIDE, INTEGERS[of.name])) if unique else (low, high)))
    if of.category == "N":
        most = min(Decimal(WIDE if unique else 100), largest(of))
        return between(fake, of, step(of) if most <= 1 else max(step(of), Decimal(1)), most)
    if of.category == "D" or of.name == "interval":
        return _time(fake, name, of)
    if of.name in ("bit", "varbit"):
        return _bits(fake, of)
    return OTHERS[of.name](fake) if of.name in OTHERS else None


def length(of: Type) -> int | None:
    """How many characters a varchar(n) or char(n) holds; None for any number."""
    return of.modifier - 4 if of.name in ("varchar", "bpchar") and of.modifier >= 4 else None


def between(fake: Faker, of: Type, low: int | Decimal, high: int | Decimal) -> Maker:
    """Numbers from low to high, both included, with as many decimals as the type keeps, two where it keeps any."""
    unit = step(of)
    first, last = int(Decimal(low) / unit), int(Decimal(high) / unit)
    return lambda: f"{fake.random.randint(first, max(first, last)) * unit:f}"


def step(of: Type) -> Decimal:
    """The smallest difference between two made-up numbers of a type."""
    if of.name in INTEGERS:
        return Decimal(1)
    return Decimal(10) ** -(_scale(of) if of.modifier >= 4 else 2)


def largest(of: Type) -> Decimal:
    """The largest number of a type."""
    if of.name in INTEGERS:
        return Decimal(INTEGERS[of.name])
    if of.modifier < 4:
        return Decimal(10) ** 15
    return Decimal(10) ** (((of.modifier - 4) >> 16) - _scale(of)) - step(of)  # numeric(p, s)


def _scale(of: Type) -> int:
    """Of a numeric(p, s): the lower 11 bits of its modifier, with a sign since PostgreSQL 15."""
    return (((of.modifier - 4) & 0x7FF) ^ 1024) - 1024


def shortened(text: str, limit: int | None, token: str = "") -> str:
    """A text that fits, `token` kept whole: inside the local part of an address, else at the end."""
    local, at, domain = text.partition("@")
    tail = at + domain
    room = (limit or len(text) + len(token) + 1) - len(tail) - len(token)
    if room < 0:
        return (token or local)[:limit]
    joined = f"{local[: room - 1]}.{token}" if at else f"{local[: room - 1]}-{token}"
    return (joined if token and room > 1 else local[:room] + token) + tail


def token(fake: Faker, size: int = 7) -> str:
    """Small letters and digits that hardly ever come twice."""
    return "".join(fake.random.choices("abcdefghijkmnpqrstuvwxyz23456789", k=size))


def _words(name: str) -> list[str]:
    return name.lower().split("_")


def _text(fake: Faker, table: str, name: str, limit: int | None, unique: bool) -> Maker:
    kind = _kind_of_text(table, name)

    def make() -> str:
        return shortened(kind(fake), limit, token(fake) if unique else "")

    return make


def _kind_of_text(table: str, name: str) -> Callable[[Faker], str]:
    last = _words(name)[-1]
    if last in ("email", "mail"):
        return lambda fake: f"{fake.user_name()}@example.com"
    if last in ("url", "uri", "link", "website"):
        return lambda fake: f"https://www.example.com/{fake.slug()}"
    if name.lower() == "name" and table.rpartition(".")[2] in PEOPLE:
        return TEXTS["full_name"]
    return TEXTS.get(name.lower()) or TEXTS.get(last) or (lambda fake: " ".join(fake.words(2)))


def _time(fake: Faker, name: str, of: Type) -> Maker:
    start = FUTURE if LATER.search(name.lower()) else PAST
    forms = {"date": "%Y-%m-%d", "time": "%H:%M:%S.%f", "timetz": "%H:%M:%S.%f+00", "timestamp": "%Y-%m-%d %H:%M:%S.%f"}

    def make() -> str:
        if of.name == "interval":
            return f"{fake.random.randint(1, 30 * 24 * 3600)} seconds"
        when = start + timedelta(microseconds=fake.random.randint(0, SPAN * 10**6))
        return when.strftime(forms.get(of.name, "%Y-%m-%d %H:%M:%S.%f+00"))

    return make


def _array(inner: Maker) -> Maker:
    return lambda: "{" + ",".join(json.dumps(value) for value in (inner(), inner())) + "}"


def _range(fake: Faker, of: Type) -> Maker | None:
    """From one value up to a larger one; a multirange holds one such range."""
    bound = of.inner
    if bound is None or bound.category not in "ND":
        return None

    def make() -> str:
        if bound.category == "N":
            low = fake.random.randint(1, 2**30)
            ends = [str(low), str(low + fake.random.randint(1, 100))]
        else:
            begin = PAST + timedelta(seconds=fake.random.randint(0, SPAN))
            finish = begin + timedelta(days=fake.random.randint(1, 30))
            ends = [f'"{end:%Y-%m-%d %H:%M:%S}"' for end in (begin, finish)]
        text = f"[{ends[0]},{ends[1]})"
        return f"{{{text}}}" if of.kind == "m" else text

    return make


def _bits(fake: Faker, of: Type) -> Maker:
    size = of.modifier if of.modifier > 0 else 8 if of.name == "varbit" else 1
    return lambda: f"{fake.random.getrandbits(size):0{size}b}"


OTHERS: dict[str, Callable[[Faker], Maker]] = {
    "bool": lambda fake: lambda: fake.random.choice(("true", "false")),
    "bytea": lambda fake: lambda: f"\\x{fake.random.getrandbits(128):032x}",
    "cidr": lambda fake: lambda: f"198.51.100.{fake.random.randint(0, 255)}/32",
    "hstore": lambda fake: lambda: f"{fake.word()} => {fake.word()}",
    "inet": lambda fake: lambda: f"2001:db8::{fake.random.getrandbits(16):x}:{fake.random.getrandbits(16):x}",
    "json": lambda fake: lambda: json.dumps({fake.word(): fake.word()}),
    "jsonb": lambda fake: lambda: json.dumps({fake.word(): fake.word()}),
    "ltree": lambda fake: lambda: ".".join(fake.words(3)),
    "macaddr": lambda fake: fake.mac_address,
    "point": lambda fake: lambda: f"({fake.random.randint(-90, 90)},{fake.random.randint(-90, 90)})",
    "tsvector": lambda fake: lambda: " ".join(fake.words(3)),
    "uuid": lambda fake: lambda: str(fake.uuid4()),
    "xml": lambda fake: lambda: f"<{fake.word()}/>",
}
