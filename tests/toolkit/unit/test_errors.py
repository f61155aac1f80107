"""The one error that a person sees, the order in which categories count, and how a verb ends."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from itest import errors
from itest.errors import EXIT_CODES, ItestError

# DESIGN.md: "Of several, the first in this order counts: 130, 2, 3, 4, 5, 6, 1, 0."
ORDER = ["interrupted", "usage", "engine", "image", "service", "data", "test", None]
CODES = [130, 2, 3, 4, 5, 6, 1, 0]


def test_exit_codes_are_those_of_the_design():
    assert [errors.exit_code(category) for category in ORDER] == CODES
    assert set(EXIT_CODES) == set(ORDER) - {None}


@pytest.mark.parametrize(("graver", "lighter"), list(itertools.combinations(ORDER, 2)))
def test_of_two_categories_the_graver_counts(graver, lighter):
    assert errors.worst([lighter, graver]) == graver
    assert errors.worst([graver, lighter]) == graver


def test_nothing_is_no_category():
    assert errors.worst([]) is None
    assert errors.worst([None, None]) is None


def test_an_error_is_told_as_what_happened_what_was_seen_and_what_mends_it():
    error = ItestError("service", "service shop: exited", hint="make logs", evidence="one\ntwo", cause="exited")
    assert str(error) == "itest: error: service shop: exited\n  one\n  two\nhint: make logs"
    assert error.cause == "exited"


def test_an_error_without_hint_or_cause_has_no_empty_lines_and_its_category_for_a_cause():
    error = ItestError("data", "migration V1: syntax error")
    assert (str(error), error.cause) == ("itest: error: migration V1: syntax error", "data")


def ended(main) -> int:
    with pytest.raises(SystemExit) as left:
        errors.run_verb(main)
    return left.value.code


def throws(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (5, 5)])
def test_a_verb_ends_with_what_it_returns(returned, code):
    assert ended(lambda: returned) == code


@pytest.mark.parametrize("category", EXIT_CODES)
def test_a_mistake_ends_a_verb_with_its_code_and_without_a_traceback(category, capsys):
    assert ended(throws(ItestError(category, "what went wrong", hint="do this"))) == EXIT_CODES[category]
    assert capsys.readouterr() == ("", "itest: error: what went wrong\nhint: do this\n")


def test_ctrl_c_ends_a_verb_with_130(capsys):
    assert ended(throws(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "itest: interrupted\n")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        errors.run_verb(throws(ZeroDivisionError()))


@pytest.mark.parametrize("lines", [1, 100_000])  # met at the end, and in the middle
def test_a_verb_whose_output_nobody_reads_any_more_ends_in_silence(lines):
    command = [sys.executable, "-c", f"from itest.errors import run_verb; run_verb(lambda: print('well\\n' * {lines}))"]
    scripts = Path(errors.__file__).parents[1]
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = subprocess.run(command, cwd=scripts, env={}, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (errors.PIPE_CLOSED, "")
