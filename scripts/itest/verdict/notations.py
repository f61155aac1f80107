"""How logs, reports and files write a secret down."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus


def lines(secret: str) -> list[str]:
    """The lines of a key of several, which logs and reports indent; not those that only say what it is."""
    found = [line.strip() for line in secret.splitlines()]
    return [line for line in found if not line.startswith("-----")] if len(found) > 1 else []


def notations(secret: str) -> set[str]:
    """The notations of a secret: as it is, in URLs, JSON, Python, XML, compose files, quoted shell words, base64.

    And of those, what JSON and XML make of them: a report holds what Python's assertion says of it.
    """
    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    quoted |= {re.sub("%[0-9A-F]{2}", lambda code: code.group().lower(), form) for form in quoted}
    files = {secret.replace("$", "$$"), secret.replace("'", "''"), secret.replace("'", "'\"'\"'")}
    once = {secret, *quoted, *files, *_escaped(secret)}
    twice = {form for inner in once for form in (*_escaped(inner), *_xml(inner))}
    return once | twice | set(_base64(secret.encode()))


def _escaped(text: str) -> set[str]:
    """As JSON and Python write it, between the quotes; Python doubles a backslash, and escapes one kind of quotes."""
    python = repr(text)[1:-1]
    other = repr(f'"{text}')[2:-1]
    both = repr(f"'\"{text}")[4:-1]
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], python, other, both}
    return escaped | {form.replace("/", r"\/") for form in escaped}


def _xml(text: str) -> set[str]:
    attribute = html.escape(text, quote=True)
    xml = {html.escape(text, quote=False), attribute, attribute.replace("&#x27;", "&apos;")}
    return xml | {form.replace('"', "&quot;") for form in xml} | {form.replace("&#x27;", "&#39;") for form in xml}


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
