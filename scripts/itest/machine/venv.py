"""Make sure that `.venv` matches scripts/requirements.lock, then become the program that needs it.

    python3 scripts/itest/machine/venv.py scripts/run.py ARGS…    make sure of .venv, then run the script in it
    python3 scripts/itest/machine/venv.py                         only make sure of .venv

A stamp inside .venv, true once all is done, says what it was made from. While that is current this costs a few
milliseconds, so nothing is imported that only venv_build.py needs. It may run from inside the very .venv that gets
replaced: it then goes on in the Python behind that. Standard library only.
"""

# ruff: noqa: PTH100, PTH118, PTH120
# pathlib takes as long to import as all the rest does to run.

from __future__ import annotations

import hashlib
import os
import sys

OLDEST_PYTHON = (3, 10)
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
LOCK = os.path.join(ROOT, "scripts", "requirements.lock")
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "itest-stamp")


def is_current() -> bool:
    """Whether .venv is complete and made from this lock, for this Python, at this place."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            return file.read() == stamp()
    except FileNotFoundError:
        return False


def stamp() -> str:
    """What .venv depends on: the lock, Python's minor version, its own path (the scripts in its bin/ name that)."""
    with open(LOCK, "rb") as file:
        lock = hashlib.sha256(file.read()).hexdigest()
    return f"lock sha256:{lock}\npython {sys.version_info[0]}.{sys.version_info[1]}\npath {os.path.realpath(VENV)}\n"


def become(argv: list[str]) -> None:
    """Replace this process by a script and its arguments, run in .venv; nothing where there is no script."""
    if argv:
        os.execv(PYTHON, [PYTHON, *argv])


def leave() -> None:
    """Out of a virtual environment: start again in the Python that it was made from."""
    # Python 3.10 takes the environment's own for its base.
    base: str = getattr(sys, "_base_executable", sys.executable)
    if base == sys.executable:
        base = os.path.realpath(base)
    if sys.prefix != sys.base_prefix and base != sys.executable:
        os.execv(base, [base, *sys.orig_argv[1:]])


def main() -> None:
    """Make .venv, then become what the command line names. Raises ItestError (engine), as venv_build.make does."""
    from itest.machine.venv_build import make

    make()
    become(sys.argv[1:])


def check_python() -> None:
    """Leave with exit code 3 on an old Python, in words that it still understands: it can't import errors.py."""
    if sys.version_info < OLDEST_PYTHON:
        sys.stderr.write(
            f"itest: error: Python {sys.executable}: version {sys.version.split()[0]} is too old, "
            f"itest needs {'.'.join(map(str, OLDEST_PYTHON))} or newer\n"
            "hint: install a newer one and call this once with it: python3.13 scripts/itest/machine/venv.py\n"
        )
        sys.exit(3)


if __name__ == "__main__":
    # As a script, this folder leads the search path, and the file itself would hide the standard library's venv.
    sys.path[0] = os.path.join(ROOT, "scripts")
    if is_current():
        become(sys.argv[1:])
    else:
        check_python()
        leave()
        from itest.errors import run_verb

        run_verb(main)
