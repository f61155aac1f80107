"""The logs of a kept stack, or of one service. `make logs SUITE=api SERVICE=shop ARGS='--follow --tail 20'`"""

import sys

from itest import cli
from itest.errors import run_verb


def main() -> int:
    given = cli.parse(__doc__, "suite", "service", "args")
    stack = cli.kept_stack(given)
    services = [cli.service_of(given, stack)] if given.service else []
    command = stack.project.command("logs", *given.arguments, *services)
    if sys.stdout.isatty():
        cli.become(command)
    return cli.pass_on(command, without=b"\x1b[2K")  # compose clears each line, in a pipe and with --ansi never too


if __name__ == "__main__":
    run_verb(main)
