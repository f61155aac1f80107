"""The logs of a kept stack, or of one service. `make logs SUITE=api SERVICE=shop ARGS='--follow --tail 20'`"""

from itest import cli
from itest.errors import run_verb


def main() -> None:
    given = cli.parse(__doc__, "suite", "service", "args")
    stack = cli.kept_stack(given)
    services = [cli.service_of(given, stack)] if given.service else []
    cli.become(stack.project.command("logs", *given.arguments, *services))


if __name__ == "__main__":
    run_verb(main)
