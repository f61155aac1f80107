"""The pytest plugin: stacks for the tests of a suite, and evidence where one fails. Its fixtures are in fixtures.py.

Under `make itest` the tests reach the run's own stack. Called directly (`pytest tests/api -k refund`, an IDE) they
attach to the suite's kept stack, or start one and remove it afterwards. pytest-xdist's workers share one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from itest import controller, processes
from itest.controller import LAST, NEXT, STACKS, Controller
from itest.errors import ItestError
from itest.finished import Finished
from itest.stack.stack import Stack
from itest.suite.schema import ISOLATIONS, nearest

pytest_plugins = ["itest.fixtures", "itest.faults.testing", "itest.hangs"]

HERE = Path(__file__).parent
_BEGAN = pytest.StashKey[float]()


@dataclass(eq=False)  # pytest needs a hash of its plugins
class _Running:
    """Keeps a file with the tests that run at this moment, one a line: whoever ends pytest can then name them."""

    file: Path
    nodes: list[str] = field(default_factory=list)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.nodes.append(nodeid)
        self._write()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.nodes.remove(nodeid)
        self._write()

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Of pytest-xdist: a test whose worker has died; nobody else says that it has ended, or maybe that it began."""
        if crashitem in self.nodes:
            self.pytest_runtest_logfinish(crashitem)

    def _write(self) -> None:
        self.file.write_text("\n".join(self.nodes), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "leave a copy of the database of each failed test, and the stack; KEEP=1 with make does"
    parser.getgroup("itest").addoption("--keep-db", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    strategies = ", ".join(ISOLATIONS)
    config.addinivalue_line("markers", f"isolation(strategy): another strategy than the suite's: {strategies}")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker or "ITEST_STACK" in os.environ:  # of a controller, or of a run: without them it would test nobody's stack
        processes.end_with_parent()
    config.stash[STACKS] = stacks = controller.stacks(config, _reporter(config))
    if not worker:
        config.pluginmanager.register(Controller(stacks), "itest-controller")
    running = os.environ.get("ITEST_RUNNING")
    if running and not worker:  # pytest-xdist tells its controller which tests run
        config.pluginmanager.register(_Running(Path(running)), "itest-running")
    finished = os.environ.get("ITEST_FINISHED")
    if finished and not worker:
        config.pluginmanager.register(Finished(Path(finished)), "itest-finished")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around all others, which may raise; of a controller, its workers' end
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    # Not at unconfigure: pytest-xdist waits for a worker until this is done, and may kill it afterwards.
    try:
        return (yield)
    finally:
        session.config.stash[STACKS].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse strategies that there aren't before the first test runs."""
    wrong = [(item, marker) for item in items for marker in item.iter_markers("isolation") if not _is_strategy(marker)]
    if wrong:
        item, marker = wrong[0]
        path, line, _ = item.reportinfo()
        given = ", ".join([*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items())])
        problem = f"{Path(path).relative_to(config.rootpath)}:{(line or 0) + 1}: isolation({given}): no such strategy"
        hint = nearest(str([*marker.args, *marker.kwargs.values(), ""][0]), ISOLATIONS)
        others = "\n".join(dict.fromkeys(one.nodeid for one, _ in wrong[1:]))
        controller.leave(config, ItestError("usage", problem, hint=hint, cause="isolation", evidence=others))


def _is_strategy(marker: pytest.Mark) -> bool:
    return len(marker.args) == 1 and not marker.kwargs and marker.args[0] in ISOLATIONS


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    item.stash[LAST] = nextitem is None
    item.stash[NEXT] = nextitem.nodeid if nextitem and nextitem.path == item.path else ""
    died = os.environ.get("ITEST_DIED")
    if died and Path(died).exists():  # the run has seen it before any test has
        item.session.shouldfail = Path(died).read_text(encoding="utf-8")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failed test what the services said meanwhile, so that its cause is seen where the failure is."""
    if call.when == "setup":
        item.stash[_BEGAN] = call.start
    if call.excinfo and not isinstance(call.excinfo.value, pytest.skip.Exception):
        _tell(item, call)
    report = yield
    if call.excinfo and isinstance(call.excinfo.value, ItestError) and not item.config.getoption("fulltrace"):
        report.longrepr = _in_own_code(call.excinfo, item.config.rootpath)
    return report


def _in_own_code(error: pytest.ExceptionInfo[BaseException], root: Path) -> str:
    """What an error says, and where the test led to it: no line of the toolkit or of a library mends it.

    The error comes first, as its first line is what pytest's summary and JUnit's readers show. `--full-trace`: all.
    """
    own = [entry for entry in error.traceback if _is_own(Path(entry.path), root)]
    places = [f"{Path(entry.path).relative_to(root)}:{entry.lineno + 1}: in {entry.name}" for entry in own]
    lines = [f"{place}\n    {str(entry.statement).strip()}" for place, entry in zip(places, own, strict=True)]
    return "\n".join([str(error.value), *lines])


def _is_own(path: Path, root: Path) -> bool:
    """Whether a file is of the tests, and neither the toolkit's nor a package's."""
    return path.is_relative_to(root) and not any(path.is_relative_to(one) for one in (HERE, sys.prefix))


def _tell(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    try:
        reached = item.config.stash[STACKS].look(item.path)
    except ItestError as error:
        item.add_report_section("test", "stdout of itest, which asked docker during this", f"{error}\n")
        return
    for stack in reached:
        if call.when != "teardown":
            _tell_logs(item, stack)
        _blame_dead(item, stack)
    if call.when == "call" and (item.config.getoption("keep_db") or os.environ.get("ITEST_KEEP")):
        for told in item.config.stash[STACKS].keep(item.path, item.name):
            item.add_report_section("test", "stdout of itest, how to look at the database of this", f"{told}\n")


def _tell_logs(item: pytest.Item, stack: Stack) -> None:
    from itest.stack.said import said

    others = ", and what other workers ran meanwhile" if stack.sharers() > 1 else ""
    parts = [
        f"--- service {service}, log during this{'' if service in stack.suite.per_worker else others}\n{text}\n"
        for service, text in said(stack, item.stash[_BEGAN]).items()
    ]
    if parts:  # pytest shows it as "Captured stdout of …", and its JUnit takes what begins so for the test's own output
        item.add_report_section("test", "stdout of services", "".join(parts))


def _blame_dead(item: pytest.Item, stack: Stack) -> None:
    """Mark a failure for which a service is to blame that died, and let it be the last: the others would fail alike."""
    from itest.stack import deaths

    announced = os.environ.get("ITEST_ANNOUNCED")
    halted = {(stack.project_of(service).name, service) for service in stack.halted}
    dead = deaths.found([stack], deaths.meant_by(Path(announced)) if announced else halted)
    if not dead:
        return
    error = deaths.explained(dead, deaths.DURING)
    for name, value in (("itest.category", error.category), ("itest.cause", error.cause)):
        if (name, value) not in item.user_properties:
            item.user_properties.append((name, value))
    told = error.message if item.session.shouldfail else str(error)  # in full once
    item.add_report_section("test", "stdout of itest, what is to blame for this", f"{told}\n")
    item.session.shouldfail = error.message


def _reporter(config: pytest.Config) -> Callable[[str], None]:
    def report(text: str) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if terminal and capture:
            with capture.global_and_fixture_disabled():
                terminal.ensure_newline()
                terminal.write_line(text)

    return report
