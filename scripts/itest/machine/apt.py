"""Install packages of the distribution by apt-get, for root on Debian and Ubuntu.

Standard library only: it runs before the virtual environment exists.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence

from itest.errors import ItestError

LINES_SHOWN = 12
# Asks nothing, keeps the owner's configuration files, waits (seconds) for another apt-get, tries a mirror again.
APT_GET = (
    "apt-get",
    "--yes",
    "--quiet",
    "--no-install-recommends",
    "-oDpkg::Options::=--force-confold",
    "-oDPkg::Lock::Timeout=300",
    "-oAcquire::Retries=3",
)


def install(packages: Sequence[str], report: Callable[[str], None], *, refresh: bool = False) -> None:
    """Install `packages` (names, or name/release) and what they need, but nothing that they only recommend.

    The package lists are fetched where `refresh` says so (a source is new), or where installing fails without.
    Raises ItestError (engine, cause "install") with what apt-get complained about.
    """
    started = time.monotonic()
    report(f"installing {' '.join(packages)} by apt-get …")
    code, said = (1, "") if refresh else _apt_get("install", *packages)
    if code:
        # A failing update is no verdict: one dead third-party source fails it, and what is needed here may still come.
        _, complaints = _apt_get("update")
        code, said = _apt_get("install", *packages)
        said = complaints + said
    if code:
        command = shlex.join(["apt-get", "install", "--no-install-recommends", *packages])
        raise ItestError(
            "engine",
            f"apt-get install {' '.join(packages)}: exit code {code}\n{_complaints(said)}",
            hint=f"mend what it says above (offline? a proxy? a private mirror?), then: apt-get update && {command}",
            cause="install",
        )
    report(f"installed in {time.monotonic() - started:.0f} s")


def _apt_get(*command: str) -> tuple[int, str]:
    """Run apt-get to its end; exit code and output.

    It has a session of its own and is waited for even after Ctrl-C: stopped halfway, dpkg would stay half configured.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        [*APT_GET, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            process.communicate()
            raise
    return process.returncode, output


def _complaints(output: str) -> str:
    """The lines of apt-get's output that tell what is wrong; its last ones where none is marked as such."""
    lines = [line for line in output.splitlines() if line.strip()]
    echoes = "Couldn't find any package by"  # follow every "Unable to locate package"
    marked = [line for line in lines if line.startswith(("E:", "W:", "Err:", "dpkg:")) and echoes not in line]
    return "\n".join((list(dict.fromkeys(marked)) or lines)[-LINES_SHOWN:])
