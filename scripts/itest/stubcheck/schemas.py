"""Values against the schemas of an OpenAPI document. One dialect for 3.0 and 3.1: where they differ, both are taken.

jsonschema does the work; what is added is what a stub leaves open: values that a request will decide on, which fit
anything of their kind, and parts of an object that a request has to hold.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.exceptions import UnknownType, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from itest.mock.matching import shown
from itest.stubcheck.dummies import Unknown, has_unknown
from itest.stubcheck.node import Node
from itest.suite.schema import wrong
from itest.suite.yamlfile import Keys

URI = "urn:contract"
APPLICATORS = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf")  # which lead to further schemas for the same value
UNDECIDED = ("not", "if", "enum", "const", "uniqueItems", "contains")  # no answer while a part of the value is open
OF_THE_WHOLE = (
    "required",
    "minProperties",
    "minItems",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "not",
    "if",
)
Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


@dataclass(frozen=True)
class Mismatch:
    """path: the way within the value; where: `file:line` of the rule that it breaks."""

    path: Keys
    problem: str
    where: str


def mismatches(schema: Node, value: Any, *, partial: bool = False) -> Iterator[Mismatch]:
    """What is wrong with a value. partial: it is a part of an object, whose rest may be anything."""
    pointer = "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in schema.keys)
    validator = _dialect(partial)({"$ref": f"{URI}#/{pointer}"}, registry=_registry(schema), format_checker=_formats())
    try:
        for error in validator.iter_errors(value):
            found = best_match([error]) or error
            place = "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in found.absolute_path)
            problem = f"{place}: {shown(found.message)}"
            yield Mismatch(tuple(found.absolute_path), problem, _rule(schema, tuple(found.absolute_schema_path)))
    except (UnknownType, TypeError, AttributeError, re.error) as error:
        problem = f"its schema can't be used: {str(error).splitlines()[0]}"
        raise wrong(schema.file, schema.keys, problem, "JSON Schema's types, and patterns that Python reads") from error
    except Unresolvable as error:
        hint = "one file has to hold it all; tools that bundle OpenAPI documents do that"
        raise wrong(
            schema.file, schema.keys, f"its schema refers to `{error.ref}`, which is not there", hint
        ) from error


def _registry(schema: Node) -> Registry[Any]:
    empty: Registry[Any] = Registry()
    filled: Registry[Any] = empty.with_resource(URI, DRAFT202012.create_resource(schema.file.data))
    return filled


def _rule(schema: Node, path: Keys) -> str:
    """Where the rule stands that an error's path leads to; references are followed, and no part of it."""
    node = schema
    for key in path:
        node = node.get(key) or node
    return node.where


@cache
def _dialect(partial: bool) -> Any:
    """A class of validators."""
    theirs: Mapping[str, Keyword] = Draft202012Validator.VALIDATORS
    keywords = {name: _open(name, keyword) for name, keyword in theirs.items()}
    keywords |= {name: _nullable(keywords[name]) for name in ("type", "enum")}
    keywords |= {name: _exclusive(keywords[name]) for name in ("exclusiveMinimum", "exclusiveMaximum")}
    keywords["required"] = _required(keywords["required"])
    if partial:
        keywords |= dict.fromkeys(OF_THE_WHOLE, _nothing)
    return extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]


def _open(name: str, keyword: Keyword) -> Keyword:
    """A keyword that has no quarrel with what isn't known yet."""

    def check(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if name == "type" and isinstance(value, Unknown):
            types = [rule] if isinstance(rule, str) else rule
            if value.text and "string" not in types:
                yield ValidationError(f"{value!r} gives a text, not {' or '.join(types)}")
        elif isinstance(value, Unknown) and name not in APPLICATORS:
            return
        elif name not in UNDECIDED or not has_unknown(value):
            either = name == "oneOf" and has_unknown(value)
            chosen: Keyword = Draft202012Validator.VALIDATORS["anyOf"] if either else keyword
            yield from chosen(validator, rule, value, schema) or ()

    return check


def _nullable(keyword: Keyword) -> Keyword:
    """`nullable: true`, which is OpenAPI 3.0's."""

    def check(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if not (value is None and schema.get("nullable") is True):
            yield from keyword(validator, rule, value, schema) or ()

    return check


def _exclusive(keyword: Keyword) -> Keyword:
    """A limit of its own in 3.1; true or false beside `minimum` or `maximum` in 3.0."""

    def check(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(rule, bool):
            yield from keyword(validator, rule, value, schema) or ()
        elif rule and any(value == schema.get(limit) for limit in ("minimum", "maximum")):
            yield ValidationError(f"{value!r} is the limit, which is excluded")

    return check


def _required(keyword: Keyword) -> Keyword:
    """What only a request holds is not missing in a response."""

    def check(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        properties = schema.get("properties", {})
        needed = [name for name in rule if not properties.get(name, {}).get("writeOnly")]
        yield from keyword(validator, needed, value, schema) or ()

    return check


def _nothing(_validator: Any, _rule: Any, _value: Any, _schema: Any) -> None:
    """A keyword that doesn't count."""


@cache
def _formats() -> FormatChecker:
    """jsonschema's, and RFC 3339's times, for which it would want another package."""
    checker = FormatChecker()

    @checker.checks("date-time", raises=ValueError)
    def is_moment(value: object) -> bool:
        if not isinstance(value, str):
            return True
        moment = datetime.datetime.fromisoformat(value.upper().replace("Z", "+00:00"))
        return moment.tzinfo is not None and "T" in value.upper()

    return checker
