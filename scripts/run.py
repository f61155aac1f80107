"""Run the suites and give one verdict: exit code, build/itest/latest/junit.xml and summary.json. `make itest`"""

from itest.errors import run_verb


def main() -> int:
    from itest import cli  # in here, so that a Ctrl-C while it loads is heard as one

    given = cli.parse(__doc__, "suite", "tags", "jobs", "keep", "profile", "args", "timeout_factor")
    from itest import run
    from itest.console import Console

    return run.run(cli.ROOT, given, Console())


if __name__ == "__main__":
    run_verb(main)
