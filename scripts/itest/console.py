"""What a person watches: one line a stage with its time, live on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from itest.errors import ItestError

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_PROGRESS_EVERY = 5.0  # seconds between two progress lines of one stage where nothing can be redrawn
_HEARTBEAT = 30.0  # seconds after which a stage that says nothing says that it lives, before CI takes it for stuck
_PLAIN_TEXT = 100  # characters of a stage's text where no terminal sets the limit
_REDRAWS = 10  # a second
_RED, _GREEN, _DIM, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Line:
    """One stage while it runs; Console.stage makes it."""

    def __init__(self, console: Console, suite: str, stage: str) -> None:
        self._console = console
        self.suite = suite
        self.stage = stage
        self.text = ""
        self.failed = False
        self._started = self._printed = console.clock()
        self._phase = ""

    @property
    def seconds(self) -> float:
        """How long the stage has been running."""
        return self._console.clock() - self._started

    def detail(self, text: str) -> None:
        """Set what the finished line says between the stage and its time."""
        self.text = text

    def fail(self) -> None:
        """Mark the finished line as failed, though no exception ends the stage: pytest ran, and tests failed."""
        self.failed = True

    def update(self, text: str, *, phase: str = "") -> None:
        """Tell progress. A terminal shows the latest; elsewhere a line is printed every 5 s and at each new phase."""
        self.text = text
        now = self._console.clock()
        if phase != self._phase or now - self._printed >= _PROGRESS_EVERY:
            self._phase = phase
            self.print()

    def beat(self) -> None:
        """Print progress again if none was printed for a while; for a stage that waits and has nothing to tell."""
        if self._console.clock() - self._printed >= _PROGRESS_EVERY:
            self.print()

    def print(self) -> None:
        """Print how far it is, where it can't be drawn."""
        self._printed = self._console.clock()
        self._console.progress(self)


class Console:
    """Prints the lines of all stages. Suites that run side by side, each in its thread, share one.

    stream:    where to. Drawing live needs a terminal, and CI unset; colour needs a terminal, and NO_COLOR unset.
    width:     of the column with the suites' names, in characters.
    heartbeat: seconds between the lines of a stage that tells no progress, where nothing is drawn.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        width: int = 9,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        heartbeat: float = _HEARTBEAT,
    ) -> None:
        self._stream = stream or sys.stdout
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self.mask: Callable[[str], str] = str  # of all that is printed, before it is cut to the line's length
        self.width = width
        self.clock = clock
        self._heartbeat = heartbeat
        self._environ = environ
        self._terminal = terminal = self._stream.isatty() and environ.get("TERM") != "dumb"
        self.colour = terminal and not environ.get("NO_COLOR")
        self.live = terminal and not environ.get("CI")
        unicode = _can_encode("✓✗…⠋", self._encoding)
        self._passed, self._failed, self._running = "✓✗…" if unicode else "+x."
        self._more = "…" if unicode else "..."
        self._frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if unicode else "|/-\\"
        self._lock = threading.RLock()
        # Replaced, never changed: rich's own thread reads it, and would deadlock with us if it had to take our lock.
        self._active: tuple[Line, ...] = ()
        self._drawing: Live | None = None
        self._suspensions = 0
        self._held: list[str] = []

    @contextmanager
    def stage(self, suite: str, stage: str) -> Iterator[Line]:
        """Show a stage as long as the block runs, then print its line; failed if an exception passes or Line.fail."""
        line = Line(self, suite, stage)
        with self._lock:
            self._active = (*self._active, line)
            self._draw()
        try:
            with self._beating(line):
                yield line
        except BaseException as error:
            line.fail()
            if isinstance(error, ItestError):
                line.text = line.text or error.message
            raise
        finally:
            with self._lock:
                self._active = tuple(other for other in self._active if other is not line)
                self._write(self._finished(line))
                self._draw()

    def progress(self, line: Line) -> None:
        """Print how far a running stage has come, where it can't be drawn."""
        with self._lock:
            if not self.live and line in self._active:
                self._write(self._format(self._running, line))

    def note(self, text: str) -> None:
        """Print a remark, dimmed."""
        self.print(self._paint(_DIM, text))

    def print(self, text: str) -> None:
        """Print text as it is, above the stages that are being drawn."""
        with self._lock:
            self._write(text)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Leave the terminal to another, such as pytest with a debugger; what ends meanwhile is printed afterwards."""
        with self._lock:
            self._suspensions += 1
            self._draw()
            self._stream.flush()
        try:
            yield
        finally:
            with self._lock:
                self._suspensions -= 1
                held, self._held = ([], self._held) if self._suspensions else (self._held, [])
                for text in held:
                    self._write(text)
                self._draw()

    def _finished(self, line: Line) -> str:
        if line.failed:
            return self._paint(_RED, self._format(self._failed, line))
        text = self._format(self._passed, line)
        return self._paint(_GREEN, text[: len(self._passed)]) + text[len(self._passed) :]

    def _format(self, mark: str, line: Line) -> str:
        text = "".join(char if char.isprintable() else " " for char in self.mask(line.text).partition("\n")[0])
        head, tail = f"{mark} {line.suite:<{self.width}} {line.stage:<9} ", f" {line.seconds:>6.1f} s"
        room = max(self._columns() - len(head) - len(tail), 1) if self._terminal else _PLAIN_TEXT
        if len(text) > room:
            text = text[: room - len(self._more)] + self._more
        return f"{head}{text:<{min(40, room)}}{tail}"

    def _columns(self) -> int:
        """The width of the terminal, by the rules that rich has, too."""
        if (given := self._environ.get("COLUMNS", "")).isdigit():
            return int(given)
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    @contextmanager
    def _beating(self, line: Line) -> Iterator[None]:
        """Print a line now and then although nobody calls update, where nothing is drawn."""
        if self.live:
            yield
            return
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._heartbeat):
                if not self._suspensions:  # pytest or a debugger has the output then
                    line.beat()

        thread = threading.Thread(target=beat, name=f"heartbeat {line.stage}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self.colour else text

    def _write(self, text: str) -> None:
        text = self.mask(text).encode(self._encoding, "replace").decode(self._encoding)
        if self.live and self._suspensions:
            self._held.append(text)
        elif self._drawing:
            from rich.text import Text

            self._drawing.console.print(Text.from_ansi(text), soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _draw(self) -> None:
        wanted = self.live and bool(self._active) and not self._suspensions
        if wanted and not self._drawing:
            self._drawing = self._start_drawing()
        elif self._drawing and not wanted:
            drawing, self._drawing = self._drawing, None
            drawing.stop()

    def _start_drawing(self) -> Live:
        # Only here: the import takes longer than many a verb.
        from rich.console import Console as Terminal
        from rich.live import Live

        terminal = Terminal(file=self._stream, force_terminal=True, no_color=not self.colour, highlight=False)
        drawing = Live(console=terminal, get_renderable=self._picture, refresh_per_second=_REDRAWS, transient=True)
        drawing.start(refresh=True)
        return drawing

    def _picture(self) -> Text:
        from rich.text import Text

        frame = self._frames[int(self.clock() * _REDRAWS) % len(self._frames)]
        return Text("\n".join(self._format(frame, line) for line in self._active), no_wrap=True, overflow="ellipsis")


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
