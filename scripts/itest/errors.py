"""The one error that a person sees. Everything else is a bug and keeps its traceback.

Standard library only: what runs before the virtual environment exists raises it too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

Category = Literal["interrupted", "usage", "engine", "image", "service", "data", "test"]

# In the order in which they count when several suites ended differently (DESIGN: exit codes).
EXIT_CODES: dict[Category, int] = {
    "interrupted": 130,
    "usage": 2,
    "engine": 3,
    "image": 4,
    "service": 5,
    "data": 6,
    "test": 1,
}

PIPE_CLOSED = 141  # 128 + SIGPIPE: nobody reads the output any more, so it didn't end as it would have


class ItestError(Exception):
    """What went wrong in words that a stranger understands, and how to mend it.

    category: one of EXIT_CODES; decides the exit code.
    message:  "<what> <which>: <cause>", no trailing period.
    hint:     a command or an edit that mends it.
    cause:    the finer reason, one word: "oom", "pull", "migration", "timeout" …
    evidence: what was seen, several lines: the last probe, the health log, the end of a log.
    service:  the one that it is about, if any.
    chain:    what came of it, the first first: a service that died with it, a migration that lost its database.
    """

    def __init__(
        self,
        category: Category,
        message: str,
        *,
        hint: str = "",
        cause: str = "",
        evidence: str = "",
        service: str = "",
        chain: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.category: Category = category
        self.message = message
        self.hint = hint
        self.cause = cause or category
        self.evidence = evidence
        self.service = service
        self.chain = tuple(chain)

    def followed_by(self, chain: Sequence[str]) -> ItestError:
        """This error, with more that came of it."""
        self.chain = (*self.chain, *chain)
        return self

    def __str__(self) -> str:
        evidence = [f"  {line}" for line in self.evidence.splitlines()]
        evidence += [f"  then: {line}" for line in self.chain]
        hint = [f"hint: {self.hint}"] if self.hint else []
        return "\n".join([f"itest: error: {self.message}", *evidence, *hint])


def worst(categories: Iterable[Category | None]) -> Category | None:
    """The category that decides the exit code, or None when all is well."""
    present = set(categories)
    return next((category for category in EXIT_CODES if category in present), None)


def exit_code(category: Category | None) -> int:
    """The exit code of a category; 0 for None."""
    return 0 if category is None else EXIT_CODES[category]


def run_verb(main: Callable[[], int | None]) -> None:
    """Run a verb's main and leave with its exit code; a person's mistake shows no traceback."""
    try:
        code = main() or 0
        sys.stdout.flush()  # here, or Python tells of a closed pipe at its end
    except BrokenPipeError:  # `make fault | head -3`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except ItestError as error:
        print(error, file=sys.stderr)
        code = EXIT_CODES[error.category]
    except KeyboardInterrupt:
        print("itest: interrupted", file=sys.stderr)
        code = EXIT_CODES["interrupted"]
    sys.exit(code)
