"""make engine: a Docker engine that answers. Says what is there; installs and starts one where that is possible.

ITEST_ENGINE=off only looks. Needs no virtual environment, so that `sudo make engine` leaves none that root owns.
"""

from __future__ import annotations

import subprocess
import sys

from itest import settings
from itest.errors import run_verb
from itest.machine import engine


def main() -> None:
    settings.read()  # refuses a mistyped ITEST_ENGINE, which would install what it was to forbid
    found = engine.ensure(lambda line: print(f"itest: {line}", file=sys.stderr, flush=True))
    buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True, text=True, check=False)
    print(f"engine   {found.server_version}  {found.host}")
    print(f"compose  {found.compose_version}")
    print(f"buildx   {buildx.stdout.split()[1] if not buildx.returncode else 'missing: images are built without it'}")


if __name__ == "__main__":
    run_verb(main)
