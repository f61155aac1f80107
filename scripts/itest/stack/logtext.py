"""Logs as a person wants to read them in an error: no lines of our own making, no line hundreds of times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from itest.suite.suite import Service

DIGITS = re.compile(r"\d+")  # a port, a counter or the time make no other line


def collapsed(lines: Iterable[str]) -> list[str]:
    """Runs of lines that differ in numbers at most become the last of them and `(294 times)`."""
    runs = [list(run) for _, run in groupby(lines, key=lambda line: DIGITS.sub("0", line))]
    return [run[-1] if len(run) == 1 else f"{run[-1]} ({len(run)} times)" for run in runs]


def unprobed(lines: Iterable[str], service: Service) -> Iterator[str]:
    """The lines without a service's access log of our own HTTP probes."""
    asked = [f"GET {check.value} " for check in service.checks if check.what == "http"]
    return (line for line in lines if not any(request in line for request in asked))
