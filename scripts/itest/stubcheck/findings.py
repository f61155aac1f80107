"""What a stub does that its contract does not promise, told at the line of the stub where that stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itest.errors import ItestError
from itest.mock.stubs import Stub
from itest.suite import yamlfile
from itest.suite.yamlfile import Keys, YamlFile

MOST_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """keys: the way to the value within the stub, as in `("request", "path")`; where: `file:line` of the contract."""

    stub: Stub
    keys: Keys
    problem: str
    where: str
    hint: str = ""


def error_of(root: Path, findings: Sequence[Finding]) -> ItestError:
    """All of them as one error; the first is its message."""
    places = Places(root)
    # An anchor makes several stubs wrong in one place.
    lines = list(dict.fromkeys(f"{places.of(one)}: {one.problem} ({one.where})" for one in findings))
    more = [f"and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
    hint = findings[0].hint or "correct the stub; what breaks a contract on purpose belongs in its test: mock.stub(…)"
    evidence = "\n".join([*lines[1:MOST_SHOWN], *more])
    return ItestError("usage", lines[0], hint=hint, cause="config", evidence=evidence)


class Places:
    """Lines of stub files. A file is read again for them: only where something is wrong are they needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Path, YamlFile] = {}

    def of(self, finding: Finding) -> str:
        """`file:line` of the value that a finding is about, or of its stub."""
        path, _, line = finding.stub.where.rpartition(":")
        if not path.endswith((".yaml", ".yml")) or not line.isdigit():
            return finding.stub.where  # a WireMock mapping, which is known by its number
        file = self._file(Path(path))
        stub = next((keys for keys, at in file.lines.items() if len(keys) == 1 and at == int(line)), None)
        if stub is None:
            return finding.stub.where
        keys = finding.keys
        if keys[0] == "responses" and (*stub, "responses") not in file.lines:
            keys = ("response", *keys[2:])
        return file.where(*stub, *keys)

    def _file(self, path: Path) -> YamlFile:
        if path not in self._files:
            self._files[path] = yamlfile.parse(path, yamlfile.read_text(self._root, path))
        return self._files[path]
