"""How much memory and processor time containers use: read from their control groups, a few small files for each.

No process and no privilege is needed, but a Linux engine on this machine; elsewhere nothing is known.
Files: the kernel's Documentation/admin-guide/cgroup-v2.rst, and of version 1 cgroup-v1/memory.rst
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MIB = 2**20


@dataclass(frozen=True)
class Usage:
    """One look at a container.

    when: seconds since the epoch; memory: bytes, without cache; cpu: seconds of one processor since its start.
    """

    when: float
    memory: int
    cpu: float


@dataclass
class Gauge:
    """The looks at one container. limit: bytes of memory that it may use, 0 where there is no limit."""

    group: Path  # of its memory
    accounts: Path  # of its processor time: of version 1, each resource has a group of its own
    limit: int = 0
    last: Usage | None = None
    before: Usage | None = None
    peak: int = 0

    def look(self) -> None:
        """Take another look; of a container that is gone, the last one stays."""
        try:
            memory, cpu = self._read()
        except (OSError, ValueError):
            return
        self.before, self.last = self.last, Usage(time.time(), memory, cpu)
        self.peak = max(self.peak, memory)

    def exhaust(self) -> None:
        """Note that it has just used all that it may: by now the kernel has taken from it."""
        self.look()
        if self.last and self.limit:
            self.last = replace(self.last, memory=self.limit)
            self.peak = self.limit

    @property
    def load(self) -> float:
        """Processors that it used between the last two looks: 1.0 is all of one. 0 before there were two."""
        if not self.last or not self.before:
            return 0.0
        return (self.last.cpu - self.before.cpu) / max(self.last.when - self.before.when, 1e-6)

    def _read(self) -> tuple[int, float]:
        if (self.group / "memory.current").exists():  # version 2
            used = _number(self.group / "memory.current") - _field(self.group / "memory.stat", "inactive_file")
            self.limit = _number(self.group / "memory.max")
            return used, _field(self.accounts / "cpu.stat", "usage_usec") / 1e6
        used = _number(self.group / "memory.usage_in_bytes")
        used -= _field(self.group / "memory.stat", "total_inactive_file")
        self.limit = _number(self.group / "memory.limit_in_bytes")
        return used, _number(self.accounts / "cpuacct.usage") / 1e9


def gauge(container: str, root: Path = CGROUPS) -> Gauge | None:
    """What measures a container. container: its whole id. None where its control group can't be seen."""
    mine = f"user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service"
    scopes = [
        f"{above}/docker-{container}.scope" for above in ("system.slice", f"{mine}/user.slice", f"{mine}/app.slice")
    ]
    ends = (f"docker/{container}", *scopes)
    version_2 = [Gauge(root / end, root / end) for end in ends]
    version_1 = [Gauge(root / "memory" / end, root / "cpuacct" / end) for end in ends]
    return next((one for one in (*version_2, *version_1) if one.group.is_dir()), None)


def _number(path: Path) -> int:
    """A file of one number; 0 for what has no limit, which version 1 says by a number beyond any machine's memory."""
    text = path.read_text(encoding="ascii").strip()
    number = 0 if text == "max" else int(text)
    return number if number < 2**60 else 0


def _field(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
