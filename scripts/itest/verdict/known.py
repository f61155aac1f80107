"""What is secret here, so that it can be masked wherever it turns up: told by names, URLs, options, and secrets' files.

Plain values are told too; a Masker looks only for those that are distinct (mask.is_distinct).
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from itest.verdict.mask import COMMANDS, OPTION, URL_PASSWORD, is_option, is_secret_key, secrets_of

_LONGEST = 64 * 1024  # bytes of a secret's file: a key ring is longer, and no log repeats it
# In a DSN, a query, a script.
_ASSIGNED = re.compile(r"(?<![\w.-])([\w.-]+)\s*[=:]\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s&;,'\"]+))")
# A token in the place of a user, as git and pip take it.
_USER_ALONE = re.compile(r"(?i)\bhttps?://([^\s:/@?#]{16,})(?::(?:x-oauth-basic)?)?@")
_HEADER = re.compile(r"(?i)\b(?:bearer|basic|token)\s+([\w.~+/=-]{8,})")


def in_variables(variables: Mapping[str, str]) -> set[str]:
    """Of an environment or an env file: values of secret names, and what the other values give away.

    A value that is the path of a file is where a secret is, not one.
    """
    named = {value for name, value in variables.items() if is_secret_key(name) and value}
    paths = {value for value in named if os.path.exists(value)}  # noqa: PTH110  # Path.exists raises for a long one
    return named - paths | {one for value in variables.values() for one in in_text(value)}


def in_text(text: str) -> Iterator[str]:
    """What a value gives away by its form: the password or token of a URL, `password=…`, `Authorization: Bearer …`."""
    for found in URL_PASSWORD.finditer(text):
        yield from {found[2], unquote(found[2])}
    for found in _USER_ALONE.finditer(text):
        yield from {found[1], unquote(found[1])}
    for found in _ASSIGNED.finditer(text):
        value = found[2] or found[3] or found[4]
        # A bare `key` is that of a mapping more often than that of a door.
        if value and not value.startswith("$") and is_secret_key(found[1]) and found[1].lower() != "key":
            yield from {value, unquote(value)}
    yield from (found[1] for found in _HEADER.finditer(text))


def in_command(command: str | Sequence[Any]) -> Iterator[str]:
    """Of a command line, as a text or in words: the values of its secret options, too."""
    words = [command] if isinstance(command, str) else [str(word) for word in command]
    for option, value in itertools.pairwise(words):
        if is_option(option) and not value.startswith(("-", "$")):
            yield value
    for word in words:
        yield from in_text(word)
    yield from (found[2].strip("'\"") for found in OPTION.finditer(" ".join(words)))


def in_config(config: Mapping[str, Any], root: Path) -> set[str]:
    """Of a resolved compose configuration: by key, in any text, in commands, in the files of its `secrets:`.

    root: what relative paths of secrets' files begin at; compose gives absolute ones.
    """
    secret = secrets_of(config) | {one for text in _texts(config) for one in in_text(text)}
    secret |= {one for command in _commands("", config) for one in in_command(command)}
    for source in (config.get("secrets") or {}).values():
        secret |= _of_source(source, root)
    return secret


def in_file(path: Path) -> set[str]:
    """A secret's file as a whole, and what it gives away by its form: as JSON, or as lines `name=value`.

    One that can't be read gives nothing: it is compose's, or the build's, to refuse. Certificates are no secret.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST).decode(errors="replace")
    except OSError:
        return set()
    if "-----BEGIN CERTIFICATE" in content and "PRIVATE KEY" not in content:
        return set()
    try:
        told = secrets_of(json.loads(content))
    except ValueError:
        told = set()
    return {content.strip(), *in_text(content), *told}


def _of_source(source: Mapping[str, Any], root: Path) -> set[str]:
    """A compose secret's."""
    if "environment" in source:
        return {os.environ.get(str(source["environment"]), "")}
    return in_file(root / source["file"]) if "file" in source else set()


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping | list):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node


def _commands(key: str, node: Any) -> Iterator[str | Sequence[Any]]:
    if key in COMMANDS and isinstance(node, str | list):
        yield node
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _commands(str(name), value)
