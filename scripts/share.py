"""Pack why the latest run is red into one small file for an issue, secrets masked once more, and print what to paste.

`make share`, or `make share ARGS=<run>` for another run of build/itest/. Exit code: 0, also where nothing was red.
"""

import os

from itest import cli
from itest.errors import run_verb
from itest.verdict import known, share
from itest.verdict.mask import Masker


def main() -> None:
    given = cli.parse(__doc__, "args")
    run = share.find(cli.ROOT, given.arguments)
    shared = share.pack(run, Masker(known.in_variables(os.environ)))
    print(share.told(shared, cli.ROOT))


if __name__ == "__main__":
    run_verb(main)
