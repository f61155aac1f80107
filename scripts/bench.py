"""What itest costs against what you would do otherwise: a table, and build/bench.json. `make bench`"""

import argparse

from itest import bench, cli
from itest.errors import run_verb


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--pairs", type=int, default=7, help="pairs of runs per line")
    bench.run(cli.ROOT, flags.parse_args().pairs, print)


if __name__ == "__main__":
    run_verb(main)
