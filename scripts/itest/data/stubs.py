"""What a suite's mock answers in every test: `stubs/` of its fixture folders, later folders before earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itest.suite import envfile
from itest.suite.suite import Suite

if TYPE_CHECKING:
    from itest.mock.stubs import Stub

FOLDER = "stubs"
VARIABLE = "MOCK_STUBS"  # by which compose tells a mock the folders
CONTRACTS = "contracts"  # of a folder of stubs


def read(folders: Iterable[Path], *, root: Path) -> tuple[Stub, ...]:
    """The stubs of some folders of fixtures (relative to root), which keep the contracts of their third parties.

    Raises ItestError (usage) with file and line.
    """
    found = [folder / FOLDER for folder in folders if (root / folder / FOLDER).is_dir()]
    return tuple(stub for folder in found for stub in _read(folder, root))


def check(suite: Suite) -> None:
    """Refuse a mock that would answer otherwise by plain compose than in tests. Raises ItestError (usage)."""
    wanted = [str(folder / FOLDER) for folder in suite.fixtures if (suite.root / folder / FOLDER).is_dir()]
    for name in (name for name, service in suite.services.items() if service.kind == "mock"):
        told = (suite.config["services"][name].get("environment") or {}).get(VARIABLE) or ""
        if (folders := [str(Path(folder)) for folder in told.split()]) != wanted:
            problem = f"names {_listed(folders)}, but `fixtures:` in {suite.files[-1].path} lead to {_listed(wanted)}"
            line = f'{VARIABLE}="{" ".join(wanted)}"' if len(wanted) > 1 else f"{VARIABLE}={''.join(wanted)}"
            hint = line if wanted else "remove it, or add its set to `fixtures:`"
            raise envfile.read(suite.root, suite.env_files[0]).wrong(VARIABLE, problem, hint)


def _listed(folders: Sequence[str]) -> str:
    return ", then ".join(folders) or "no stubs"


def _read(folder: Path, root: Path) -> tuple[Stub, ...]:
    from itest.mock import stubfile

    stubs = stubfile.read_folder(root, folder)
    if (root / folder / CONTRACTS).is_dir():
        from itest import stubcheck

        stubcheck.check(root, folder, stubs)
    return stubs


def load(stubs: Sequence[Stub], address: str) -> bool:
    """Make these a mock's stubs. address: its admin port's URL. Returns whether they are others than it had.

    Raises ItestError (service) where it can't be reached.
    """
    from itest.mocking.admin import Admin

    with Admin(address) as admin:
        return admin.load([stub.as_data() for stub in stubs])
