"""Write stubs of what the real services answer to a suite's tests, secrets masked. `make record SUITE=external`

Where they are and what is secret is in fixtures/<set>/record.yaml. ARGS=--check writes nothing, and says what the real
services do otherwise by now. Exit code: 0; 1 for a difference or red tests; 6 where a value could be a secret.
"""

from itest import cli, suite
from itest.console import Console
from itest.errors import ItestError, exit_code, run_verb


def main() -> int:
    given = cli.parse(__doc__, "suite", "args")
    from itest.recording import record, rules, session

    if given.arguments not in ([], [record.CHECK]):
        hint = f"ARGS={record.CHECK}, or none: all tests of a suite are recorded"
        raise ItestError("usage", f"record: unknown arguments {given.args}", hint=hint, cause="arguments")
    console = Console()
    one = suite.load(cli.ROOT, cli.one_suite(given).name, session.PROFILE)
    session.mock_of(one)  # before rules are asked for, which alone would not help
    said = rules.find(one)
    if not given.arguments:
        console.print("\n".join(record.record(one, said, console.note)))
        return 0
    found = record.check(one, said, console.note)
    console.print("\n".join(found) or f"{said.folder}: as recorded")
    return exit_code("test") if found else 0


if __name__ == "__main__":
    run_verb(main)
