"""`{{ request.path.id }}` in answers: jinja2 in its sandbox. A mistake is shown in the answer, never swallowed.

In JSON a text that is one expression and nothing else keeps its type: `amount: "{{ request.json.amount }}"`, a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment

from itest.mock.incoming import NO_JSON, Incoming
from itest.mock.stubs import EMPTY

MOST_COMPILED = 1024
NAMES = frozenset({"request", "now", "timedelta", "uuid", "counter", "env"})  # what templates see
ALONE = re.compile(r"\s*\{\{[-+]?((?:(?!\{\{|\}\}).)+?)[-+]?\}\}\s*", re.DOTALL)  # an expression and nothing else


class TemplateError(Exception):
    """A template that can't be read, or fails on a request; its text says why."""


class Texts(Mapping[str, str]):
    """Named texts; of several with one name the first. whole: what it is as a text; any_case: names are headers'."""

    def __init__(self, pairs: Iterable[tuple[str, str]], whole: str = "", *, any_case: bool = False) -> None:
        self._named: dict[str, str] = {}
        self._whole, self._any_case = whole, any_case
        for name, text in pairs:
            self._named.setdefault(self._key(name), text)

    def __getitem__(self, name: str) -> str:
        return self._named[self._key(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __str__(self) -> str:
        return self._whole or json.dumps(self._named, ensure_ascii=False)

    def _key(self, name: str) -> str:
        return name.lower() if self._any_case else name


@dataclass(frozen=True)
class Seen:
    """`request`, as templates see it. captures: what the path's names stand for; `request.path` alone is all of it."""

    _incoming: Incoming
    _captures: Mapping[str, str]

    @property
    def method(self) -> str:
        return self._incoming.method

    @property
    def host(self) -> str:
        return self._incoming.host

    @property
    def body(self) -> str:
        return self._incoming.text

    @property
    def json(self) -> Any:
        value = self._incoming.json
        return StrictUndefined("the request's body is no JSON") if value is NO_JSON else value

    @property
    def path(self) -> Texts:
        return Texts(self._captures.items(), self._incoming.decoded_path)

    @property
    def query(self) -> Texts:
        return Texts(self._incoming.query)

    @property
    def headers(self) -> Texts:
        return Texts(self._incoming.headers, any_case=True)

    @property
    def form(self) -> Texts:
        return Texts(self._incoming.form)


class Now(datetime):
    """The present, written as JSON has it. Arithmetic with `timedelta` gives another."""

    def __str__(self) -> str:
        return self.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Jinja(SandboxedEnvironment):
    """`request.json.items` is the field of that name, not a dictionary's method."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class Templates:
    """Renders texts and JSON. environ: what `env` holds; nothing of the process's own gets in by itself."""

    def __init__(self, environ: Mapping[str, str] = EMPTY) -> None:
        self._environ = environ
        self._jinja = _Jinja(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_written)
        self._template = lru_cache(MOST_COMPILED)(self._jinja.from_string)
        compiled = partial(self._jinja.compile_expression, undefined_to_none=False)
        self._expression = lru_cache(MOST_COMPILED)(compiled)

    def context(self, incoming: Incoming, captures: Mapping[str, str], counter: int, now: float) -> dict[str, Any]:
        """What templates see. `uuid` is one for the whole answer, so that a header can repeat what the body says."""
        stamp = Now.fromtimestamp(now, timezone.utc)
        rest = {"uuid": str(uuid4()), "counter": counter, "env": self._environ, "timedelta": timedelta}
        return {"request": Seen(incoming, captures), "now": stamp} | rest

    def text(self, text: str, context: Mapping[str, Any]) -> str:
        """A text with its templates filled in. Raises TemplateError."""
        if "{" not in text:
            return text
        try:
            return self._template(text).render(context)
        except Exception as error:  # an expression may raise whatever Python raises
            raise TemplateError(f"`{text}`: {error}") from error

    def data(self, value: Any, context: Mapping[str, Any]) -> Any:
        """Plain data with the templates in its texts filled in, also those in keys. Raises TemplateError."""
        if isinstance(value, str):
            return self._value(value, context) if "{" in value else value
        if isinstance(value, Mapping):
            return {self.text(key, context): self.data(one, context) for key, one in value.items()}
        return [self.data(one, context) for one in value] if isinstance(value, list) else value

    def check(self, text: str) -> None:
        """Raises TemplateError where a text is no template that can be read, or has a name that none knows."""
        try:
            self._jinja.from_string(text)
            names = meta.find_undeclared_variables(self._jinja.parse(text))
        except TemplateSyntaxError as error:
            raise TemplateError(f"`{text}`: {error}") from error
        if unknown := sorted(names - NAMES - self._jinja.globals.keys()):
            raise TemplateError(f"`{text}`: there is no `{unknown[0]}`; known: {', '.join(sorted(NAMES))}")

    def _value(self, text: str, context: Mapping[str, Any]) -> Any:
        alone = ALONE.fullmatch(text)
        if not alone:
            return self.text(text, context)
        try:
            return json.loads(json.dumps(self._expression(alone[1])(**context), default=str))
        except Exception as error:  # as above
            raise TemplateError(f"`{text}`: {error}") from error


def _written(value: Any) -> Any:
    """Within a text, what has no text of its own is written as JSON."""
    return json.dumps(value, ensure_ascii=False) if value is None or type(value) in (bool, list, dict) else value
