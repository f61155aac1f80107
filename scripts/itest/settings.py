"""Every setting: an `ITEST_*` variable with a default. Flags of the verbs override them; `make X=v` is `ITEST_X=v`."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, fields
from typing import Any

from itest.errors import ItestError


@dataclass(frozen=True)
class Settings:
    """What a person may set. The comment of each is its line in scripts/README.md."""

    suite: str = ""  # suites to run, comma-separated; empty: all
    tags: str = ""  # only suites that have one of these tags, comma-separated
    jobs: int = 0  # suites side by side; 0: from cores, memory and what else runs
    keep: bool = False  # leave the stacks running after the tests
    profile: str = ""  # values from compose/profiles/<profile>.env: dev, ci
    args: str = ""  # arguments passed on to pytest, or to the verb's own command
    service: str = ""  # the service that `logs` and `shell` are about
    engine: str = "auto"  # off: never install or start an engine
    timeout_factor: float = 1.0  # multiplies every readiness deadline, for a slow machine
    all: bool = False  # `down` and `clean`: everything of this checkout

    @property
    def suites(self) -> list[str]:
        return _words(self.suite)

    @property
    def tag_list(self) -> list[str]:
        return _words(self.tags)

    @property
    def arguments(self) -> list[str]:
        try:
            return shlex.split(self.args)
        except ValueError as error:
            hint = """quote the whole and what holds spaces: ARGS='-k "refund or order"'"""
            raise ItestError("usage", f"ITEST_ARGS {self.args!r}: {error}", hint=hint, cause="arguments") from error


def read() -> Settings:
    """The settings of the environment. Raises ItestError (usage) for a value of the wrong type."""
    given: dict[str, Any] = {}
    for setting in fields(Settings):
        text = os.environ.get(f"ITEST_{setting.name.upper()}", "")
        if text:
            given[setting.name] = _parse(setting.name, text, type(setting.default))
    return Settings(**given)


def _parse(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("0", "1", "true", "false", "yes", "no", "on", "off"):
            raise _wrong(name, text, "1 or 0")
        return text.lower() in ("1", "true", "yes", "on")
    if kind is str:
        return text
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if value < 0:
        raise _wrong(name, text, "a positive number")
    return value


def _wrong(name: str, text: str, expected: str) -> ItestError:
    return ItestError("usage", f"ITEST_{name.upper()}={text}: {expected} is expected", cause="arguments")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
