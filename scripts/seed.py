"""Bring a kept stack back to its seeded state, with the fixtures as they are now. `make seed SUITE=api`"""

from itest import byhand, cli
from itest.errors import run_verb


def main() -> None:
    print(byhand.reseed(cli.kept_stack(cli.parse(__doc__, "suite"))))


if __name__ == "__main__":
    run_verb(main)
