"""A service that is frozen, ended, started anew or out of memory; healed, it runs and is ready again.

Its names survive, and so does its address, unless another container has taken that one meanwhile. What it had only in
memory is gone with it, a `tmpfs` too, and an ephemeral port may be another one.
"""

from __future__ import annotations

import subprocess
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from itest import compose
from itest.containers import Container, inspect
from itest.errors import ItestError
from itest.faults import active
from itest.faults.fault import Fault

if TYPE_CHECKING:
    from itest.faults.active import Note
    from itest.faults.book import Book

MISSING = ("executable file not found", "no such file or directory")  # docker's words for a program that is not there
ENDS_WITHIN = 10.0  # seconds, from the kernel's end of a process to docker's word for it
# The kernel ends the process with the highest score first, and 1000 stands for all the memory there is (proc(5),
# oom_score_adj). `tail` keeps what it reads until a line ends, which none does here.
EXHAUST = "echo 1000 > /proc/1/oom_score_adj && exec tail /dev/zero"


class ContainerFault(Fault):
    """Of one service's container. verb: what it is called."""

    verb: str

    def __init__(self, book: Book, service: str) -> None:
        super().__init__(book, service)
        self._service = service
        self._note: Note | None = None

    def describe(self) -> str:
        return f"{self.verb} {self._service}"

    def _end(self) -> None:
        """Through the stack, so that it is announced, and ready afterwards."""
        if self._note:
            stack = self._book.stack
            stack.refresh()
            if self._service in stack.containers:
                stack.start(self._service)
            self._note.strike()
            self._note = None

    def _running(self) -> Container:
        """The service's container. Raises ItestError (usage) where it doesn't run: nothing would happen to it."""
        self._book.stack.refresh()
        container = self._book.stack.containers[self._service]
        if not container.running:
            raise self._refusal(f"the service does not run ({container.summary})", "heal what ended or froze it first")
        return container

    def _take_note(self, container: Container, *undo: str) -> None:
        """From now on it is healed whatever happens. undo: docker's arguments, see active.DUE."""
        root, kept = Path(self._book.stack.suite.root), self._book.kept
        self._note = active.note(root, self.describe(), container, undo, kept=kept)

    def _expect_end(self) -> None:
        """From now on nobody takes it for a death if the service ends; until it is started, see `_end`."""
        compose.announce("kill", self._book.stack.project_of(self._service).name, self._service)
        self._book.stack.halted.add(self._service)

    def _refusal(self, why: str, hint: str) -> ItestError:
        return ItestError("usage", f"fault {self.describe()}: {why}", hint=hint, cause="fault", service=self._service)


class Halt(ContainerFault):
    """Of a service that answers nobody while it lasts. undo: docker's verb that heals it."""

    undo: str

    @abstractmethod
    def _inject(self, container: Container) -> None:
        """Do it to a container that runs."""

    def _begin(self) -> None:
        container = self._running()
        self._take_note(container, self.undo, container.id)
        self._inject(container)


class Pause(Halt):
    """Frozen: connections stay open, new ones are accepted by the kernel, and nothing answers."""

    verb, undo = "pause", "unpause"

    def _inject(self, container: Container) -> None:
        self._book.stack.pause(self._service)


class Kill(Halt):
    """Ended at once, as by a crash (SIGKILL)."""

    verb, undo = "kill", "start"

    def _inject(self, container: Container) -> None:
        self._book.stack.kill(self._service)


class Stop(Halt):
    """Asked to end (SIGTERM, then SIGKILL after its grace period)."""

    verb, undo = "stop", "start"

    def _inject(self, container: Container) -> None:
        self._book.stack.stop(self._service)


class Restart(Halt):
    """Asked to end, and started at once: it comes up while the fault lasts, and is ready when that is healed."""

    verb, undo = "restart", "start"

    def _inject(self, container: Container) -> None:
        self._book.stack.stop(self._service)
        self._book.stack.project_of(self._service).act("start", self._service)
        self._book.stack.refresh()  # whose published port may be another one


class Oom(Halt):
    """Ended by the kernel for want of memory: docker says OOM-killed, exit code 137."""

    verb, undo = "oom", "start"

    def _inject(self, container: Container) -> None:
        self._expect_end()
        done = execute(container, ["sh", "-c", EXHAUST], "--privileged", "--user=0")
        from itest.stack.eventually import eventually

        with suppress(AssertionError):
            eventually(lambda: not any(one.running for one in inspect([container.id])), ENDS_WITHIN)
        if not any(one.state.get("OOMKilled") for one in inspect([container.id])):
            why = done.stderr.strip() or f"`{EXHAUST}` in it ended with code {done.returncode}"
            raise ItestError("service", f"fault {self.describe()}: the kernel did not end it: {why}", cause="fault")

    def _running(self) -> Container:
        container = super()._running()
        if not container.memory:
            raise self._refusal(
                "it has no memory limit to run into", f"mem_limit: 256m of {self._service} in its layer"
            )
        return container


def execute(container: Container, command: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a container, whatever its exit code. options: of `docker exec`.

    Raises ItestError (usage) where the image lacks the program.
    """
    words = ["docker", "container", "exec", *options, container.id, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode in (126, 127) and any(missing in done.stdout + done.stderr for missing in MISSING):
        problem = f"service {container.service}: image {container.image} has no `{command[0]}`, which this fault needs"
        hint = "an image with a shell and coreutils or busybox; pause, kill and stop need nothing in it"
        raise ItestError("usage", problem, hint=hint, cause="fault", service=container.service)
    return done
