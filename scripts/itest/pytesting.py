"""The pytest stage: a suite's tests in a process of its own, their output kept and, for one suite, shown live."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from itest import tracebacks
from itest.errors import ItestError
from itest.stack.stack import Stack
from itest.suite.suite import Suite
from itest.verdict.live import COLOURS, LiveMask
from itest.verdict.mask import Masker

# Options of pytest and pytest-xdist that are followed by a value of their own.
TAKES_VALUE = re.compile(
    "-[ckmnoprW]|--(basetemp|confcutdir|config-file|deselect|dist|durations|ignore|ignore-glob|import-mode|junit-?xml"
    "|log-level|maxfail|override-ini|rootdir|tb|tx)"
)
CACHE = Path("build") / "itest" / "cache"
# Files in the suite's folder: services that tests ended; the test under way; why a process of pytest has no stack; what
# has died; tests that did not end (see watchdog.py); results so far (see finished.py); faults that tests injected.
NOTES = ANNOUNCED, RUNNING, UNREACHED, DIED, HUNG, FINISHED, INJECTED = (
    "announced",
    "running",
    "unreached",
    "died",
    "hung",
    "finished",
    "injected",
)
TRACEBACKS = "tracebacks"  # folder in the suite's, of processes that say where they are (see tracebacks.py)
INTERRUPT_GRACE = 20.0  # seconds that pytest gets to finish its report after an interrupt


@dataclass(frozen=True)
class PytestRun:
    """Where a pytest process writes and how it shows. live: pass its output on while it runs; masker: of all of it."""

    arguments: Sequence[str]
    junit: Path
    log: Path
    live: bool
    masker: Masker


def run(stack: Stack, one: PytestRun, ends: Sequence[Callable[[], bool]]) -> int:
    """Run the tests of a suite against its stack and return pytest's exit code, negative for a signal.

    ends: asked ten times a second; the first that says yes ends pytest before its tests do.
    """
    suite = stack.suite
    command = [sys.executable, "-m", "pytest", "--no-header", f"--junitxml={one.junit}"]
    command += ["-o", f"cache_dir={suite.root / CACHE / suite.name}", "-o", "junit_family=xunit2"]
    paths, options = split(suite.root, one.arguments)
    command += [*_paths_of(suite, paths), *options]
    environment = reaching(stack)
    for note in NOTES:
        environment[f"ITEST_{note.upper()}"] = str(one.junit.with_name(note))
    if is_debugging(one.arguments):
        return subprocess.run(command, cwd=suite.root, env=environment, check=False).returncode
    answers = one.junit.with_name(TRACEBACKS)
    answers.mkdir()
    environment["ITEST_TRACEBACKS"] = str(answers)
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
    with process, _Interrupter(process, ends), one.log.open("wb") as log:
        assert process.stdout is not None
        for shown in LiveMask(one.masker).through(process.stdout):
            log.write(shown)
            if one.live:
                sys.stdout.buffer.write(shown)
                sys.stdout.buffer.flush()
    shutil.rmtree(answers)
    one.log.write_bytes(COLOURS.sub(b"", one.log.read_bytes()))
    return process.returncode


def reaching(stack: Stack) -> dict[str, str]:
    """The environment of a pytest whose tests are to use this stack."""
    return os.environ | stack.discovery() | {"ITEST_STACK": json.dumps([stack.suite.name, stack.name])}


def remembered(suite: Suite) -> list[Path]:
    """What pytest keeps of a suite from run to run. It holds tests' ids, in which a parameter may be a secret."""
    return [path for path in (suite.root / CACHE / suite.name).rglob("*") if path.is_file()]


def running(folder: Path) -> str:
    """The tests that ran when pytest ended, or run at this moment, as its plugin notes them; "" for none."""
    return ", ".join(under_way(folder))


def under_way(folder: Path) -> list[str]:
    """The same, one by one."""
    try:
        return [test for test in (folder / RUNNING).read_text(encoding="utf-8").split("\n") if test]
    except FileNotFoundError:
        return []


def unreached(note: Path) -> ItestError | None:
    """Why a pytest, or one of its workers, ended before its tests: what its plugin wrote down (see controller.leave).

    Its exit code alone might mean something else to pytest, such as 5: that no test was selected.
    """
    if not note.exists():
        return None
    return ItestError(**json.loads(note.read_text(encoding="utf-8")))


