"""Build `.venv` from the lock: one process at a time, told on stderr, the stamp last. Standard library only."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from itest.errors import ItestError
from itest.machine import apt, distro
from itest.machine.exclusive import exclusive
from itest.machine.venv import LOCK, PYTHON, ROOT, STAMP, VENV, is_current, stamp

LINES_SHOWN = 12


def make() -> None:
    """Make .venv anew, unless another process just did.

    Raises ItestError (engine) with cause foreign, ensurepip, install or pip.
    """
    waiting = "another process is preparing .venv; waiting for it …"
    with exclusive(Path(ROOT, "build", "venv.lock"), waiting=lambda: _report(waiting)):
        if is_current():
            return
        _refuse_foreign()
        started = time.monotonic()
        why = "its lock, Python or place changed" if Path(STAMP).exists() else "first run"
        _report(f"preparing .venv ({why}, about 15 s) …")
        _build()
        _report(f"prepared .venv in {time.monotonic() - started:.1f} s")


def _build() -> None:
    """An empty environment, the locked packages, the stamp. Until the end the stamp says that it isn't finished."""
    wheel = _pip_wheel()
    import venv  # only now: on Debian it may just have been installed

    Path(VENV).mkdir(exist_ok=True)
    Path(STAMP).write_text("unfinished\n", encoding="utf-8")
    for old in Path(VENV).iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old != Path(STAMP):
            old.unlink()
    venv.create(VENV, symlinks=True, with_pip=False)
    _pip_install(wheel)
    Path(STAMP).write_text(stamp(), encoding="utf-8")


def _refuse_foreign() -> None:
    """Raise for a .venv that somebody else made: it may hold what they need."""
    if Path(VENV).is_dir() and any(Path(VENV).iterdir()) and not Path(STAMP).exists():
        problem = f"{VENV}: it exists, and itest did not make it"
        hint = "move it away (mv .venv .venv-mine), or remove it: rm -r .venv"
        raise ItestError("engine", problem, hint=hint, cause="foreign")


def _pip_install(wheel: str) -> None:
    """Install the lock with the pip inside `wheel`; to install pip itself first, as `with_pip` does, takes 2 s more.

    Byte code is compiled (1 s): where PYTHONDONTWRITEBYTECODE is set, every later start would pay for it again.
    """
    # A user's pip.conf counts, but for its `user = true`, which a virtual environment refuses.
    options = ["--require-hashes", "--quiet", "--no-input", "--no-user", "--disable-pip-version-check"]
    done = subprocess.run(
        [PYTHON, f"{wheel}/pip", "install", *options, "--requirement", LOCK],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=pip_environment(os.environ),
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-LINES_SHOWN:])
        raise ItestError(
            "engine",
            f".venv: pip cannot install scripts/requirements.lock, exit code {done.returncode}\n{tail}",
            hint="this needs a package index once: go online, or set HTTPS_PROXY for a proxy, PIP_INDEX_URL for a "
            "private index, SSL_CERT_FILE for a CA bundle of your own; then run the same command again",
            cause="pip",
        )


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip, which takes the host's CA bundle from PIP_CERT or its own configuration only."""
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("SSL_CERT_FILE")
    return {**({"PIP_CERT": bundle} if bundle else {}), **environment}


def _pip_wheel() -> str:
    """Path of the wheel of pip that comes with Python; where Debian split it off, root installs it."""
    if wheel := _find_pip_wheel():
        return wheel
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    of_apt = distro.read().id in ("debian", "ubuntu") and os.path.realpath(sys.executable).startswith("/usr/bin/")
    if of_apt and os.geteuid() == 0 and os.environ.get("ITEST_ENGINE") != "off":
        apt.install([package], _report)
        importlib.invalidate_caches()
        if wheel := _find_pip_wheel():
            return wheel
    raise ItestError(
        "engine",
        f"Python {sys.executable}: it comes without ensurepip, so .venv cannot be made",
        hint=f"sudo apt-get install {package}" if of_apt else "install a complete Python 3.10 or newer, venv included",
        cause="ensurepip",
    )


def _find_pip_wheel() -> str:
    """Where ensurepip itself looks: beside it, or where the distributor keeps wheels (--with-wheel-pkg-dir); or ""."""
    ensurepip = find_spec("ensurepip")
    if not ensurepip or not ensurepip.origin or not find_spec("venv"):
        return ""
    folders = [
        Path(ensurepip.origin).parent / "_bundled",
        Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or os.devnull),
    ]
    return next((str(wheel) for folder in folders for wheel in folder.glob("pip-*.whl")), "")


def _report(line: str) -> None:
    sys.stderr.write(f"itest: {line}\n")
