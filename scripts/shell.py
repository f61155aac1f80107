"""A shell, or a command, in a service of a kept stack.

`make shell SUITE=api SERVICE=postgres ARGS='psql -U postgres app'`
"""

import sys

from itest import cli
from itest.errors import run_verb


def main() -> None:
    given = cli.parse(__doc__, "suite", "service", "args")
    stack = cli.kept_stack(given)
    terminal = [] if sys.stdin.isatty() else ["--no-TTY"]
    service = cli.service_of(given, stack)
    cli.become(stack.project.command("exec", *terminal, service, *(given.arguments or ["sh"])))


if __name__ == "__main__":
    run_verb(main)
