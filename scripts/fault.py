"""Faults of a kept stack: what stands and what can be; inject one, which stays; heal one, or all.

`make fault SUITE=api`, ARGS='latency shop postgres ms=200', ARGS='pause redis', ARGS='heal pause redis', ARGS=heal
"""

from itest import cli
from itest.errors import run_verb


def main() -> None:
    given = cli.parse(__doc__, "suite", "args")
    stack = cli.kept_stack(given)
    from itest.faults import byhand

    words, heal = given.arguments, f"make fault SUITE={stack.suite.name} ARGS=heal"
    if not words:
        stands = byhand.standing(stack)
        print("\n".join([*stands, f"heal all: {heal}"] if stands else [f"{stack.name}: no fault stands"]))
        print("\n".join(["", *byhand.possible(stack)]))
    elif words[0] == "heal":
        print("\n".join(f"healed {one}" for one in byhand.heal(stack, words[1:])) or "no fault stood")
    else:
        print(byhand.inject(stack, words))


if __name__ == "__main__":
    run_verb(main)
