"""Which stack a pytest process reaches: the run's own, a kept one, or one that it starts and removes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from itest.errors import ItestError
from itest.stack.stack import Stack
from itest.suite.suite import Suite

if TYPE_CHECKING:
    from itest.isolation import Isolation


@dataclass
class Stacks:
    """The stacks that this pytest process reaches, by suite; those that it started go when it closes."""

    root: Path
    worker: str  # "" without pytest-xdist
    report: Callable[[str], None]
    open: dict[str, tuple[Stack, Isolation]] = field(default_factory=dict)
    suites: dict[str, Suite] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)  # all that this process started

    def suite_of(self, path: Path) -> Suite | None:
        """The suite whose tests folder holds a file; None for tests that need no stack, such as tests/toolkit."""
        from itest import suite

        if not self.suites and (self.root / suite.SUITES).is_dir():
            self.suites = {name: suite.load(self.root, name) for name in suite.names(self.root)}
        found = [one for one in self.suites.values() if path.is_relative_to(self.root / one.tests)]
        return max(found, key=lambda one: len(one.tests.parts), default=None)

    def get(self, suite: Suite) -> tuple[Stack, Isolation]:
        """The suite's stack and what cleans it, reached at the first call."""
        from itest.isolation import Isolation

        if suite.name not in self.open:
            stack = self._reach(suite)
            self.open[suite.name] = (stack, Isolation(stack))
        return self.open[suite.name]

    def _reach(self, suite: Suite) -> Stack:
        from itest import settings, stack

        given = json.loads(os.environ.get("ITEST_STACK", "[]"))
        if given and given[0] == suite.name:
            return stack.attach(suite, given[1]) if self.worker in ("", "gw0") else self._start(suite, given[1])
        if not self.worker:
            kept = stack.kept(suite)
            if len(kept) > 1:
                problem = f"suite {suite.name}: several kept stacks to attach to: {', '.join(kept)}"
                hint = f"remove all but one: make down SUITE={kept[0]}"
                raise ItestError("usage", problem, hint=hint, cause="attach")
            if kept:
                self.report(f"itest: attached to {kept[0]}, which stays")
                attached = stack.attach(suite, kept[0])
                # A service may have died since it was left, or lost its data; plain compose starts without any.
                stack.settle(attached, factor=settings.read().timeout_factor)
                return attached
        return self._start(suite, f"itest-{suite.name}-{os.getpid()}")

    def _start(self, suite: Suite, name: str) -> Stack:
        from itest import compose, images, runs, stack
        from itest import suite as suites
        from itest.machine import engine
        from itest.stack.sweep import sweep

        compose.scrub_environment()
        engine.ensure(self.report)
        if "ITEST_LEASE" not in os.environ:  # else a run is the owner, and we are one of its pytest-xdist workers
            os.environ["ITEST_LEASE"] = f"run {name}"
            self.closing.enter_context(runs.alive(self.root, name))
            sweep(self.root, self.report)
        suites.check(suite)
        os.environ.update(images.pin(suite.config, suite.texts))
        images.ensure(images.needs_of(suite.config), self.report)
        own = Stack(suite, suite.project(f"{name}-{self.worker}" if self.worker else name))
        self.closing.callback(own.down)
        self.report(f"itest: starting {own.name}")
        stack.start(own)
        self.report(f"itest: {own.name} is ready after {sum(own.timings.values()):.1f} s")
        return own

    def said(self, path: Path, since: float) -> dict[str, str]:
        """What the services of a test's stack printed since then; nothing for a test that has reached no stack."""
        from itest.stack.said import said

        suite = self.suite_of(path)
        if suite is None or suite.name not in self.open:
            return {}
        try:
            return said(self.open[suite.name][0], since)
        except ItestError as error:
            return {"docker": str(error)}

    def keep(self, path: Path, label: str) -> list[str]:
        """Keep the databases of a test's stack as it left them. Returns the commands that open them."""
        suite = self.suite_of(path)
        return self.open[suite.name][1].keep(label) if suite and suite.name in self.open else []

    def close(self) -> None:
        """Close connections and remove what this process started."""
        for _, cleaner in self.open.values():
            cleaner.close()
        self.closing.close()
