"""What `make itest` does, while faults come and go by a seeded schedule; after each all has to be steady again.

`make chaos SUITE=api SEED=42`; without SEED the schedule is another one every time, and its seed is told.
"""

from itest.errors import run_verb


def main() -> int:
    from itest import cli  # in here, so that a Ctrl-C while it loads is heard as one

    given = cli.parse(__doc__, "suite", "tags", "jobs", "keep", "profile", "args", "timeout_factor", "seed")
    from itest import chaos, run
    from itest.console import Console

    given, console = chaos.seeded(given), Console()
    console.note(f"chaos of seed {given.seed}")  # first: whatever ends the run, it can be had again
    return run.run(cli.ROOT, given, console)


if __name__ == "__main__":
    run_verb(main)
