"""The values of a stub file, checked and turned into what stubs are made of; every complaint names file and line."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from itest.mock import jsonpath
from itest.mock.matching import CAPTURE
from itest.mock.replies import BREAK
from itest.mock.stubs import Delay, Value
from itest.mock.templates import TemplateError, Templates
from itest.suite.schema import choice, described, mapping, nearest, number, string, wrong
from itest.suite.yamlfile import Keys, YamlFile

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)(ms|s|m|h)")
HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
PATTERNS = ("equals", "regex", "glob", "contains", "absent")


def seconds(file: YamlFile, keys: Keys, value: Any) -> float:
    """`200ms`, `1.5s`, `2m`, in seconds."""
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        hint = "such as: 200ms, 1.5s, 2m"
        raise wrong(file, keys, f"`{named(keys)}` must be a duration with its unit, not {described(value)}", hint)
    return float(found[1]) * UNITS[found[2]]


def span(file: YamlFile, keys: Keys, value: Any) -> tuple[float, float]:
    """`[1s, 5s]`, in seconds."""
    if not isinstance(value, list) or len(value) != 2:
        raise wrong(file, keys, f"`{named(keys)}` must be a list of two durations, not {described(value)}", "[1s, 5s]")
    first, second = (seconds(file, (*keys, index), edge) for index, edge in enumerate(value))
    if first > second:
        raise wrong(file, keys, f"`{named(keys)}` ends before it begins", f"[{value[1]}, {value[0]}]")
    return first, second


def delay(file: YamlFile, keys: Keys, value: Any) -> Delay:
    """A duration, `{uniform: [a, b]}` or `{lognormal: {median: a, sigma: 0.4}}`."""
    if not isinstance(value, dict):
        return Delay("fixed", seconds(file, keys, value))
    spread = only(file, keys, value, ("uniform", "lognormal"))
    place = (*keys, spread)
    if spread == "uniform":
        return Delay("uniform", *span(file, place, value[spread]))
    given = mapping(file, place, value[spread], ("median", "sigma"))
    sigma = number(file, (*place, "sigma"), given.get("sigma"))
    return Delay("lognormal", seconds(file, (*place, "median"), given.get("median")), sigma)


def text_value(file: YamlFile, keys: Keys, value: Any) -> Value:
    """How a text must look: a plain value, which is exact, or a pattern."""
    found = any_value(file, keys, value)
    if found.how == "equals":
        if isinstance(found.what, (dict, list)) or found.what is None:
            raise wrong(file, keys, f"`{named(keys)}` must be a text or a pattern, not {described(found.what)}")
        return Value("equals", text(found.what))
    return found


def any_value(file: YamlFile, keys: Keys, value: Any) -> Value:
    """As `text_value`; a plain value may be any JSON. A mapping is a pattern where its one key is the name of one."""
    if not isinstance(value, dict):
        return Value("equals", plain(file, keys, value))
    how = only(file, keys, value, PATTERNS)
    given, place = value[how], (*keys, how)
    if how == "equals":
        return Value("equals", plain(file, place, given))
    if how == "absent":
        return Value("absent" if truth(file, place, given) else "present")
    if how == "regex":
        return Value("regex", regex(file, place, given))
    return Value("glob" if how == "glob" else "contains", string(file, place, given))


def path_value(file: YamlFile, keys: Keys, value: Any) -> Value:
    """A path: exact, with {names} in it, or a pattern."""
    pattern = text_value(file, keys, value) if isinstance(value, dict) else None
    if pattern and pattern.how != "equals":
        return pattern
    path = pattern.what if pattern else string(file, keys, value)
    if "://" in path:
        host, _, rest = path.partition("://")[2].partition("/")
        raise wrong(file, keys, f"`path: {path}` is a URL", f"host: {host}, path: /{rest.partition('?')[0]}")
    if not path.startswith("/"):
        raise wrong(file, keys, f"`path: {path}` must begin with `/`", f"path: /{path}, or {{glob: …}}")
    if pattern:
        return pattern
    if "?" in path:
        raise wrong(file, keys, f"`path: {path}` holds a query", "put it under `query:`, name by name")
    names = CAPTURE.findall(path)
    if twice := [name for name in names if names.count(name) > 1]:
        raise wrong(file, keys, f"`path: {path}` has the name `{twice[0]}` twice")
    if "{" in CAPTURE.sub("", path):
        raise wrong(file, keys, f"`path: {path}` has a brace that holds no name", "such as: /orders/{id}")
    return Value("template" if names else "equals", path)


def regex(file: YamlFile, keys: Keys, value: Any) -> str:
    """A regular expression of Python's."""
    expression = string(file, keys, value)
    try:
        re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise wrong(file, keys, f"`{expression}` is no regular expression: {error}") from error
    return expression


