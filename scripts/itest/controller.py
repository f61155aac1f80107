"""pytest-xdist's controller: it has no tests of its own, owns the stacks that its workers start, and removes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from itest.errors import ItestError, exit_code
from itest.reach import Stacks, new_session
from itest.suite.suite import Suite

SESSION = "itest_session"  # what a worker is told beside its number


def stacks(config: pytest.Config, report: Callable[[str], None]) -> Stacks:
    """What this process reaches, be it a worker, the controller of some, or a pytest without either."""
    given = getattr(config, "workerinput", {})
    session, workers = given.get(SESSION) or new_session(), given.get("workercount", 0)
    return Stacks(config.rootpath, report, session, workers, config.getoption("keep_db", False))


@dataclass
class Controller:
    """A plugin of the process that pytest-xdist's workers belong to. stacks: of this process, which reaches none."""

    stacks: Stacks
    alive: ExitStack = field(default_factory=ExitStack)
    checked: set[str] = field(default_factory=set)  # suites

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """Before the first worker starts."""
        from itest import runs

        self.alive.enter_context(runs.alive(self.stacks.root, self.stacks.session))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker whose it is."""
        node.workerinput[SESSION] = self.stacks.session

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Refuse suites that several workers can't run side by side, once it is known which have tests."""
        if node.workerinput["workercount"] < 2 or "ITEST_STACK" in os.environ:  # a run has looked before
            return
        from itest.suite import workers

        paths = {one.partition("::")[0] for one in ids}
        suites = {one.name: one for one in map(self._suite_of, paths) if one}
        try:
            for name in suites.keys() - self.checked:
                workers.check(suites[name])
                self.checked.add(name)
        except ItestError as error:
            pytest.exit(str(error), returncode=exit_code(error.category))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """After the last worker has ended."""
        from itest import compose
        from itest.stack import slots

        files = list((self.stacks.root / slots.SLOTS).glob(f"{self.stacks.session}.*"))
        if files and not self.stacks.keep_stacks:
            for project, lease in compose.leases().items():
                if lease.partition(" ")[2] == self.stacks.session:
                    compose.remove(project)
        for file in files:
            file.unlink(missing_ok=True)
        self.alive.close()

    def _suite_of(self, path: str) -> Suite | None:
        return self.stacks.suite_of(self.stacks.root / path)
