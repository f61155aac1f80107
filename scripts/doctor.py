"""What keeps the suites from running here, or makes them slow, brittle or unsafe: of the machine and of the files.

`make doctor`, SUITE=a,b for some of them, ARGS=--json (here: --json) for a program. Nothing is changed. With
PROFILE=sealed it tries whether the engine keeps the seal, on networks of its own, which takes two seconds more.
Exit code: 0 without an error; else that of the worst: 2 the files, 3 the engine or the machine, 4 an image, 6 the data.
"""

import sys

from itest import cli, suite
from itest.doctor import examine, exit_code, show
from itest.errors import ItestError, run_verb

JSON = "--json"


def main() -> int:
    given = cli.parse(__doc__, "suite", "profile", arguments=[one for one in sys.argv[1:] if one != JSON])
    if other := [one for one in given.arguments if one != JSON]:
        raise ItestError("usage", f"unknown argument {other[0]}", hint=f"ARGS={JSON}", cause="arguments")
    diagnosis = examine(cli.ROOT, given.suites or suite.names(cli.ROOT), given.profile)
    wanted = show.as_json if JSON in (*sys.argv, *given.arguments) else show.text
    print(wanted(diagnosis))
    return exit_code(diagnosis.findings)


if __name__ == "__main__":
    run_verb(main)
