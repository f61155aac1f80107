"""Make every image present that the suites need: pull it, or build it here. `make images [SUITE=a,b]`"""

from __future__ import annotations

import sys

from itest import cli, images, suite
from itest.errors import run_verb
from itest.machine import engine


def main() -> None:
    given = cli.parse(__doc__, "suite", "profile")
    engine.ensure(_say)
    loaded = [suite.load(cli.ROOT, name, given.profile) for name in given.suites or suite.names(cli.ROOT)]
    reports = images.ensure([need for one in loaded for need in images.needs_of(one.config)], _say)
    print(images.table(reports))


def _say(line: str) -> None:
    print(f"itest: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_verb(main)
