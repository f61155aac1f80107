"""Start, migrate and seed a stack that stays, and tell where it answers. `make up SUITE=api`"""

from itest import byhand, cli
from itest.console import Console
from itest.errors import run_verb


def main() -> None:
    given = cli.parse(__doc__, "suite", "profile", "timeout_factor")
    console = Console()
    console.print(byhand.describe(byhand.up(cli.one_suite(given), given, console)))


if __name__ == "__main__":
    run_verb(main)
