"""Apply the pending migrations of a kept stack and print all of them. `make migrate SUITE=api`"""

from itest import cli, migrate
from itest.errors import run_verb


def main() -> None:
    stack = cli.kept_stack(cli.parse(__doc__, "suite"))
    raise NotImplementedError(migrate, stack)


if __name__ == "__main__":
    run_verb(main)
