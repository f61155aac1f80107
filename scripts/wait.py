"""Wait until every service of a kept stack is ready for tests. `make wait SUITE=api`"""

from itest import cli
from itest.errors import run_verb
from itest.stack import ready


def main() -> None:
    given = cli.parse(__doc__, "suite", "timeout_factor")
    stack = cli.kept_stack(given)
    done = ready.wait_ready(stack.targets(stack.suite.services), factor=given.timeout_factor)
    for name, one in done.items():
        print(f"{name} is ready ({one.ready_s:.2f} s, {one.attempts} tries)")


if __name__ == "__main__":
    run_verb(main)
