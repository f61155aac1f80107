"""Kept stacks: until when, their services, the state of each and where it answers. `make ps`, or `make ps SUITE=api`"""

from itest import byhand, cli
from itest.errors import run_verb
from itest.faults import byhand as faults
from itest.stack import keeping


def main() -> None:
    given = cli.parse(__doc__, "suite")
    stacks = cli.kept_stacks(given) or ([cli.kept_stack(given)] if given.suite else [])
    told = (
        "\n".join(filter(None, (f"{one.name}  {keeping.told(one)}", faults.left_standing(one), byhand.table(one))))
        for one in stacks
    )
    print("\n\n".join(told) or "no stack of this checkout is running")


if __name__ == "__main__":
    run_verb(main)
