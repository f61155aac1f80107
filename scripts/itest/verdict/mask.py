"""Take secrets out of everything that a run keeps or prints: logs, reports, resolved compose files.

By value, in every notation in which a log may hold them; by key in a compose file, where a value may be too plain
to be looked for: the development password "itest" must not turn every mention of itest into stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from itest.verdict import atomic
from itest.verdict.notations import lines, notations

STARS = "***"
_STARS = STARS.encode()

_MIN_WORD = 4  # of a plain secret that is looked for as a word of a command
_SEEN = 4  # characters of a secret that was cut, from which on it counts as seen
_MIN_LENGTH = 8
_MIN_DISTINCT = 5
_PLAIN_LENGTH = 16  # from here on even one class of characters cannot be a word of the log by chance

_CUT = re.compile(rb"(\.\.\.|\xe2\x80\xa6)")  # "..." or "…", where pytest or a terminal has left something out
_SECRET_KEY = re.compile(  # DB_PASSWORD, spring.datasource.password, clientSecret
    r"(?:^|[_.-]|(?<=[a-z0-9])(?=[A-Z]))(?i:(?:PG)?(?:password|passwd|pass|secret|token|key|credentials|auth))$"
)
_ASSIGNMENT = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)  # an entry of an environment that is a list
URL_PASSWORD = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{,30}://[^\s:/@?#]*:)([^\s/?#]+)(?=@)")
_DSN_PASSWORD = re.compile(r"(?i)((?<!\w)\w*password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'&;]+)")
# After a colon only where the name is a variable's or plainly a password's: a service may be called `auth`.
_ASSIGNED = re.compile(
    r"((?<![\w.-])([\w.-]+)\\?[\"']?\s*(?:=|(?:(?<=[A-Z_]{2})|(?<=(?i:password))|(?<=(?i:secret)))\\?[\"']?:)\s*\\?[\"']?)"
    r"(?!\*)(?:(?<=\")[^\"\\\n]+|(?<=')[^'\\\n]+|[^\s,;&}\"'\\]+)"
)
COMMANDS = frozenset({"command", "entrypoint", "test"})  # where a secret has no key of its own: --requirepass x
_OPTION = r"-{1,2}[\w-]*(?:pass(?:word|wd)?|secret|token|credentials|auth|(?:api|access|secret|private|signing)-?key)"
_OPTION_NAME = re.compile(rf"(?i){_OPTION}|requirepass|masterauth")
# In a shell's words: `--token=x`, `redis-cli -a x`, Redis' own settings. What begins with `$` is read when it runs.
OPTION = re.compile(
    rf"(?i)((?:(?<!\S){_OPTION}(?:=|\s+)|\b(?:requirepass|masterauth)\s+|\bredis-cli\s(?:[^|;&\n]{{,99}}\s)?-a\s*))"
    r"""(?![$-])("[^"$]*"|'[^']*'|[^\s"'&;|]+)"""
)


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
        self._secrets: set[str] = set()
        self.learn(secrets)

    def learn(self, *secrets: Iterable[str]) -> None:
        """Look for these, too. Before any thread masks with it."""
        told = {one for secret in set().union(*secrets) for one in (secret, *lines(secret)) if is_distinct(one)}
        self._secrets |= told
        forms = {form for secret in self._secrets for form in notations(secret)}
        # Longest first: of two that begin alike, the shorter would leave the other's tail.
        self._forms = sorted((form.encode() for form in forms), key=lambda form: (-len(form), form))

    def text(self, text: str) -> str:
        """The text with stars in place of every secret."""
        given = text.encode("utf-8", "surrogatepass")
        masked = self.raw(given)
        return masked.decode("utf-8", "surrogatepass") if masked != given else text

    def raw(self, text: bytes) -> bytes:
        """The same for text in any encoding."""
        if present := [form for form in self._forms if form in text]:
            text = re.sub(b"|".join(map(re.escape, present)), _STARS, text)
        return self._uncut(text) if _CUT.search(text) else text

    def may_end_in_a_part(self, text: bytes) -> bool:
        """Whether the end of a text may be the beginning of a secret, or a secret that goes on."""
        return any(_begun(text, form) for form in self._forms)

    def mask_file(self, path: Path) -> None:
        """Mask a file in place, whatever its encoding; one without secrets is only read. Raises OSError."""
        content = path.read_bytes()
        if (masked := self.raw(content)) != content:
            mode = path.stat().st_mode
            atomic.write(path, masked)
            path.chmod(mode)

    def _uncut(self, text: bytes) -> bytes:
        """Where somebody has shortened, what is left of a secret before and after the dots goes too."""
        begun = [form for form in self._forms if form[:_SEEN] in text]
        ended = [form for form in self._forms if form[-_SEEN:] in text]
        if not begun and not ended:
            return text
        parts = _CUT.split(text)  # texts, and between them the dots
        for index in range(0, len(parts) - 1, 2):
            if (seen := max((_begun(parts[index], form) for form in begun), default=0)) >= _SEEN:
                parts[index] = parts[index][:-seen] + _STARS
            if (seen := max((_ended(parts[index + 2], form) for form in ended), default=0)) >= _SEEN:
                parts[index + 2] = _STARS + parts[index + 2][seen:]
        return b"".join(parts)

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of a resolved compose configuration without secrets: by key, in URLs, in commands and by value."""
        plain = _words(secrets_of(config))
        return {key: self._value(key, value, plain) for key, value in config.items()}

    def _value(self, key: str, value: Any, plain: re.Pattern[str] | None) -> Any:
        if isinstance(value, Mapping):
            return {name: self._value(str(name), item, plain) for name, item in value.items()}
        if isinstance(value, list):
            before = ("", *value) if key in COMMANDS else [""] * len(value)
            return [
                STARS if is_option(option) else self._value(key, item, plain)
                for option, item in zip(before, value, strict=False)
            ]
        if is_secret_key(key) and isinstance(value, str | int | float) and value not in ("", True, False):
            return STARS
        if not isinstance(value, str):
            return value
        if (entry := _ASSIGNMENT.fullmatch(value)) and is_secret_key(entry[1]):
            return f"{entry[1]}={STARS}"
        value = mask_urls(self.text(value))
        if key not in COMMANDS:
            return value
        value = OPTION.sub(rf"\1{STARS}", value)
        return plain.sub(STARS, value) if plain else value


def is_secret_key(key: str) -> bool:
    """Whether a variable's or an option's name says that its value is a secret. A *_FILE only holds a path."""
    return bool(_SECRET_KEY.search(key))


def is_option(word: Any) -> bool:
    """Whether a word of a command says that the next one is a secret: `--requirepass`, `--api-token`."""
    return isinstance(word, str) and bool(_OPTION_NAME.fullmatch(word))


def mask_urls(text: str) -> str:
    """The text with stars for the passwords in URLs (user:x@host) and in libpq's keyword form (password=x)."""
    return _DSN_PASSWORD.sub(rf"\1{STARS}", URL_PASSWORD.sub(rf"\1{STARS}", text))


def mask_assignments(text: str) -> str:
    """The text with stars for whatever is assigned to a secret name: `TOKEN=x`, `API_KEY: x`, `"password": "x"`.

    Too strict for what a person reads first: a line `auth: running` stays, but `secret = read()` in a traceback goes.
    """
    return _ASSIGNED.sub(lambda found: f"{found[1]}{STARS}" if is_secret_key(found[2]) else found[0], text)


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


def _begun(text: bytes, form: bytes) -> int:
    """How much of `form`, from its beginning and not all of it, is the end of `text`."""
    start = max(len(text) - len(form) + 1, 0)
    while (start := text.find(form[:1], start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0


def _ended(text: bytes, form: bytes) -> int:
    """How much of `form`, to its end and not all of it, is the beginning of `text`; nothing where that is too short."""
    if len(text) < _SEEN:
        return 0
    start = 0
    while (start := form.find(text[:_SEEN], start + 1)) >= 0:
        if text.startswith(form[start:]):
            return len(form) - start
    return 0
