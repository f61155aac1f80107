"""Take secrets out of everything that a run keeps or prints: logs, reports, resolved compose files.

By value, in every notation in which a log may hold them; by key in a compose file, where a value may be too plain
to be looked for: the development password "itest" must not turn every mention of itest into stars.
"""

from __future__ import annotations

import base64
import html
import json
import mmap
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

STARS = "***"

_MIN_WORD = 4  # of a plain secret that is looked for as a word of a command
_MIN_LENGTH = 8
_MIN_DISTINCT = 5
_PLAIN_LENGTH = 16  # from here on even one class of characters cannot be a word of the log by chance

_SECRET_KEY = re.compile(r"(?i)(?:^|_|-)(?:PG)?(?:password|passwd|pass|secret|token|key|credentials|auth)$")
_ASSIGNMENT = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)  # an entry of an environment that is a list
_URL_PASSWORD = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@?#]*:)([^\s/?#]+)(?=@)")
_DSN_PASSWORD = re.compile(r"(?i)(\w*password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'&;]+)")
_COMMANDS = frozenset({"command", "entrypoint", "test"})  # where a secret has no key of its own: --requirepass x


def is_distinct(secret: str) -> bool:
    """Whether a secret is unlike any word, so that it can be looked for by its value.

    At least 8 characters, 5 of them different, and either 16 long or of two classes (letters, digits, others):
    every generated one is; "itest", "postgres" and "aaaaaaaa1" are not.
    """
    classes = {"letter" if char.isalpha() else "digit" if char.isdigit() else "other" for char in secret}
    varied = len(classes) > 1 or len(secret) >= _PLAIN_LENGTH
    return len(secret) >= _MIN_LENGTH and len(set(secret)) >= _MIN_DISTINCT and varied


class Masker:
    """Replaces secrets by stars wherever they stand. Those that are not distinct (see is_distinct) are left alone."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if is_distinct(secret) for form in _forms(secret)}
        # Longest first: of two that begin alike, the shorter would leave the other's tail.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._bytes = [form.encode() for form in self._forms]

    def text(self, text: str) -> str:
        """The text with stars in place of every secret."""
        present = [form for form in self._forms if form in text]
        return re.sub("|".join(map(re.escape, present)), STARS, text) if present else text

    def mask_file(self, path: Path) -> None:
        """Mask a file in place, whatever its encoding and size; one without secrets is only read. Raises OSError."""
        if not self._forms or not path.stat().st_size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            present = [form for form in self._bytes if content.find(form) >= 0]
            if present:
                _rewrite(path, content, re.compile(b"|".join(map(re.escape, present))))

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of a resolved compose configuration without secrets: by key, in URLs, in commands and by value."""
        plain = _words(secrets_of(config))
        return {key: self._value(key, value, plain) for key, value in config.items()}

    def _value(self, key: str, value: Any, plain: re.Pattern[str] | None) -> Any:
        if isinstance(value, Mapping):
            return {name: self._value(str(name), item, plain) for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(key, item, plain) for item in value]
        if is_secret_key(key) and isinstance(value, str | int | float) and value not in ("", True, False):
            return STARS
        if not isinstance(value, str):
            return value
        if (entry := _ASSIGNMENT.fullmatch(value)) and is_secret_key(entry[1]):
            return f"{entry[1]}={STARS}"
        value = mask_urls(self.text(value))
        return plain.sub(STARS, value) if plain and key in _COMMANDS else value


def is_secret_key(key: str) -> bool:
    """Whether a variable's or an option's name says that its value is a secret. A *_FILE only holds a path."""
    return bool(_SECRET_KEY.search(key))


def mask_urls(text: str) -> str:
    """The text with stars for the passwords in URLs (user:x@host) and in libpq's keyword form (password=x)."""
    return _DSN_PASSWORD.sub(rf"\1{STARS}", _URL_PASSWORD.sub(rf"\1{STARS}", text))


def secrets_of(config: Any) -> set[str]:
    """The values of a compose configuration whose keys say that they are secret, plain ones included."""
    return {str(value) for key, value in _pairs(config) if is_secret_key(key) and value not in (None, "", True, False)}


def _pairs(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, Mapping | list):
                yield from _pairs(value)
            else:
                yield str(key), value
    elif isinstance(node, list):
        for item in node:
            if isinstance(item, str) and (entry := _ASSIGNMENT.fullmatch(item)):
                yield entry[1], entry[2]
            else:
                yield from _pairs(item)


def _words(secrets: Iterable[str]) -> re.Pattern[str] | None:
    words = sorted((secret for secret in secrets if len(secret) >= _MIN_WORD), key=len, reverse=True)
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, words))})(?![\w./-])") if words else None


def _rewrite(path: Path, content: mmap.mmap, pattern: re.Pattern[bytes]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            end = 0
            for match in pattern.finditer(content):
                out.write(content[end : match.start()])
                out.write(STARS.encode())
                end = match.end()
            out.write(content[end:])
        shutil.copymode(path, part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _forms(secret: str) -> set[str]:
    """The notations of a secret: as it is, in URLs, JSON, Python, XML, compose files, quoted shell words, base64."""
    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    attribute = html.escape(secret, quote=True)
    xml = {html.escape(secret, quote=False), attribute, attribute.replace("&#x27;", "&apos;")}
    files = {secret.replace("$", "$$"), secret.replace("'", "''"), secret.replace("'", "'\"'\"'")}
    lower = {re.sub("%[0-9A-F]{2}", lambda code: code.group().lower(), form) for form in quoted}
    slashes = {form.replace("/", r"\/") for form in escaped}
    xml |= {form.replace('"', "&quot;") for form in xml} | {form.replace("&#x27;", "&#39;") for form in xml}
    return {secret} | quoted | lower | escaped | slashes | xml | files | set(_base64(secret.encode()))


def _base64(secret: bytes) -> Iterator[str]:
    """The characters that the secret alone determines, at each of the three places where it can start in a group.

    So `Authorization: Basic` (user:secret) is found for users of any length. RFC 4648: 3 bytes are 4 characters.
    """
    for shift in range(3):
        bits = 8 * (shift + len(secret))
        whole = slice(-(-8 * shift // 6), bits // 6)
        encoded = bytes(shift) + secret
        yield base64.b64encode(encoded).decode()[whole]
        yield base64.urlsafe_b64encode(encoded).decode()[whole]
