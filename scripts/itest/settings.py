"""Every setting: an `ITEST_*` variable with a default. Flags of the verbs override them; `make X=v` is `ITEST_X=v`."""

from __future__ import annotations

import difflib
import math
import os
import re
import shlex
from dataclasses import dataclass, fields
from typing import Any

from itest.errors import ItestError

PREFIX = "ITEST_"
ELSEWHERE = frozenset({"IMAGES", "DEBIAN_MIRROR", "CA_BUNDLE", "PIP_ENV"})  # settings that only images and builds read
# What a process of the toolkit tells another; the last is for its own tests.
INTERNAL = frozenset(
    {
        "LEASE",
        "OWNER",
        "STACK",
        "ANNOUNCED",
        "RUNNING",
        "UNREACHED",
        "DIED",
        "HUNG",
        "FINISHED",
        "INJECTED",
        "TRACEBACKS",
        "PIP_SETTINGS",
        "SLOW",
    }
)
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# A repository as docker names it, without a tag, and with a `/`: a mistyped word is none
# (https://pkg.go.dev/github.com/distribution/reference).
REPOSITORY = re.compile(r"[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*(?::\d+)?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+")
REPEATED = ("bake", "test_timeout", "stage_timeout", "suite_timeout", "timeout_factor", "seed")
DISCOVERY = re.compile(r".+_(HOST|PORT|URL|DSN)")  # `eval "$(make -s env)"` leaves these in a shell


@dataclass(frozen=True)
class Settings:
    """What a person may set. The comment of each is its line in scripts/README.md."""

    suite: str = ""  # suites to run, comma-separated; empty: all
    tags: str = ""  # only suites that have one of these tags, comma-separated
    jobs: int = 0  # suites side by side; 0: from cores, memory and what else runs
    keep: bool = False  # leave the stacks running after the tests
    profile: str = ""  # values from compose/profiles/<profile>.env: dev, ci, sealed
    args: str = ""  # arguments passed on to pytest, or to the verb's own command
    service: str = ""  # the service that `logs` and `shell` are about
    bake: str = "on"  # start databases from images that have it all; "" doesn't; a repository shares them
    engine: str = "auto"  # off: never install or start an engine
    test_timeout: float = 120.0  # seconds that a test may take, with its fixtures; 0: any
    stage_timeout: float = 600.0  # seconds that a stage of a suite may take; 0: any
    suite_timeout: float = 1800.0  # seconds that a suite may take from its first stage on; 0: any
    run_timeout: float = 3600.0  # seconds that a run may take; 0: any
    timeout_factor: float = 1.0  # multiplies all of these and every readiness deadline, for a slow machine
    seed: int = 0  # of the faults that come and go while tests run; 0: none, and `make chaos` makes one up
    all: bool = False  # `down` and `clean`: everything of this checkout
    peers: bool = False  # `bench` measures against servers that it fetches for this

    @property
    def chosen(self) -> dict[str, str]:
        """Those that a person has set, of all that change what a suite's tests meet: make's `X=v`."""
        chosen = {name: getattr(self, name) for name in REPEATED if getattr(self, name) != getattr(Settings, name)}
        return {
            name.upper(): f"{value:g}" if isinstance(value, float) else str(value) or "0"
            for name, value in chosen.items()
        }

    @property
    def suites(self) -> list[str]:
        return _words(self.suite)

    @property
    def tag_list(self) -> list[str]:
        return _words(self.tags)

    @property
    def bake_repository(self) -> str:
        """The repository through which bakes are shared; empty for none."""
        return self.bake if "/" in self.bake else ""

    @property
    def arguments(self) -> list[str]:
        try:
            return shlex.split(self.args)
        except ValueError as error:
            hint = """quote the whole and what holds spaces: ARGS='-k "refund or order"'"""
            raise ItestError("usage", f"ITEST_ARGS {self.args!r}: {error}", hint=hint, cause="arguments") from error


def read() -> Settings:
    """The settings of the environment.

    Raises ItestError (usage) for a value that can't be meant, and for a variable that nothing reads: mistyped, it
    would silently run something else. An empty one counts as not set.
    """
    given: dict[str, Any] = {}
    _refuse_unknown()
    for setting in fields(Settings):
        variable = f"{PREFIX}{setting.name.upper()}"
        if text := os.environ.get(variable, ""):
            given[setting.name] = parse(setting.name, text, f"{variable}={text}")
    return Settings(**given)


def parse(name: str, text: str, shown: str) -> Any:
    """The value of a setting. shown: how it was given. Raises ItestError (usage) for a value that can't be meant."""
    kind = type(getattr(Settings, name))
    if name == "bake" and REPOSITORY.fullmatch(text):
        return text
    if name == "bake" or kind is bool:
        if text.lower() not in YES + NO:
            raise _wrong(shown, "1 or 0" if kind is bool else "1, 0 or a repository like registry.example/team/bake")
        on = text.lower() in YES
        return on if kind is bool else Settings.bake * on
    if kind is str:
        if name == "engine" and text not in ("auto", "off"):
            raise _wrong(shown, "auto or off")
        return text
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not (0 <= value < math.inf) or (name == "timeout_factor" and not value):
        seconds = "a number of seconds, 0 or more," if name != "timeout_factor" else "a number above 0"
        raise _wrong(shown, "a whole number, 0 or more," if kind is int else seconds)
    return value


def _refuse_unknown() -> None:
    known = sorted(ELSEWHERE | {setting.name.upper() for setting in fields(Settings)})
    for variable, text in os.environ.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or not text or name in INTERNAL.union(known) or DISCOVERY.fullmatch(name):
            continue
        near = difflib.get_close_matches(name.upper(), known, n=1)
        meant = f"did you mean {PREFIX}{near[0]}?" if near else "scripts/README.md has the table of those there are;"
        hint = f"{meant} `unset {variable}` removes it"
        raise ItestError(
            "usage", f"unknown setting {variable}", hint=hint, cause="arguments"
        )  # its value may be secret


def _wrong(shown: str, expected: str) -> ItestError:
    return ItestError("usage", f"{shown}: {expected} is expected", cause="arguments")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
