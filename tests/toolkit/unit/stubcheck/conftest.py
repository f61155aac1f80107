"""A folder of stubs with a contract, checked as a run would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from itest import stubcheck
from itest.errors import ItestError
from itest.mock import stubfile

FOLDER = Path("fixtures/shop/stubs")
Check = Callable[..., list[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Gives what is wrong, line by line, without the contract's folder; [] where nothing is."""

    def run(stubs: str, **contracts: str) -> list[str]:
        """contracts: by host, with `_` for its dots; JSON begins with a brace."""
        (tmp_path / FOLDER / "contracts").mkdir(parents=True, exist_ok=True)
        (tmp_path / FOLDER / "stubs.yaml").write_text(stubs, encoding="utf-8")
        for host, text in contracts.items():
            name = f"{host.replace('_', '.')}.{'json' if text.startswith('{') else 'yaml'}"
            (tmp_path / FOLDER / "contracts" / name).write_text(text, encoding="utf-8")
        try:
            stubcheck.check(tmp_path, FOLDER, stubfile.read_folder(tmp_path, FOLDER))
        except ItestError as error:
            said = [error.message, *error.evidence.splitlines(), f"hint: {error.hint}"]
            return [line.replace(f"{FOLDER}/contracts/", "").replace(f"{FOLDER}/", "") for line in said]
        return []

    return run
