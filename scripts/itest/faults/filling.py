"""A disk that is full, for one service: a file of zeros in a `tmpfs` of its own whose size is limited.

Never the engine's own disk, which the whole machine shares: where a path lies on that, the fault is refused.
"""

from __future__ import annotations

import json
import posixpath
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itest import containers
from itest.containers import Container
from itest.errors import ItestError
from itest.faults import active
from itest.faults.containers import ContainerFault, execute

if TYPE_CHECKING:
    from itest.faults.book import Book

FULL = "No space left on device"
BLOCK = 4096  # bytes, of which files in memory are made
MEMORY = "/sys/fs/cgroup/memory/memory.stat", "/sys/fs/cgroup/memory.stat"  # control groups of version 1, of version 2
KEPT = ("rss", "anon", "shmem")  # what of it the kernel can't take back


@dataclass(frozen=True)
class Mount:
    """What a path lies on. kind: of the file system; size: bytes that fit, 0 without a limit of its own."""

    point: str
    kind: str
    size: int


class FillDisk(ContainerFault):
    """No room left where a path lies, or leave_bytes of it, for the service and whatever else writes there."""

    verb = "fill_disk"

    def __init__(self, book: Book, service: str, path: str, leave_bytes: int = 0) -> None:
        super().__init__(book, service)
        self._path, self._leave = path, leave_bytes

    def describe(self) -> str:
        left = f" but for {self._leave} bytes" if self._leave else ""
        return f"fill_disk {self._service} {self._path}{left}"

    def refuse(self) -> None:
        """Raise ItestError (usage) where it can't be."""
        self._checked()

    def _checked(self) -> tuple[Container, Mount, int]:
        """The container, what the path lies on, and how many bytes it takes. Raises ItestError (usage)."""
        container = self._running()
        room = self._room(container) - self._leave
        mount = mount_of(self._path, self._read(container, "cat", "/proc/self/mountinfo"))
        if not mount.size:
            raise self._unlimited(mount)
        if room < BLOCK:
            raise self._refusal(f"only {self._leave + room} bytes are free there", "heal or remove what fills it")
        self._check_memory(container, room)
        return container, mount, room

    def _begin(self) -> None:
        container, mount, room = self._checked()
        filler = posixpath.join(self._path, f".itest-filler-{secrets.token_hex(4)}")
        self._take_note(container, *_removal(container, mount, filler))
        self._expect_end()  # a server may well give up on a full disk
        self._fill(container, filler, room)

    def _end(self) -> None:
        if self._note:
            active.undo(self._note.standing)
        super()._end()

    def _fill(self, container: Container, filler: str, room: int) -> None:
        """To the last block. Raises ItestError (service) where there is more room than was to be left."""
        count = [f"count={room // BLOCK}"] if self._leave else []
        done = execute(container, ["dd", "if=/dev/zero", f"of={filler}", f"bs={BLOCK}", *count])
        if done.returncode and FULL not in done.stderr:
            raise self._refusal(_first_line(done.stderr), "a folder that the service's own user may write to")
        if (left := self._room(container)) >= self._leave + BLOCK:
            problem = f"fault {self.describe()}: {left} bytes are free after filling it"
            raise ItestError("service", problem, hint="something there makes room as it is filled", cause="fault")

    def _room(self, container: Container) -> int:
        """Bytes that are free where the path lies."""
        blocks, size = self._read(container, "stat", "-f", "-c", "%a %S", self._path).split()
        return int(blocks) * int(size)

    def _check_memory(self, container: Container, room: int) -> None:
        """What lies in a tmpfs counts as the container's memory, and a limit would end it before the disk is full."""
        if not container.memory:
            return
        stat = dict(line.split(" ", 1) for line in execute(container, ["cat", *MEMORY]).stdout.splitlines())
        needed = sum(int(stat.get(name, 0)) for name in KEPT) + room
        if needed > container.memory:
            problem = f"with {room >> 20} MiB more in memory it needs {needed >> 20} MiB, and its mem_limit is "
            hint = f"a smaller `size=` of the tmpfs, or mem_limit: {(needed >> 20) + 64}m"
            raise self._refusal(f"{problem}{container.memory >> 20} MiB", hint)

    def _read(self, container: Container, *command: str) -> str:
        done = execute(container, command)
        if done.returncode:
            raise self._refusal(_first_line(done.stderr), "a folder that exists in it, by its absolute path")
        return done.stdout

    def _unlimited(self, mount: Mount) -> ItestError:
        disks = {"tmpfs": "in memory without a limit", "overlay": "on the engine's disk, which all share"}
        why = f"{self._path} is {disks.get(mount.kind, f'on a file system that others share, {mount.kind}')}"
        point = mount.point if mount.kind == "tmpfs" else self._path
        edit = f'tmpfs: ["{point}:size=64m"] on {self._service} in the suite\'s overlay, with its uid= and gid='
        return self._refusal(why, edit if point != "/" else "a folder with a tmpfs of its own, such as /data")


def mount_of(path: str, mountinfo: str) -> Mount:
    """The mount that a path lies on, the last of those over it. mountinfo: as in proc_pid_mountinfo(5)."""
    mounts = [_mount(line) for line in mountinfo.splitlines()]
    over = [one for one in mounts if posixpath.normpath(path) == one.point or _is_under(path, one.point)]
    return max(reversed(over), key=lambda one: len(one.point))


def _mount(line: str) -> Mount:
    mine, _, rest = line.partition(" - ")
    point = mine.split()[4].replace(r"\040", " ")
    kind, _, options = rest.split(" ", 2)
    size = re.search(r"(?:^|,)size=(\d+)k", options)
    return Mount(point, kind, int(size[1]) * 1024 if size and kind == "tmpfs" else 0)


def _is_under(path: str, point: str) -> bool:
    return posixpath.normpath(path).startswith(point.rstrip("/") + "/")


def _removal(container: Container, mount: Mount, filler: str) -> tuple[str, ...]:
    """How docker removes the filler. One in a volume outlives the service where another one uses that volume too."""
    mounts = json.loads(containers.docker("container", "inspect", "--format", "{{json .Mounts}}", container.id))
    if not any(one["Type"] == "volume" and one["Destination"] == mount.point for one in mounts):
        return ("exec", container.id, "rm", "-f", filler)
    alone = ("--rm", "--network=none", "--user=0:0", f"--volumes-from={container.id}", "--entrypoint=rm")
    return ("run", *alone, container.image, "-f", filler)


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "it failed without a word")
