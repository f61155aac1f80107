"""A suite's tests once more, with the mock passing on: nothing of it is in a file before it is masked.

So this is no run: no report, no journal, no logs of services are kept, and pytest's output stays in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from itest import pytesting
from itest.errors import ItestError
from itest.mocking.admin import Admin
from itest.reach import Stacks
from itest.recording import upstreams
from itest.recording.leaves import Exchange, exchange_of
from itest.recording.rules import Rules
from itest.stack.stack import Stack
from itest.suite.suite import Suite

PROFILE = "record"  # compose/profiles/record.env
# Nothing of a test in a file: pytest's cache holds the names of tests, its capture of file descriptors all output.
QUIET = ("-q", "--no-header", "-p", "no:cacheprovider", "--capture=sys", "--tb=short")


@dataclass(frozen=True)
class Session:
    """What came of it. output: of pytest, with secrets; green: whether every test passed."""

    exchanges: tuple[Exchange, ...]
    output: str
    green: bool


def hold(suite: Suite, rules: Rules, note: Callable[[str], None]) -> Session:
    """Start the suite's stack, run its tests against the real services, and remove it. suite: of profile `record`.

    Raises ItestError: usage for a suite without a mock, or an upstream that can't be found.
    """
    service = mock_of(suite)
    given = upstreams.resolved(rules, suite.root)
    stacks = Stacks(suite.root, note)
    (suite.root / rules.folder).mkdir(parents=True, exist_ok=True)  # a mock is led to no folder that isn't there
    try:
        stack = stacks.start(suite)
        note(f"passing on: {upstreams.told(rules.upstreams)}")
        with Admin(stack.admin(service)) as admin:
            admin.begin_passing(given)
            output, green = _tests(stack, suite)
            return Session(tuple(map(exchange_of, admin.passed())), output, green)
    finally:
        stacks.close()


def mock_of(suite: Suite) -> str:
    """The service that passes requests on. Raises ItestError (usage) unless there is one."""
    names = [name for name, service in suite.services.items() if service.kind == "mock"]
    if len(names) == 1:
        return names[0]
    problem = f"suite {suite.name}: it has {len(names) or 'no'} mock, and one is needed to record"
    hint = f"compose/layers/mock.yaml in COMPOSE_FILE of {suite.env_files[0]}"
    raise ItestError("usage", problem, hint=hint, cause="record")


def _tests(stack: Stack, suite: Suite) -> tuple[str, bool]:
    """Run them. pytest's output, and whether all passed."""
    with _nowhere() as folder:
        command = [sys.executable, "-m", "pytest", *QUIET, f"--basetemp={folder / 'tests'}", str(suite.tests)]
        done = subprocess.run(
            command,
            cwd=suite.root,
            env=pytesting.reaching(stack),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    return done.stdout, done.returncode == 0


@contextmanager
def _nowhere() -> Iterator[Path]:
    """Where tests may write what is gone afterwards: in memory where this machine has such a place."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="itest-record-", dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def problems(exchanges: Sequence[Exchange]) -> list[str]:
    """Why some requests had no answer of the real service, once each."""
    return list(dict.fromkeys(one.problem for one in exchanges if one.problem))
