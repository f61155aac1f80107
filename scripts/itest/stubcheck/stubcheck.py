"""Which contract holds for which stub, and whether all was checked before: then it costs reading the files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from itest.errors import ItestError
from itest.mock.incoming import Incoming
from itest.mock.matching import differences
from itest.mock.stubs import Request, Stub, Value
from itest.stubcheck.findings import Finding, error_of
from itest.stubcheck.node import Node, read
from itest.suite.schema import nearest
from itest.verdict import atomic

FOLDER = "contracts"  # of a folder of stubs; a file in it has the name of the host whose promises it holds
SUFFIXES = (".yaml", ".yml", ".json")
STAMPS = Path("build/stubcheck")


@dataclass(frozen=True)
class Contract:
    """One file of contracts. host: whose stubs it is for."""

    host: str
    document: Node

    @property
    def path(self) -> Path:
        return self.document.file.path


def check(root: Path, folder: Path, stubs: Sequence[Stub]) -> None:
    """Hold the stubs of a folder (relative to root) against its contracts; nothing where it has none.

    Raises ItestError (usage), which names every stub that breaks one with file and line, and the line of the contract.
    """
    paths = sorted(_files(root, folder / FOLDER))
    if not paths:
        return
    stamp = root / STAMPS / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    now = _fingerprint(root / folder)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == now:
        return
    contracts = [Contract(path.stem.lower(), read(root, path)) for path in paths]
    found = [finding for contract in contracts for finding in _findings(contract, contracts, stubs)]
    if found:
        raise error_of(root, found)
    with contextlib.suppress(OSError):  # it will be checked again
        atomic.write(stamp, now)


def _files(root: Path, folder: Path) -> Iterator[Path]:
    for file in (root / folder).iterdir() if (root / folder).is_dir() else ():
        if file.name.startswith(".") or file.name == "README.md":
            continue
        if file.suffix not in SUFFIXES:
            problem = f"{folder / file.name}: no contract, which is an OpenAPI 3 document or a pact"
            raise ItestError("usage", problem, hint="<host>.yaml or <host>.json", cause="config")
        yield folder / file.name


def _findings(contract: Contract, contracts: Sequence[Contract], stubs: Sequence[Stub]) -> list[Finding]:
    from itest.stubcheck import openapi, pact

    checker = openapi if "openapi" in contract.document else pact if "interactions" in contract.document else None
    if checker is None:
        hint = "it has `openapi: 3.…` or `interactions` at its top; a Swagger 2 document can be converted to OpenAPI 3"
        raise ItestError("usage", f"{contract.path}: neither OpenAPI 3 nor a pact", hint=hint, cause="config")
    theirs = [stub for stub in stubs if _is_for(stub, contract.host)]
    if not theirs:
        problem = f"{contract.path}: no stub is for the host {contract.host}, so it holds for nothing"
        hosts = {str(stub.request.host.what) for stub in stubs if stub.request.host}
        raise ItestError(
            "usage", problem, hint=f"its name is the host's: {nearest(contract.host, hosts)}", cause="config"
        )
    # A stub without a host answers for all of them: with several contracts it is held against those that know its path.
    others = [other.document for other in contracts if other is not contract]
    theirs = [stub for stub in theirs if stub.request.host or not others or openapi.knows(contract.document, stub)]
    return list(checker.findings(contract.document, contract.host, theirs))


def _is_for(stub: Stub, host: str) -> bool:
    wanted = stub.request.host
    if wanted is None:
        return True
    if wanted.how == "equals":
        wanted = Value("equals", str(wanted.what).partition(":")[0])
    return next(differences(Request(host=wanted), Incoming.of("GET", "/", host=host)), None) is None


def _fingerprint(folder: Path) -> str:
    """Changes with any file of the stubs, their contracts, and the code that checks them."""
    total = hashlib.sha256()
    for file in [*sorted(folder.rglob("*")), *sorted(Path(__file__).parent.glob("*.py"))]:
        if file.is_file():
            total.update(f"{file}\0".encode() + file.read_bytes())
    return total.hexdigest()
