"""The data stage: migrations as production would run them, then fixtures, then the baseline that tests return to."""

from __future__ import annotations

from collections.abc import Mapping

from itest.suite import Suite


def prepare(suite: Suite, dsns: Mapping[str, str]) -> str:
    """Migrate and seed the stores of a suite. dsns: service -> connection string. Says what was done.

    Raises ItestError (data), naming file, line or row.
    """
    raise NotImplementedError
