"""What stands for a secret in files: the same for the same one, wherever it is, and made of nothing of it.

Placeholders are numbered in the order in which secrets were met. Not a hash: a number can't be found in a dictionary,
needs no key that somebody would have to keep, and a second recording gives the same ones, so its diff can be read.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import quote

from itest.recording import kinds
from itest.verdict.mask import Masker, is_distinct

SHORTEST = 4  # characters of a secret that is looked for as a word of other texts
LONG_NUMBER = 8  # and digits
NEVER = r"(?!)"
LINES = r"[\s\S]+"  # anything, of several lines too


@dataclass(frozen=True)
class Secret:
    """placeholder: what is written; issued: the service said it first, so on replay a client says the placeholder;

    pattern: of what a client says otherwise.
    """

    placeholder: str
    issued: bool
    pattern: str


@dataclass
class Ledger:
    """Every secret of a recording, in memory alone. known: those of the shell and of the compose files."""

    known: frozenset[str] = frozenset()
    secrets: dict[str, Secret] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    _compiled: re.Pattern[str] | None = None
    _stars: Masker | None = None

    def learn(self, raw: str, label: str, *, issued: bool) -> None:
        """A value is one. label: what it is, as its name says; issued: the service said it."""
        if raw and raw not in self.secrets:
            self.secrets[raw] = self._made(raw, label, issued)
            self._compiled = self._stars = None

    def text(self, text: str) -> str:
        """A text with placeholders in place of the secrets in it."""
        return self.parts(text)[0]

    def parts(self, text: str) -> tuple[str, str]:
        """The same; and the regular expression of what a client says there, "" where that is the text itself."""
        masked, expression, at, varies = "", "", 0, False
        for found in self._pattern().finditer(text):
            secret, between = self.secrets[found.group()], text[at : found.start()]
            masked += between + secret.placeholder
            expression += re.escape(between) + (re.escape(secret.placeholder) if secret.issued else secret.pattern)
            varies, at = varies or not secret.issued, found.end()
        return masked + text[at:], expression + re.escape(text[at:]) if varies else ""

    def without(self, text: str) -> str:
        """A masked text without placeholders: what is to be looked at for what was missed."""
        words = sorted((secret.placeholder for secret in self.secrets.values()), key=len, reverse=True)
        known = "|".join(re.escape(word) for word in words if not word.isdigit() or len(word) >= LONG_NUMBER)
        return re.sub(known, " ", text) if known else text

    def left_in(self, text: str) -> bool:
        """Whether a secret stands in a text all the same, in any notation (base64, URL, JSON …)."""
        return self._masker.text(text) != text

    def shown(self, text: str) -> str:
        """A text for a person: secrets masked in every notation, and what else looks like one."""
        text = self._masker.text(self.text(text))
        seen = {one for _, one in kinds.found(self.without(text))}
        for one in sorted(seen, key=len, reverse=True):
            text = text.replace(one, "***").replace(quote(one, safe=""), "***")
        return text

    @property
    def _masker(self) -> Masker:
        if self._stars is None:
            self._stars = Masker({*self.known, *self.secrets})
        return self._stars

    def _pattern(self) -> re.Pattern[str]:
        """Longest first: of two that begin alike, the shorter would leave the other's tail."""
        if self._compiled is None:
            known = sorted(filter(_findable, self.secrets), key=lambda raw: (-len(raw), raw))
            words = [re.escape(raw) if is_distinct(raw) else rf"(?<!\w){re.escape(raw)}(?!\w)" for raw in known]
            self._compiled = re.compile("|".join(words) or NEVER)
        return self._compiled

    def _made(self, raw: str, label: str, issued: bool) -> Secret:
        kind = next((kind for kind, seen in kinds.found(raw) if seen == raw), "")
        name = {"e-mail address": "email", "card number": "card", "phone number": "phone"}.get(kind, label)
        self.numbers[name] += 1
        number = self.numbers[name]
        if kind == "e-mail address":
            return Secret(f"masked-{number}@example.com", issued, r"[^@\s]+@[^@\s]+")
        if kind == "card number":
            return Secret(_card(number), issued, r"[\d -]{12,23}")
        if kind == "phone number":
            return Secret(f"+1555010{number:04}", issued, r"[+\d ().-]+")
        if raw.isdigit():
            return Secret(f"{number:0{len(raw)}}", issued, r"\d+")
        return Secret(f"masked-{name}-{number}", issued, LINES if "\n" in raw else ".+")


def _findable(raw: str) -> bool:
    """Whether a secret is looked for in texts that are not masked as such: a short number may be any other number."""
    return len(raw) >= (LONG_NUMBER if raw.isdigit() else SHORTEST)


def _card(number: int) -> str:
    """A number that has the check digit of a card, and is nobody's: no issuer begins with zeros (ISO/IEC 7812-1)."""
    body = f"{number:015}"
    return next(f"{body}{digit}" for digit in range(10) if kinds.luhn(f"{body}{digit}"))
