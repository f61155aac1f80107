"""Kept stacks: their services, the state of each and where it answers. `make ps`, or `make ps SUITE=api`"""

from itest import byhand, cli
from itest.errors import run_verb


def main() -> None:
    given = cli.parse(__doc__, "suite")
    stacks = cli.kept_stacks(given) or ([cli.kept_stack(given)] if given.suite else [])
    print("\n\n".join(f"{one.name}\n{byhand.table(one)}" for one in stacks) or "no stack of this checkout is running")


if __name__ == "__main__":
    run_verb(main)
