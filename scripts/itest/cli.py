"""What the verbs share: settings from flags over ITEST_* variables, and which stack a person means."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from itest import compose, settings, stack, suite
from itest.errors import ItestError
from itest.settings import Settings
from itest.stack import keeping
from itest.stack.stack import Stack
from itest.stack.sweep import sweep
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
    """The kept stack that a verb is about: the one that SUITE names, or, when SUITE is not given, the one there is.

    Of several, the one that `make up` started. Raises ItestError (usage) when there is none, or no telling which.
    """
    found = kept(given)
    by_hand = [(one, project) for one, project in found if project == one.kept_name]
    chosen = stack.attach(*_only(given, found if len(by_hand) != 1 else by_hand))
    keeping.renew(chosen)
    return chosen


def kept_stacks(given: Settings) -> list[Stack]:
    """Every kept stack that SUITE names; all of this checkout when SUITE is not given."""
    return [stack.attach(*one) for one in kept(given)]


def stacks_to_remove(given: Settings) -> list[Stack]:
    """What `down` is about: every kept stack that SUITE names, all with ALL=1, else the only one there is.

    None where nothing runs, as compose's own `down` has it. Raises ItestError (usage) when, with neither SUITE nor ALL,
    there are several: it won't guess.
    """
    found = kept(given)
    if given.all or given.suite or not found:
        return [stack.attach(*one) for one in found]
    return [stack.attach(*_only(given, found))]


def suites_to_remove(given: Settings) -> list[Suite]:
    """The suites whose remains `down` removes: those that SUITE names, all with ALL=1; volumes are not for a guess."""
    names = suite.names(ROOT)
    return [_load(name) for name in names if given.all or name in given.suites]


def kept(given: Settings) -> list[tuple[Suite, str]]:
    """Suite and project of every kept stack that SUITE names, by suite (`api`) or by project (`itest-api-…`)."""
    sweep(ROOT, note)
    names, wanted = suite.names(ROOT), set(given.suites)
    suites = given.suites if wanted <= set(names) else names  # whose a project is, only its suite's files tell
    running = {project: one for one in map(_load, suites or names) for project in stack.kept(one)}
    for name in wanted.difference(names, running):
        hint = f"SUITE=…, {schema.nearest(name, [*names, *running])}"
        raise ItestError("usage", f"no suite and no kept stack is called {name}", hint=hint, cause="suite")
    return [(one, project) for project, one in running.items() if not wanted or wanted & {one.name, project}]


def note(text: str) -> None:
    """Tell a person something that is not what the verb was asked for: on stderr, which `make -s env` doesn't eval."""
    print(f"itest: {text}", file=sys.stderr, flush=True)


def _only(given: Settings, found: Sequence[tuple[Suite, str]]) -> tuple[Suite, str]:
    if len(found) == 1:
        return found[0]
    projects = [project for _, project in found]
    if found:
        problem = f"several stacks are running: {', '.join(projects)}"
        raise ItestError("usage", problem, hint=f"SUITE={projects[0]}, or `make down ALL=1`", cause="stack")
    name = given.suite or suite.names(ROOT)[0]
    problem = f"no stack of {given.suite or 'this checkout'} is running"
    raise ItestError("usage", problem, hint=f"make up SUITE={name}", cause="stack")


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


def pass_on(command: Sequence[str], *, without: bytes) -> int:
    """Run a command and print what it prints, as it comes, without some bytes. Returns its exit code."""
    compose.scrub_environment()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `make logs | head` ends in silence
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            sys.stdout.buffer.write(line.replace(without, b""))
            sys.stdout.buffer.flush()
    return process.returncode


def _load(name: str) -> Suite:
    return suite.load(ROOT, name)


def _parser(name: str, flag: str) -> Callable[[str], Any]:
    return lambda text: settings.parse(name, text, f"{flag} {text}")
