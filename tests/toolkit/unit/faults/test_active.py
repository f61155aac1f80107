"""Notes of faults that could outlive their process: who holds one, what is in it, and when it is nobody's any more."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from itest.containers import Container
from itest.faults import active

ROOT = Path(__file__).resolve().parents[4]
PAUSE = ("unpause", "c0ffee")


def container(**state: object) -> Container:
    given = {"Status": "running", "Paused": False, **state}
    return Container("c0ffee", "itest-api", "redis", "redis:1", {}, {}, given, 0)


def only(root):
    """Path and content of the one note there is."""
    ((path, one),) = active._noted(root).items()
    return path, one


def test_a_note_says_what_stands_and_how_it_is_undone(tmp_path):
    note = active.note(tmp_path, "pause redis", container(), PAUSE)
    (one,) = active.standing(tmp_path, "itest-api")
    assert (one.fault, one.service, one.container, one.undo, one.kept) == (
        "pause redis",
        "redis",
        "c0ffee",
        PAUSE,
        False,
    )
    assert one == note.standing
    assert active.standing(tmp_path, "itest-other") == []


def test_a_healed_fault_leaves_no_note(tmp_path):
    active.note(tmp_path, "pause redis", container(), PAUSE).strike()
    assert list((tmp_path / active.FAULTS).iterdir()) == []


def test_while_its_process_lives_nobody_else_heals_it(tmp_path):
    note = active.note(tmp_path, "pause redis", container(), PAUSE)
    with active._burying(note.path) as unheld:
        assert not unheld
    note.file.close()
    with active._burying(note.path) as unheld:
        assert unheld


def test_the_note_of_a_killed_process_is_nobody_s(tmp_path):
    program = (
        "import os, sys, pathlib\n"
        "from itest.containers import Container\n"
        "from itest.faults import active\n"
        "one = Container('c0ffee', 'itest-api', 'redis', 'redis:1', {}, {}, {}, 0)\n"
        "note = active.note(pathlib.Path(sys.argv[1]), 'pause redis', one, ('unpause', 'c0ffee'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=ROOT / "scripts")
    assert done.returncode == -signal.SIGKILL
    path, one = only(tmp_path)
    assert one.fault == "pause redis"
    with active._burying(path) as unheld:
        assert unheld


def test_two_commands_don_t_heal_it_at_once(tmp_path):
    path = active.note(tmp_path, "pause redis", container(), PAUSE, kept=True).path
    with active._burying(path) as first, active._burying(path) as second:
        assert (first, second) == (True, False)
        path.unlink()
    with active._burying(path) as unheld:
        assert not unheld


@pytest.mark.parametrize(
    ("verb", "state", "is_due"),
    [
        ("unpause", {"Paused": True, "Status": "paused"}, True),
        ("unpause", {}, False),
        ("start", {"Status": "exited"}, True),
        ("start", {}, False),
        ("exec", {}, True),
        ("exec", {"Status": "exited"}, False),
        ("run", {"Status": "exited"}, True),
    ],
)
def test_a_fault_that_is_over_by_itself_needs_no_healing(verb, state, is_due):
    assert active.DUE[verb](container(**state)) is is_due
