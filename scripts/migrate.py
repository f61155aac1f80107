"""Apply the pending migrations of a kept stack and print all of them. `make migrate SUITE=api`"""

from itest import cli, data
from itest.data import migrate
from itest.errors import run_verb


def main() -> None:
    stack = cli.kept_stack(cli.parse(__doc__, "suite"))
    plan = data.plan(stack.suite)
    if not plan.migrations:
        print(f"suite {stack.suite.name} has no migrations")
        return
    dsn = stack.dsn(plan.databases[0])
    pending = {state.migration.version for state in migrate.status(dsn, plan.migrations) if state.applied_at is None}
    data.prepare(plan, stack.stores())
    for state in migrate.status(dsn, plan.migrations):
        word = "applied now" if state.migration.version in pending else "applied"
        print(f"{word:11}  {state.applied_at:%Y-%m-%d %H:%M:%S}  {state.ms:6.1f} ms  {state.migration.file.path}")


if __name__ == "__main__":
    run_verb(main)
