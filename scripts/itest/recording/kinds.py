"""What looks like a secret, or like somebody: by its name, and by its form.

Strict on purpose: what is no secret after all is one line of `keep:` in the rules, what is one can't be unwritten.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import unquote

from itest.verdict.mask import is_secret_key

# Names as people give them in headers, queries, forms and JSON, in small letters and with underscores.
SECRET = re.compile(
    r"(^|_)(authorization|cookie|passwords?|passwd|pwd|secrets?|tokens?|jwt|bearer|api_?key|apikey|credentials?|signature"
    r"|sig|hmac|session(_?id)?|otp|pin|passcode|private_key|nonce)$"
)
PERSONAL = re.compile(
    r"(^|_)(e?_?mail(_?address)?|phone(_?number)?|mobile|telephone|tel|fax|msisdn|card_?number|pan|cvc|cvv|cvn"
    r"|security_code|iban|bic|account_?number|routing_number|ssn|social_security(_number)?|tax_?id|passport(_number)?"
    r"|birth_?(date|day)|date_of_birth|dob|(first|last|full|given|family|middle|holder|cardholder|customer)_?name|surname"
    r"|cardholder|address(es)?|street|address_?line_?\d|line_?[12]|postal_?code|postcode|zip(_?code)?)$"
)
CARD = re.compile(r"(^|_)card_(number|no|holder|name)$")  # with the name of what it is in

EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@(?:[\w-]+\.)+[A-Za-z]{2,}")
JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
PHONE = re.compile(r"(?<![\w.])\+\d(?:[ ().-]{0,2}\d){7,14}(?!\w)")
DIGITS = re.compile(r"(?<![\w.])[2-6](?:[ -]?\d){12,18}(?![\w.])")  # as issuers begin; times in ms begin with 1
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
# Of services that mark their keys, for these may be short of entropy (github.com, and the payment provider's manuals).
MARKED = re.compile(r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abprs]-[\w-]{10,}|glpat-[\w-]{16,}"
                    r"|AIza[\w-]{30,}|(?:sk|rk|pk|whsec)_(?:(?:live|test)_)?\w{12,})")  # fmt: skip
BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}")
UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")
TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
ENTROPY = 3.5  # bits a character: words and slugs have less, hexadecimal digests and keys more
MIXED = 16  # characters in a row, letters and digits, that no word and no number is


def of_name(name: str, inside: str = "") -> bool:
    """Whether a value is masked for its name alone. inside: the name of what holds it, such as `card` of a number."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower().strip("_")
    whole = f"{re.sub(r'[^a-z0-9]+', '_', inside.lower())}_{word}"
    return bool(SECRET.search(word) or PERSONAL.search(word) or CARD.search(whole)) or is_secret_key(name)


def found(text: str) -> Iterator[tuple[str, str]]:
    """(kind, the very text) of everything that looks like a secret, such as (`card number`, `4111…`).

    Looked at is the text, and what it is without its percent signs and its base64.
    """
    yield from _plain(text)
    if (decoded := unquote(text)) != text:
        yield from _plain(decoded)
    for part in BASE64.findall(text):
        inner = _decoded(part)
        yield from ((f"{kind}, as base64", part) for kind, _ in (_plain(inner) if inner else ()))


def shape(value: str) -> str:
    """The regular expression of what differs from run to run by its nature: a UUID, a time; "" for anything else."""
    if UUID.fullmatch(value):
        return r"[0-9a-fA-F-]{36}"
    return r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-][\d:]+)?" if STAMP.fullmatch(value) else ""


def luhn(digits: str) -> bool:
    """Whether a number ends with the check digit that cards have (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(one - 9 * (one > 9) for one in doubled) % 10 == 0


def _plain(text: str) -> Iterator[tuple[str, str]]:
    forms = {"private key": PRIVATE_KEY, "JSON web token": JWT, "API key": MARKED, "credentials": BEARER}
    forms |= {"e-mail address": EMAIL, "phone number": PHONE, "IBAN": IBAN}
    for kind, form in forms.items():
        yield from ((kind, seen.group()) for seen in form.finditer(text) if kind != "IBAN" or _mod97(seen.group()))
    for seen in DIGITS.finditer(text):
        if luhn(re.sub(r"\D", "", seen.group())):
            yield "card number", seen.group()
    for seen in TOKEN.finditer(STAMP.sub(" ", UUID.sub(" ", text))):
        if _random(seen.group()):
            yield "random token", seen.group()


def _random(text: str) -> bool:
    """Whether nobody made up a text: letters and digits mixed at length, with much entropy; not a slug of words."""
    pieces = [piece for piece in re.split(r"[_/=+-]+", text) if piece]
    mixed = [piece for piece in pieces if re.search("[A-Za-z]", piece) and re.search(r"\d", piece)]
    longest = max(map(len, mixed), default=0)
    scattered = sum(map(len, mixed)) >= MIXED and bool(re.search("[A-Z]", text)) and bool(re.search("[a-z]", text))
    return (longest >= MIXED or scattered) and _entropy(text) >= ENTROPY


def _entropy(text: str) -> float:
    """Shannon's, in bits a character."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _mod97(text: str) -> bool:
    """Whether an IBAN's check digits are right (ISO 13616)."""
    plain = text.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _decoded(text: str) -> str:
    """The text that a base64 holds, "" where it holds none."""
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        inner = base64.b64decode(padded, altchars=b"-_" if re.search("[-_]", text) else None).decode()
    except (binascii.Error, ValueError):
        return ""
    return inner if inner.isprintable() else ""
