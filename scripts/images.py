"""Make every image present that the suites need: pull it, or build it here. `make images [SUITE=a,b]`"""

from __future__ import annotations

from itest import cli, images, suite
from itest.errors import run_verb
from itest.faults import sidecar
from itest.machine import engine
from itest.stack.sweep import sweep


def main() -> None:
    given = cli.parse(__doc__, "suite", "profile")
    engine.ensure(cli.note)
    sweep(cli.ROOT, cli.note)
    loaded = [suite.load(cli.ROOT, name, given.profile) for name in given.suites or suite.names(cli.ROOT)]
    needs = [need for one in loaded for need in [*images.needs_of(one.config), *sidecar.needs(one)]]
    reports = images.ensure(needs, cli.note)
    print(images.table(reports))


if __name__ == "__main__":
    run_verb(main)
