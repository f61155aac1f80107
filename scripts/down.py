"""Remove a kept stack: containers, network, data. `make down SUITE=api`, or ALL=1 for every one of this checkout."""

from itest import cli, stack, suite
from itest.errors import run_verb


def main() -> None:
    given = cli.parse(__doc__, "suite", "all")
    if not given.all:
        found = [cli.kept_stack(given)]
    else:
        every = (suite.load(cli.ROOT, name) for name in given.suites or suite.names(cli.ROOT))
        found = [stack.attach(one, project) for one in every for project in stack.kept(one)]
    for one in found:
        one.down()
        print(f"removed {one.name}: {', '.join(sorted(one.containers))}")
    if not found:
        print("no stack of this checkout is running")


if __name__ == "__main__":
    run_verb(main)
