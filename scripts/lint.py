"""Formatting, lint and types: ruff and mypy over all that this repository holds. `make lint`"""

import subprocess
import sys

from itest.cli import ROOT

CHECKS = (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"])

if __name__ == "__main__":
    failed = [check for check in CHECKS if subprocess.run([sys.executable, "-m", *check], cwd=ROOT).returncode]
    sys.exit(bool(failed))
