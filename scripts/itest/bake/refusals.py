"""What was found out about a database that can't be baked, so that not every run finds it out again.

Kept in the checkout by the hash of all inputs, so that any change of one tries anew; and for a day only, as a time that
is too close to today may be far enough tomorrow.
"""

from __future__ import annotations

import time
from pathlib import Path

from itest.bake.inputs import Recipe
from itest.verdict import atomic

KEPT_FOR = 24 * 3600.0  # seconds


def known(root: Path, recipe: Recipe) -> str:
    """Why a recipe's bake was refused in the last 24 hours; empty where it wasn't."""
    file = _file(root, recipe)
    try:
        return file.read_text(encoding="utf-8") if time.time() - file.stat().st_mtime < KEPT_FOR else ""
    except OSError:
        return ""


def remember(root: Path, recipe: Recipe, reason: str) -> None:
    """Keep a reason, and forget those that are over. Raises OSError."""
    file = _file(root, recipe)
    atomic.write(file, reason)
    for other in file.parent.glob("*.txt"):
        if time.time() - other.stat().st_mtime >= KEPT_FOR:
            other.unlink(missing_ok=True)


def _file(root: Path, recipe: Recipe) -> Path:
    return root / "build" / "unbaked" / f"{recipe.service}-{recipe.hash}.txt"
