"""What itest costs against what you would do otherwise: a table, and build/bench.json. `make bench`

With PEERS=1 the mock server against WireMock instead, whose rows join those of the last run. It is fetched for that.
"""

import argparse

from itest import bench, bench_mock, cli, settings
from itest.errors import run_verb


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--pairs", type=int, default=7, help="pairs of runs per line")
    flags.add_argument("--peers", action="store_true", default=settings.read().peers, help="against other servers")
    given = flags.parse_args()
    measured = bench_mock if given.peers else bench
    measured.run(cli.ROOT, given.pairs, print)


if __name__ == "__main__":
    run_verb(main)
