"""pytest-xdist's controller: it has no tests of its own, owns the stacks that its workers start, and removes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from itest.errors import ItestError, exit_code
from itest.reach import Stacks, new_session

STACKS = pytest.StashKey[Stacks]()  # of a pytest process
LAST = pytest.StashKey[bool]()  # of a test: whether none follows in its process
NEXT = pytest.StashKey[str]()  # of a test: which follows in its process, if that is of the same file

SAID = "itest_said"  # what a worker tells in the end
SESSION, ENDING = "itest_session", "itest_ending"  # what a worker is told beside its number, and what it tells


def stacks(config: pytest.Config, report: Callable[[str], None]) -> Stacks:
    """What this process reaches, be it a worker, the controller of some, or a pytest without either."""
    given = getattr(config, "workerinput", {})
    session, workers = given.get(SESSION) or new_session(), given.get("workercount", 0)
    return Stacks(config.rootpath, report, session, workers, config.getoption("keep_db", False))


def leave(config: pytest.Config, error: ItestError) -> NoReturn:
    """End the session, that of a worker's controller too, with the error's exit code; a run is told in a file."""
    from itest.verdict import atomic

    reason, code = str(error), exit_code(error.category)
    if hasattr(config, "workeroutput"):
        config.workeroutput[ENDING] = (reason, code)
    if note := os.environ.get("ITEST_UNREACHED"):
        words = {name: getattr(error, name) for name in ("category", "message", "hint", "cause", "evidence")}
        atomic.write(Path(note), json.dumps(words))
    pytest.exit(reason, code)


def tell(config: pytest.Config, notes: list[str]) -> None:
    """Show lines on the terminal, which a worker has through its controller only."""
    if hasattr(config, "workeroutput"):
        config.workeroutput[SAID] = notes
    else:
        for note in notes:
            config.stash[STACKS].report(f"itest: {note}")


@dataclass(eq=False)  # pytest needs a hash of its plugins
class Controller:
    """A plugin of the process that pytest-xdist's workers belong to. stacks: of this process."""

    stacks: Stacks
    provided: set[str] = field(default_factory=set)  # suites

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker whose it is."""
        node.workerinput[SESSION] = self.stacks.session

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Provide the stacks, once it is known which suites have tests; no worker begins before.

        Ends the session, with the error's exit code, where a stack doesn't start or workers can't share it.
        """
        if "ITEST_STACK" in os.environ:
            return  # the run has looked before, and its stack is there
        from itest.suite import workers

        paths = {one.partition("::")[0] for one in ids}
        suites = {one.name: one for path in paths if (one := self.stacks.suite_of(self.stacks.root / path))}
        try:
            for name in sorted(suites.keys() - self.provided):
                if node.workerinput["workercount"] > 1:
                    workers.check(suites[name])
                self.provided.add(name)
                self.stacks.provide(suites[name])
        except ItestError as error:
            leave(node.config, error)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """When a worker has ended: show what it says; for want of a stack, so do all."""
        said = getattr(node, "workeroutput", {})
        for note in said.get(SAID, ()):
            self.stacks.report(f"itest: {note}")
        if ending := said.get(ENDING):
            pytest.exit(*ending)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Remove what a worker that was killed has left, once all have ended."""
        if self.provided:
            from itest import compose

            for project, lease in compose.leases().items():
                if lease == f"run {self.stacks.session}":
                    compose.remove(project)
