"""The lines that people watch: plain on a pipe, live on a terminal (a real pseudo terminal)."""

from __future__ import annotations

import io
import itertools
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from itest.console import Console
from itest.errors import ItestError
from itest.verdict.mask import Masker

SCRIPTS = Path(__file__).parents[3] / "scripts"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that has moved on by some seconds each time it is read."""
    return itertools.count(0.0, seconds).__next__


def plain(clock: Clock | None = None, **environ: str) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(stream, environ=environ, clock=clock or Clock()), stream


def on_terminal(script: str, **environ: str) -> str:
    """What a script with a `console` prints when its standard output is a terminal."""
    head = "import time, threading, os, sys\nfrom itest.console import Console\nconsole = Console(sys.stdout)\n"
    leader, follower = pty.openpty()
    settings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SCRIPTS), "TERM": "xterm", "COLUMNS": "100", **environ}
    command = [sys.executable, "-c", head + textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.STDOUT, env=settings) as process:
        os.close(follower)
        output = b""
        while chunk := _read(leader):
            output += chunk
        process.wait(timeout=20)
    os.close(leader)
    return output.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux: the other side was closed
        return b""


def test_a_stage_is_one_plain_line_with_its_time_when_it_ends() -> None:
    clock = Clock()
    console, stream = plain(clock)
    with console.stage("database", "ready") as line:
        line.detail("postgres 0.12 s, redis 0.08 s")
        clock.now += 0.2
        assert stream.getvalue() == ""
    assert stream.getvalue() == "✓ database  ready     postgres 0.12 s, redis 0.08 s               0.2 s\n"


def test_an_exception_passes_through_and_its_first_line_is_the_detail() -> None:
    console, stream = plain()
    with pytest.raises(ItestError, match="exited"), console.stage("api", "ready"):
        raise ItestError("service", "service shop: exited with 1\nlog: …")
    assert stream.getvalue().startswith("✗ api       ready     service shop: exited with 1  ")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_any_exception_marks_the_line_failed(error: type[BaseException]) -> None:
    console, stream = plain()
    with pytest.raises(error), console.stage("api", "pytest"):
        raise error
    assert stream.getvalue().startswith("✗")


def test_a_stage_that_ended_without_exception_can_be_marked_failed() -> None:
    console, stream = plain()
    with console.stage("api", "pytest") as line:
        line.fail()
        line.detail("1 failed, 37 passed in 1.94s")
    assert stream.getvalue().startswith("✗ api       pytest    1 failed, 37 passed in 1.94s ")


def test_progress_is_a_line_at_a_new_phase_and_else_one_in_five_seconds() -> None:
    clock = Clock()
    console, stream = plain(clock)
    with console.stage("all", "images") as line:
        for second in range(13):
            clock.now = float(second)
            line.update(f"second {second}", phase="pull" if second < 7 else "build")
    seen = [int(number) for number in re.findall(r"… all .* second (\d+) ", stream.getvalue())]
    assert seen == [0, 5, 7, 12]


def test_short_stages_without_phases_print_no_progress() -> None:
    console, stream = plain()
    with console.stage("all", "images") as line:
        line.update("checking")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_stream_that_knows_no_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with Console(stream, environ={}, clock=Clock()).stage("api", "data") as line:
        line.detail("5 rows, größer")
    assert raw.getvalue().startswith(b"+ api       data      5 rows, gr??er")


def test_control_characters_and_further_lines_of_a_detail_stay_out() -> None:
    console, stream = plain()
    with console.stage("api", "data") as line:
        line.detail("a\x1b[2Jb\rc\nd")
    assert "a [2Jb c " in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_notes_and_text_are_printed() -> None:
    console, stream = plain()
    console.note("2 suites")
    console.print("done")
    assert stream.getvalue() == "2 suites\ndone\n"


def test_a_long_text_is_cut_to_a_hundred_characters_where_there_is_no_terminal() -> None:
    console, stream = plain()
    with console.stage("api", "ready") as line:
        line.detail("x" * 101)
    assert stream.getvalue() == f"✓ api       ready     {'x' * 99}…    0.0 s\n"
    with console.stage("api", "ready") as line:
        line.detail("y" * 100)
    assert "y" * 100 in stream.getvalue()


def test_a_stage_that_tells_nothing_says_now_and_then_that_it_lives() -> None:
    stream = io.StringIO()
    console = Console(stream, environ={}, clock=ticking(10.0), heartbeat=0.01)
    with console.stage("api", "pytest"):
        waited = threading.Event()
        for _ in range(200):
            if stream.getvalue().count("\n") >= 2 or waited.wait(0.01):
                break
    *beats, last = stream.getvalue().splitlines()
    assert len(beats) >= 2
    assert all(beat.startswith("… api       pytest ") for beat in beats)
    assert last.startswith("✓ api       pytest ")


def test_no_heartbeat_soon_after_progress_nor_while_another_has_the_output_nor_after_the_end() -> None:
    clock, stream, never = Clock(), io.StringIO(), threading.Event()
    console = Console(stream, environ={}, clock=clock, heartbeat=0.01)
    with console.stage("api", "pytest"):
        never.wait(0.05)  # by the clock no time passes
        with console.suspended():
            clock.now = 60.0
            never.wait(0.05)
            clock.now = 0.0
    clock.now = 60.0
    never.wait(0.05)
    assert len(stream.getvalue().splitlines()) == 1


def test_lines_of_many_threads_never_mix() -> None:
    console, stream = plain()

    def suite(name: str) -> None:
        for number in range(50):
            with console.stage(name, f"s{number}") as line:
                line.update("…", phase=str(number))

    threads = [threading.Thread(target=suite, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 8 * 50 * 2
    assert all(re.fullmatch(r"[✓…] t\d +s\d+ +… +0\.0 s", line) for line in lines)


def test_a_terminal_shows_running_stages_and_leaves_the_finished_lines() -> None:
    output = on_terminal("""
        with console.stage("api", "up") as line:
            line.update("half way")
            time.sleep(0.4)
            line.detail("3 services")
    """)
    assert HIDE_CURSOR in output
    assert output.count(SHOW_CURSOR) == output.count(HIDE_CURSOR)
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] api +up +half way +0\.[1-4] s", output), "no live line with the time so far"
    assert "\x1b[32m✓\x1b[0m api       up        3 services" in output


def test_a_failed_stage_is_red_and_the_cursor_comes_back() -> None:
    output = on_terminal("""
        with console.stage("api", "up"):
            raise KeyboardInterrupt
    """)
    assert "\x1b[31m✗ api" in output
    assert output.count(HIDE_CURSOR) == output.count(SHOW_CURSOR) == 1


@pytest.mark.parametrize("columns", [60, 100])
def test_a_long_text_is_cut_to_the_terminal_and_the_time_stays(columns: int) -> None:
    output = on_terminal(
        """
        with console.stage("api", "ready") as line:
            line.detail("x" * 300)
            time.sleep(0.3)
    """,
        COLUMNS=str(columns),
        NO_COLOR="1",
    )
    (finished,) = re.findall(r"✓ .* s", output)
    assert len(finished) == columns
    assert re.search(r"x…    0\.[3-9] s$", finished)
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] api +ready +x+…    0\.\d s", output), "the live line keeps its time, too"


def test_side_by_side_stages_in_threads_end_whole() -> None:
    output = on_terminal("""
        def suite(name):
            for number in range(20):
                with console.stage(name, f"s{number}"):
                    console.print(f"print {name} {number}")
        threads = [threading.Thread(target=suite, args=(f"t{n}",)) for n in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    """)
    assert len(re.findall(r"✓\x1b\[0m t\d +s\d+ +0\.\d s", output)) == 80
    assert len(re.findall(r"print t\d \d+", output)) == 80


def test_suspended_nothing_is_drawn_and_what_ended_is_printed_afterwards() -> None:
    output = on_terminal("""
        with console.stage("api", "pytest"):
            time.sleep(0.2)
            with console.suspended():
                os.write(1, b"<begin>")
                with console.stage("database", "up"):
                    time.sleep(0.3)
                console.print("meanwhile")
                os.write(1, b"<end>")
    """)
    inside, after = output.split("<begin>")[1].split("<end>")
    assert inside == ""
    assert after.index("database") < after.index("meanwhile") < after.index("✓\x1b[0m api")


def test_ci_gets_plain_lines_and_no_color_no_colour() -> None:
    script = """
        with console.stage("api", "up"):
            time.sleep(0.2)
    """
    assert re.fullmatch(r"✓ api +up +0\.2 s\r\n", on_terminal(script, CI="true", NO_COLOR="1"))
    assert "\x1b[3" not in on_terminal(script, NO_COLOR="1").replace("\x1b[?", "")
    assert on_terminal(script, TERM="dumb").startswith("✓ api")


def test_rich_is_only_imported_to_draw() -> None:
    script = "import io, sys; from itest.console import Console\nwith Console(io.StringIO()).stage('a', 'b'): pass\n"
    script += "print('rich' in sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_secrets_are_masked_before_a_line_is_cut_to_its_length():
    secret = "Generated-Secret-0"
    console, output = plain()
    console.mask = Masker([secret]).text
    with console.stage("api", "images") as line:
        line.update(f"{'x' * 90} {secret}", phase="building")
    console.note(f"token {secret}")
    assert "Gener" not in output.getvalue()
    assert f"{'x' * 90} ***" in output.getvalue()
    assert "token ***" in output.getvalue()
