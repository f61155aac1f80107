"""Remove kept stacks: containers, network, data. What goes is listed first.

`make down SUITE=api` removes every kept stack of that suite, ALL=1 every one of this checkout.
"""

from itest import cli
from itest.errors import run_verb
from itest.stack import keeping
from itest.stack.sweep import sweep


def main() -> None:
    given = cli.parse(__doc__, "suite", "all")
    swept = sweep(cli.ROOT, print)
    found = cli.stacks_to_remove(given)
    for one in found:
        print(f"removing {one.name}: {keeping.contents(one)}", flush=True)
    for one in found:
        keeping.remove(one)
        print(f"removed {one.name}", flush=True)
    left = [(one, held) for one in cli.suites_to_remove(given) if (held := keeping.remains(one))]
    for suite, held in left:
        print(f"removing {suite.kept_name}: {held}, left by docker compose down", flush=True)
        keeping.remove_remains(suite)
    if not found and not swept and not left:
        print(f"no stack of {given.suite or 'this checkout'} is running")


if __name__ == "__main__":
    run_verb(main)
