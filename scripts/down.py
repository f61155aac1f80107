"""Remove kept stacks: containers, network, data.

`make down SUITE=api` removes every kept stack of that suite, ALL=1 every one of this checkout.
"""

from itest import cli
from itest.errors import run_verb
from itest.stack.sweep import sweep


def main() -> None:
    given = cli.parse(__doc__, "suite", "all")
    swept = sweep(cli.ROOT, print)
    found = cli.stacks_to_remove(given)
    for one in found:
        one.down()
        print(f"removed {one.name}: {', '.join(sorted(one.containers))}")
    if not found and not swept:
        print("no stack of this checkout is running")


if __name__ == "__main__":
    run_verb(main)
