"""Print the addresses of a kept stack as shell variables.

`eval "$(make -s env SUITE=api)"; psql "$ITEST_POSTGRES_DSN"`
"""

import shlex
import sys

from itest import byhand, cli
from itest.errors import run_verb


def main() -> None:
    stack = cli.kept_stack(cli.parse(__doc__, "suite"))
    for name, value in stack.discovery().items():
        print(f"export {name}={shlex.quote(value)}")
    for reason in byhand.left_out(stack):
        print(f"itest: left out: {reason}", file=sys.stderr)


if __name__ == "__main__":
    run_verb(main)
