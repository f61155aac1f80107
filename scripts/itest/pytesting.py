"""The pytest stage: the suite's tests in a process of their own, their output kept and, for a single suite, shown live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from itest.stack import Stack

CACHE = Path("build") / "itest" / "cache"
INTERRUPT_GRACE = 20.0  # seconds that pytest gets to finish its report after an interrupt


@dataclass(frozen=True)
class PytestRun:
    """Where a pytest process writes and how it shows. live: pass its output on while it runs."""

    arguments: Sequence[str]
    junit: Path
    log: Path
    live: bool

    @property
    def debugging(self) -> bool:
        """Whether a person sits in a debugger: pytest then owns the terminal, and nothing may time out."""
        return any(argument in ("--pdb", "--trace") for argument in self.arguments)


def run(stack: Stack, one: PytestRun, cancelled: Event) -> int:
    """Run the tests of a suite against its stack and return pytest's exit code, negative for a signal."""
    suite = stack.suite
    command = [sys.executable, "-m", "pytest", "--no-header", str(suite.tests), f"--junitxml={one.junit}"]
    command += ["-o", f"cache_dir={suite.root / CACHE / suite.name}", "-o", "junit_family=xunit2"]
    command += [*_last_failed(one.arguments), *one.arguments]
    environment = os.environ | stack.discovery() | {"ITEST_STACK": json.dumps([suite.name, stack.name])}
    if one.debugging:
        return subprocess.run(command, cwd=suite.root, env=environment, check=False).returncode
    if one.live and sys.stdout.isatty():
        command.append("--color=yes")
    # In a session of its own, so that Ctrl-C reaches it once, from us, and its report is still written.
    process = subprocess.Popen(
        command,
        cwd=suite.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with process, _Interrupter(process, cancelled), one.log.open("wb") as log:
        assert process.stdout is not None
        while chunk := process.stdout.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader, typed as IO
            log.write(chunk)
            if one.live:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
    return process.returncode


def has_last_failed(root: Path, suite: str) -> bool:
    """Whether the last run of a suite left failed tests to run again."""
    try:
        return bool(json.loads((root / CACHE / suite / "v/cache/lastfailed").read_text()))
    except (OSError, ValueError):
        return False


def wants_last_failed(arguments: Sequence[str]) -> bool:
    return any(argument in ("--lf", "--last-failed") for argument in arguments)


def _last_failed(arguments: Sequence[str]) -> list[str]:
    """`--lf` means the failed tests of all suites together, so a suite without any runs none of its own."""
    return ["--last-failed-no-failures=none"] if wants_last_failed(arguments) else []


class _Interrupter:
    """Passes an interrupt on to pytest as SIGINT, and as SIGKILL when it doesn't end within its grace."""

    def __init__(self, process: subprocess.Popen[bytes], cancelled: Event) -> None:
        from threading import Thread

        self.process, self.cancelled, self.done = process, cancelled, Event()
        self.thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.done.wait(0.1):
            if self.cancelled.is_set():
                self.process.send_signal(signal.SIGINT)
                if not self.done.wait(INTERRUPT_GRACE):
                    os.killpg(self.process.pid, signal.SIGKILL)
                return
