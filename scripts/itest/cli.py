"""What the verbs share: settings from flags over ITEST_* variables, and which stack a person means."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from itest import compose, settings, stack, suite
from itest.errors import ItestError
from itest.settings import Settings
from itest.stack.stack import Stack
from itest.suite import schema
from itest.suite.suite import Suite

ROOT = Path(__file__).resolve().parents[2]


def parse(doc: str | None, *names: str, arguments: Sequence[str] | None = None) -> Settings:
    """The settings of the environment, overridden by the flags of a verb: one flag for each of the named settings."""
    os.chdir(ROOT)  # compose resolves COMPOSE_FILE against the working folder
    given = settings.read()
    flags = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for setting in fields(Settings):
        if setting.name in names:
            flag = f"--{setting.name.replace('_', '-')}"
            default = getattr(given, setting.name)
            if isinstance(setting.default, bool):
                flags.add_argument(flag, action="store_true", default=default)
            else:
                flags.add_argument(flag, type=_parser(setting.name, flag), default=default, metavar="X")
    return replace(given, **vars(flags.parse_args(arguments)))


def one_suite(given: Settings) -> Suite:
    """The one suite that SUITE names. Raises ItestError (usage)."""
    names = given.suites
    if len(names) != 1:
        hint = f"SUITE=… with one of: {', '.join(suite.names(ROOT))}"
        problem = f"one suite is needed, not {len(names)}: {given.suite}" if names else "which suite?"
        raise ItestError("usage", problem, hint=hint, cause="suite")
    return suite.load(ROOT, names[0], given.profile)


def kept_stack(given: Settings) -> Stack:
    """The kept stack that a verb is about: SUITE's, or, when SUITE is not given, the only one there is.

    Raises ItestError (usage) when there is none, or more than one.
    """
    names = given.suites or suite.names(ROOT)
    found = [(one, project) for one in map(_load, names) for project in stack.kept(one)]
    if len(found) == 1:
        return stack.attach(*found[0])
    if not found:
        name = given.suite or names[0]
        problem = f"no stack of {given.suite or 'this checkout'} is running"
        raise ItestError("usage", problem, hint=f"make up SUITE={name}", cause="stack")
    hint = "SUITE=… with one of them, or `make down ALL=1`"
    problem = f"several stacks are running: {', '.join(project for _, project in found)}"
    raise ItestError("usage", problem, hint=hint, cause="stack")


def service_of(given: Settings, chosen: Stack) -> str:
    """The service that SERVICE names. Raises ItestError (usage) for one that the stack doesn't have."""
    known = chosen.suite.services
    if given.service not in known:
        problem = f"no service {given.service} in {chosen.name}" if given.service else "which service?"
        raise ItestError("usage", problem, hint=f"SERVICE=…, {schema.nearest(given.service, known)}", cause="service")
    return given.service


def become(command: Sequence[str]) -> None:
    """Replace this process by a command that owns the terminal from here on."""
    sys.stdout.flush()
    compose.scrub_environment()
    os.execvp(command[0], list(command))


def _load(name: str) -> Suite:
    return suite.load(ROOT, name)


def _parser(name: str, flag: str) -> Callable[[str], Any]:
    return lambda text: settings.parse(name, text, f"{flag} {text}")
