"""A response's templates before any request: their value where that depends on none, else unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, meta

from itest.mock.incoming import Incoming
from itest.mock.templates import ALONE, Templates

MARKS = ("{{", "{%", "{#")
WITHOUT_REQUEST = {"now", "uuid", "counter", "timedelta"}
# Of a request these are texts, whatever it says.
TEXT = re.compile(r"request\.(?:(?:path|query|headers|form)(?:\.\w+|\[[^]]+\])|path|method|host|body)")


@dataclass(frozen=True)
class Unknown:
    """A value that a request will decide on. text: whether it is a string at any rate; template: as it is written."""

    template: str
    text: bool

    def __repr__(self) -> str:
        return f"`{self.template}`"


def is_template(text: str) -> bool:
    return any(mark in text for mark in MARKS)


def filled(value: Any) -> Any:
    """Plain data with every template in it replaced. An object whose keys have templates is unknown as a whole."""
    if isinstance(value, str):
        return _filled(value) if is_template(value) else value
    if isinstance(value, Mapping):
        if keys := [key for key in value if is_template(key)]:
            return Unknown(keys[0], False)
        return {key: filled(one) for key, one in value.items()}
    return [filled(one) for one in value] if isinstance(value, list) else value


def has_unknown(value: Any) -> bool:
    """Whether anything in a value is unknown."""
    if isinstance(value, (Mapping, list)):
        return any(has_unknown(one) for one in (value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, Unknown)


def _filled(text: str) -> Any:
    names = meta.find_undeclared_variables(Environment().parse(text))
    if names <= WITHOUT_REQUEST:
        templates = Templates()
        return templates.data(text, templates.context(Incoming.of("GET", "/"), {}, 1, 0.0))
    alone = ALONE.fullmatch(text)
    return Unknown(text, alone is None or TEXT.fullmatch(alone[1].strip()) is not None)