def json_path(file: YamlFile, keys: Keys, value: str) -> str:
    """A JSONPath that can be followed."""
    try:
        jsonpath.steps(value)
    except jsonpath.JsonPathError as error:
        raise wrong(file, keys, f"no JSONPath: {error}", "such as: $.items[0].sku") from error
    return value


def text(value: Any) -> str:
    """A scalar as it stands in a query or a header."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def headers(file: YamlFile, keys: Keys, value: Any) -> dict[str, str]:
    """Headers to send: names (RFC 9110, 5.6.2) and texts of one line. Numbers are written out."""
    if not isinstance(value, dict):
        raise wrong(file, keys, f"`{named(keys)}` must be a mapping, not {described(value)}")
    for key, one in value.items():
        place = (*keys, str(key))
        if not HEADER.fullmatch(str(key)):
            raise wrong(file, place, f"`{key}` is no name of a header", "letters, digits and dashes")
        if isinstance(one, (dict, list)) or one is None:
            raise wrong(file, place, f"`{key}` must be a text, not {described(one)}")
        if BREAK.search(text(one)):
            raise wrong(file, place, f"the header `{key}` can't be sent: it holds a line break")
    return {str(key): text(one) for key, one in value.items()}


def plain(file: YamlFile, keys: Keys, value: Any) -> Any:
    """What YAML holds, as JSON has it: dates become texts, keys are texts."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise wrong(file, (*keys, str(key)), f"the key `{key}` is no text for JSON", f'in quotes: "{key}"')
        return {key: plain(file, (*keys, key), one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(file, (*keys, index), one) for index, one in enumerate(value)]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (str, int)) or value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise wrong(file, keys, f"`{named(keys)}` can't be written as JSON: {value!r}")


def templates_in(file: YamlFile, keys: Keys, value: Any) -> None:
    """Complain about the first text in plain data that is no template."""
    templates = Templates()
    try:
        for one in _all_texts(value):
            templates.check(one)
    except TemplateError as error:
        raise wrong(file, keys, f"no template: {error}", "template: false, where braces are just braces") from error


def known(file: YamlFile, keys: Keys, value: Any, what: str, names: Iterable[str]) -> dict[str, Any]:
    """The value as a mapping whose keys are all known. what: what it is, with its article."""
    if not isinstance(value, dict):
        raise wrong(file, keys, f"{what} must be a mapping, not {described(value)}")
    names = tuple(names)
    for key in value:
        if key not in names:
            raise wrong(file, (*keys, str(key)), f"unknown key `{key}` in {what}", nearest(key, names))
    return value


def truth(file: YamlFile, keys: Keys, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(file, keys, f"`{named(keys)}` must be true or false, not {described(value)}")
    return value


def only(file: YamlFile, keys: Keys, value: Mapping[Any, Any], names: Iterable[str]) -> str:
    """The one key of a mapping, which must be a known one."""
    names = tuple(names)
    if len(value) != 1:
        raise wrong(file, keys, f"`{named(keys)}` must have exactly one key, not {len(value)}: {' or '.join(names)}")
    key = next(iter(value))
    return choice(file, (*keys, str(key)), key, names)


def named(keys: Keys) -> str:
    """The last key that is a word."""
    return next((str(key) for key in reversed(keys) if isinstance(key, str)), "stub")


def _all_texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        if isinstance(value, Mapping):
            yield from (key for key in value if isinstance(key, str))
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _all_texts(one)
