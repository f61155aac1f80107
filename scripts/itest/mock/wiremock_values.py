"""How WireMock says what a value must look like."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from itest.mock.stubs import Value

MILLISECOND = 0.001


class Unreadable(Exception):
    """A part of a mapping that has no counterpart here; its text says which."""


def known(value: Any, what: str, names: Iterable[str] | None) -> Mapping[str, Any]:
    """The value as a mapping whose keys can be read, or may be any where names is None. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} must be an object")
    strange = [key for key in value if key not in names] if names is not None else []
    if strange:
        raise Unreadable(f"`{strange[0]}` of {what}")
    return value


def text_of(given: Mapping[str, Any], name: str) -> str:
    """A text, or "" where it isn't said. Raises Unreadable."""
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"`{name}`, which must be a text")
    return value or ""


def whole(given: Mapping[str, Any], name: str, otherwise: int, low: int, high: int) -> int:
    """A whole number from low to high. Raises Unreadable."""
    value = given.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unreadable(f"`{name}`, which must be a whole number from {low} to {high}")
    return value


def seconds(given: Mapping[str, Any], name: str) -> float:
    """Milliseconds, in seconds; 0 where they aren't said. Raises Unreadable."""
    value = given.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise Unreadable(f"`{name}`, which must be a number of milliseconds")
    return value * MILLISECOND


def value_of(pattern: Any) -> Value:
    """A pattern such as `{"equalTo": "x"}`. Raises Unreadable."""
    given = dict(known(pattern, "a pattern", None))
    ignores_case = given.pop("caseInsensitive", False)
    if len(given) != 1:
        raise Unreadable(f"a pattern with {' and '.join(map(repr, given)) or 'nothing in it'}")
    how, what = next(iter(given.items()))
    if how == "absent":
        return Value("absent" if what else "present")
    if how == "equalTo":
        return Value("regex", f"(?is:{re.escape(str(what))})") if ignores_case else Value("equals", str(what))
    if how == "contains" and not ignores_case:
        return Value("contains", str(what))
    if how in ("matches", "doesNotMatch"):
        return Value("regex", _regex(str(what) if how == "matches" else f"(?!(?:{what})\\Z)(?s:.*)"))
    raise Unreadable(f"the pattern `{how}`" + (" with `caseInsensitive`" if ignores_case else ""))


def _regex(text: str) -> str:
    """Java's expressions are mostly Python's."""
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Unreadable(f"the regular expression `{text}`: {error}") from error
    return text
