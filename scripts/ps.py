"""The services of a kept stack, their state and where they answer. `make ps SUITE=api`"""

from itest import byhand, cli
from itest.errors import run_verb


def main() -> None:
    print(byhand.table(cli.kept_stack(cli.parse(__doc__, "suite"))))


if __name__ == "__main__":
    run_verb(main)
