"""What a suite's mock answers in every test: `stubs/` of its fixture folders, later folders before earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itest.mock.stubs import Stub

FOLDER = "stubs"
CONTRACTS = "contracts"  # of a folder of stubs


def read(folders: Iterable[Path], *, root: Path) -> tuple[Stub, ...]:
    """The stubs of some folders of fixtures (relative to root), which keep the contracts of their third parties.

    Raises ItestError (usage) with file and line.
    """
    found = [folder / FOLDER for folder in folders if (root / folder / FOLDER).is_dir()]
    return tuple(stub for folder in found for stub in _read(folder, root))


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
