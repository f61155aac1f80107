"""Wait until every service of a kept stack is ready for tests. `make wait SUITE=api`"""

from itest import cli, data
from itest.data import migrate
from itest.errors import ItestError, run_verb
from itest.stack import ready
from itest.stack.stack import Stack


def main() -> None:
    given = cli.parse(__doc__, "suite", "timeout_factor")
    stack = cli.kept_stack(given)
    stores = stack.suite.stores
    rest = tuple(name for name in stack.suite.services if name not in stores)
    _wait(stack, stores, given.timeout_factor)
    if rest:
        _refuse_empty(stack)
        _wait(stack, rest, given.timeout_factor)


def _wait(stack: Stack, services: tuple[str, ...], factor: float) -> None:
    with ready.started_before(stack.suite.name):
        found = ready.wait_ready(stack.targets(services), factor=factor)
    for name, one in found.items():
        print(f"{name} is ready ({one.ready_s:.2f} s, {one.attempts} tries)")


def _refuse_empty(stack: Stack) -> None:
    """Raise where no migration was applied: an application without its tables would be waited for in vain."""
    plan = data.plan(stack.suite)
    if plan.migrations and not any(
        state.applied_at for state in migrate.status(stack.dsn(plan.databases[0]), plan.migrations)
    ):
        hint = f"make up SUITE={stack.suite.name}"
        raise ItestError("data", f"stack {stack.name}: the database is not migrated", hint=hint, cause="unmigrated")


if __name__ == "__main__":
    run_verb(main)
