"""On what a path in a container lies, and whether that has an end of its own."""

from __future__ import annotations

import pytest

from itest.faults.filling import Mount, mount_of

# As /proc/self/mountinfo has it in a container, proc_pid_mountinfo(5).
MOUNTS = r"""
163 95 0:62 / / ro,relatime master:27 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A,upperdir=/up,size=9k
171 163 0:65 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
177 163 0:69 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
178 163 0:70 / /data rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=8192k,uid=999,gid=999
179 163 0:71 / /tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw
180 163 8:1 /var/lib/docker/volumes/v/_data /data/disk rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro
181 163 0:72 / /with\040space rw,relatime - tmpfs tmpfs rw,size=4k
182 163 0:73 / /twice rw,relatime - tmpfs tmpfs rw,size=4k
183 182 0:74 / /twice rw,relatime - tmpfs tmpfs rw,size=8k
""".strip()


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/data", Mount("/data", "tmpfs", 8192 * 1024)),
        ("/data/deep/er", Mount("/data", "tmpfs", 8192 * 1024)),
        ("/data/disk", Mount("/data/disk", "ext4", 0)),
        ("/database", Mount("/", "overlay", 0)),
        ("/data/../usr", Mount("/", "overlay", 0)),
        ("/tmp/x", Mount("/tmp", "tmpfs", 0)),
        ("/with space", Mount("/with space", "tmpfs", 4096)),
        ("/twice", Mount("/twice", "tmpfs", 8192)),
    ],
)
def test_a_path_lies_on_the_innermost_mount_and_only_a_tmpfs_has_a_size_of_its_own(path, mount):
    assert mount_of(path, MOUNTS) == mount
