"""The secrets of a run: generated where nobody gave one, and told to whoever masks them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from itest.images.build import pip_settings
from itest.suite import envfile
from itest.suite.suite import Suite
from itest.verdict import known
from itest.verdict.mask import Masker


def make(chosen: Sequence[Suite], arguments: Sequence[str], masker: Masker) -> None:
    """Give every secret variable of the layers a random value, unless the caller or an env file has one.

    The masker learns these, and what is secret in env files, pytest's arguments and what builds get from the host.
    """
    files = [envfile.read(suite.root, path).values for suite in chosen for path in suite.env_files]
    names = {name for suite in chosen for name in suite.secret_names}
    for name in names:
        if not any(values.get(name) for values in files):  # one of this process's environment would beat it
            os.environ.setdefault(name, secrets.token_hex(16))
    masker.learn(os.environ.get(name, "") for name in names)
    masker.learn(known.in_command(arguments), *map(known.in_variables, [os.environ, *files, pip_settings()]))
    masker.learn(known.in_file(Path(os.environ.get("ITEST_PIP_ENV", ""))))
