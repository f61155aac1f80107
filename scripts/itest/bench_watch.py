"""What it costs to watch a stack and to keep its evidence: tests with and without, evidence against compose's own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from itest import images
from itest import stack as stacks
from itest import suite as suites
from itest.stack.stack import Stack
from itest.stack.watch import Watch
from itest.verdict.capsule import Given
from itest.verdict.mask import Masker
from itest.witness import Witness

SUITE = "api"  # the one with the most services


class Watched:
    """A stack that runs, its tests, and its evidence, ours and by hand. folder: where evidence goes."""

    def __init__(self, root: Path, folder: Path) -> None:
        suite = suites.load(root, SUITE)
        images.ensure(images.needs_of(suite.config), lambda _: None)
        self.stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
        self.folder = folder
        stacks.start(self.stack)

    def tests_watched(self) -> float:
        """All tests of the suite, watched as by a run."""
        with Watch() as watch, self._witness(watch).watching():
            return self.tests()

    def tests(self) -> float:
        """All tests of the suite, which nobody watches."""
        known = {"ITEST_STACK": json.dumps([SUITE, self.stack.name])}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(self.stack.suite.tests)]
        started = time.monotonic()
        subprocess.run(command, cwd=self.stack.suite.root, env=os.environ | known, check=True, capture_output=True)
        return time.monotonic() - started

    def evidence(self) -> float:
        """What a run adds for a green suite: a watch that begins and ends, a look at the containers, all logs."""
        started = time.monotonic()
        with Watch() as watch:
            self._witness(watch).blame(None)
        return time.monotonic() - started

    def by_hand(self) -> float:
        """`docker compose ps` and `logs`, as scripts do it."""
        started = time.monotonic()
        for words in (("ps", "--all"), ("logs", "--no-color", "--timestamps")):
            subprocess.run(self.stack.project.command(*words), check=True, capture_output=True)
        return time.monotonic() - started

    def _witness(self, watch: Watch) -> Witness:
        return Witness(self.stack, self.folder, watch, Masker(()), {}, Given(), (), lambda _: None)


def run(root: Path, pairs: int, measure: Callable[..., None]) -> None:
    """Measure both against doing without."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="itest-bench-")))
        watched = Watched(root, folder)
        ending.callback(watched.stack.down)
        measure("tests watched / not", watched.tests_watched, watched.tests, pairs)
        measure("evidence / compose ps, logs", watched.evidence, watched.by_hand, pairs)
