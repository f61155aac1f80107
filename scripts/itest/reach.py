"""Which stack a pytest process reaches, and its slot there: of the run, a kept one, or one that it starts and removes.

pytest-xdist's workers share one stack, which their controller finds or starts for them, and removes in the end.
"""

from __future__ import annotations

import json
import os
import secrets
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


def new_session() -> str:
    """A name for what the processes of one pytest have in common."""
    return f"{os.getpid()}-{secrets.token_hex(2)}"


@dataclass
class Stacks:
    """The stacks that this pytest process reaches, by suite; those that it started go when it closes.

    session: see new_session. workers: how many pytest-xdist has, 0 without it. keep: leave the stacks running.
    """

    root: Path
    report: Callable[[str], None]
    session: str = field(default_factory=new_session)
    workers: int = 0
    keep_stacks: bool = False
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
        """The suite's stack as this process sees it and what cleans it, reached at the first call."""
        from itest.isolation import Isolation

        if suite.name not in self.open:
            stack = self._reach(suite)
            self.open[suite.name] = (stack, Isolation(stack))
        return self.open[suite.name]

    def look(self, path: Path) -> list[Stack]:
        """The stack that a test has reached, if any, and its containers as they are now. Raises ItestError (engine)."""
        found = [stack for stack, _ in self._opened(path)]
        for stack in found:
            stack.refresh()
        return found

    def keep(self, path: Path, label: str) -> list[str]:
        """Keep the databases of a test's stack as it left them. Returns the commands that open them."""
        try:
            return [command for _, isolation in self._opened(path) for command in isolation.keep(label)]
        except ItestError as error:
            return [str(error)]

    def _opened(self, path: Path) -> list[tuple[Stack, Isolation]]:
        """The stack that a test has reached, if any."""
        return [pair for pair in self.open.values() if path.is_relative_to(self.root / pair[0].suite.tests)]

    def close(self) -> None:
        """Close connections and remove what this process started."""
        for _, isolation in self.open.values():
            isolation.close()
        self.closing.close()

    def _reach(self, suite: Suite) -> Stack:
        from itest import compose, settings, stack
        from itest.faults import byhand
        from itest.stack import slots, worker

        compose.scrub_environment()
        given = json.loads(os.environ.get("ITEST_STACK", "[]"))
        is_runs = given[:1] == [suite.name]
        factor = settings.read().timeout_factor
        found = stack.attach(suite, given[1]) if is_runs else self._find(suite)
        with slots.turn(self.root, f"{found.name}.settle"):  # who comes later finds it migrated and seeded
            slot = self.closing.enter_context(slots.claimed(self.root, found.name))
            if slot == 0 and not is_runs and found.name != self._name(suite):
                # A service may have died since it was left, or lost its data; plain compose starts without any.
                with byhand.blaming_standing(found):
                    said = stack.settle(found, factor=factor)
                if said:
                    self.report(f"itest: {said}")
        if slot and self.workers < 2:  # of several workers it is known by now that they can share it
            self._refuse_sharing(found)
        owner = self._own() if slot else ""
        mine = self.closing.enter_context(worker.entered(found, slot, owner, factor=factor, stays=is_runs))
        if is_runs:
            os.environ.update(mine.discovery())
        return mine

    def provide(self, suite: Suite) -> None:
        """Find or start a suite's stack for the workers of this process, and tell them which it is."""
        self._own()
        self._note(suite).parent.mkdir(parents=True, exist_ok=True)
        self._note(suite).write_text(self._find_or_start(suite).name, encoding="utf-8")
        self.closing.callback(self._note(suite).unlink)

    def _note(self, suite: Suite) -> Path:
        from itest.stack import slots

        return self.root / slots.SLOTS / f"{self.session}.{suite.name}"

    def _find(self, suite: Suite) -> Stack:
        from itest import stack

        if self.workers:
            return stack.attach(suite, self._note(suite).read_text(encoding="utf-8"))
        return self._find_or_start(suite)

    def _find_or_start(self, suite: Suite) -> Stack:
        from itest import stack
        from itest.faults import byhand
        from itest.stack import keeping
        from itest.stack.sweep import sweep

        sweep(self.root, self.report)
        kept = stack.kept(suite)
        if len(kept) > 1:
            problem = f"suite {suite.name}: several kept stacks to attach to: {', '.join(kept)}"
            hint = f"remove all but one: make down SUITE={kept[0]}"
            raise ItestError("usage", problem, hint=hint, cause="attach")
        if kept:
            self.report(f"itest: attached to {kept[0]}, which stays")
            attached = stack.attach(suite, kept[0])
            if told := byhand.left_standing(attached):
                self.report(f"itest: {told}")
            keeping.renew(attached)
            return attached
        from itest.hangs import not_counted

        with not_counted():
            return self.start(suite)

    def start(self, suite: Suite) -> Stack:
        """A stack of its own, which goes when this closes. Raises ItestError."""
        from itest import bake, images, settings, stack
        from itest import suite as suites
        from itest.faults import sidecar
        from itest.machine import engine

        engine.ensure(self.report)
        self._own()
        suites.check(suite)
        os.environ.update(images.pin(suite.config, suite.texts))
        images.ensure([*images.needs_of(suite.config), *sidecar.needs(suite)], self.report)
        given = settings.read()
        shared = bake.Repository(given.bake_repository)
        baked = bake.ensure(suite, self.report, repository=shared) if given.bake else bake.Baked()
        own = Stack(suite, suite.project(self._name(suite), baked.images))
        if not self.keep_stacks:
            self.closing.callback(own.down)
        self.report(f"itest: starting {own.name}")
        stack.start(own)
        self.report(f"itest: {own.name} is ready after {sum(own.timings.values()):.1f} s")
        return own

    def _name(self, suite: Suite) -> str:
        return f"itest-{suite.name}-{self.session}"

    def _own(self) -> str:
        """Be known as who owns what this process starts: a run, pytest-xdist's controller or else this process."""
        from itest import interrupts, leases, runs

        if "ITEST_LEASE" not in os.environ:
            if not self.workers:
                self.closing.enter_context(runs.alive(self.root, self.session))
                interrupts.all_alike()
            os.environ.update(leases.variables(self.root, self.session, keep=self.keep_stacks))
        return os.environ["ITEST_LEASE"].partition(" ")[2]

    def _refuse_sharing(self, found: Stack) -> None:
        """Raise where another pytest uses the stack and there is no telling the two apart."""
        from itest.stack import slots
        from itest.suite import workers

        try:
            workers.check(found.suite)
        except ItestError as error:
            others = slots.holders(self.root, found.name).values()
            who = ", ".join(one for one in others if one != f"pid {os.getpid()}")
            problem = f"stack {found.name}: another pytest uses it ({who}), and {error.message.partition(': ')[2]}"
            raise ItestError("usage", problem, hint=f"wait for that one; or {error.hint}", cause="workers") from error