def hung(suite: str, folder: Path) -> ItestError | None:
    """Why pytest, or one of its workers, was ended with a test in it that didn't end (see watchdog.py)."""
    note = folder / HUNG
    if not note.exists():
        return None
    first, *others = map(json.loads, note.read_text(encoding="utf-8").splitlines())
    late = f"did not end within its {first['limit']:g} s, nor {first['grace']:g} s later"
    more = f", nor did {', '.join(other['test'] for other in others)}" if others else ""
    hint = "more time: @pytest.mark.timeout(seconds) on the test, or ITEST_TEST_TIMEOUT=seconds for all"
    hint = f"{tracebacks.shown(folder / tracebacks.STACKS)} shows where it hung; {hint}"
    evidence = "\n".join(first["frames"]).replace(f"{Path.cwd()}/", "")
    message = f"tests of {suite}: {first['test']} {late}{more}"
    return ItestError("test", message, hint=hint, cause="timeout", evidence=evidence)


def is_debugging(arguments: Sequence[str]) -> bool:
    """Whether a person sits in a debugger: pytest then owns the terminal, and nothing may time out."""
    return any(argument in ("--pdb", "--trace") for argument in arguments)


def has_workers(arguments: Sequence[str]) -> bool:
    """Whether pytest-xdist will run tests side by side: `-n 4`, `-n4`, `-n auto`, `--numprocesses=4`."""
    return workers(arguments) not in ("", "-n 0", "-n 1")


def workers(arguments: Sequence[str]) -> str:
    """How many, in the words of pytest's arguments: `-n 4`; "" where nobody said."""
    given = re.findall(r"(?:^|\0)(?:-n|--numprocesses)[=\0]?(\w+)", "\0".join(arguments))
    return f"-n {given[-1]}" if given else ""


def concerns(suite: Suite, others: Sequence[Suite], arguments: Sequence[str]) -> bool:
    """Whether the arguments leave anything to do in a suite, as far as that can be told before it starts.

    A path belongs to the suite that holds it, a folder to all that it holds; `--lf` means what failed in any of them.
    """
    if not _paths_of(suite, split(suite.root, arguments)[0]):
        return False
    if "--lf" in arguments or "--last-failed" in arguments:
        return _has_failed(suite) or not any(map(_has_failed, others))
    return True


def split(root: Path, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files, folders and node ids; and all the rest. `-k migrations` names no path, whatever folders there are."""
    paths: list[str] = []
    options: list[str] = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        name = argument.partition("::")[0]
        is_word = argument.startswith("-") or TAKES_VALUE.fullmatch(before)
        there = not is_word and os.path.exists(root / name)  # noqa: PTH110  # Path.exists raises for a long -k
        (paths if there else options).append(argument)
    return paths, options


def _paths_of(suite: Suite, paths: Sequence[str]) -> list[str]:
    """Those of the paths that lie in a suite, or its own folder where all of it is meant."""
    folder = (suite.root / suite.tests).resolve()
    real = {path: (suite.root / path.partition("::")[0]).resolve() for path in paths}
    if not paths or any(folder.is_relative_to(one) for one in real.values()):
        return [str(suite.tests)]
    return [path for path, one in real.items() if one.is_relative_to(folder)]


def _has_failed(suite: Suite) -> bool:
    """Whether the last run of a suite left failed tests to run again."""
    try:
        return bool(json.loads((suite.root / CACHE / suite.name / "v/cache/lastfailed").read_text()))
    except (OSError, ValueError):
        return False


class _Interrupter:
    """Ends pytest when one of ends says so: as Ctrl-C does, and by SIGKILL when that takes longer than its grace."""

    def __init__(self, process: subprocess.Popen[bytes], ends: Sequence[Callable[[], bool]]) -> None:
        from threading import Thread

        self.process, self.ends, self.done = process, ends, Event()
        self.thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.done.wait(0.1):
            if any(says_so() for says_so in self.ends):
                self.process.send_signal(signal.SIGINT)
                if not self.done.wait(INTERRUPT_GRACE):
                    os.killpg(self.process.pid, signal.SIGKILL)
                return
