"""What a container uses, read from control groups of either version."""

from __future__ import annotations

from pathlib import Path

import pytest

from itest.stack.usage import MIB, gauge

ID = "f" * 64


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def version_1(root: Path, used: int, cpu: float, limit: str) -> None:
    write(
        root,
        {
            f"memory/docker/{ID}/memory.usage_in_bytes": f"{used + 5}\n",
            f"memory/docker/{ID}/memory.stat": "cache 5\ntotal_inactive_file 5\n",
            f"memory/docker/{ID}/memory.limit_in_bytes": f"{limit}\n",
            f"cpuacct/docker/{ID}/cpuacct.usage": f"{int(cpu * 1e9)}\n",
        },
    )


def version_2(root: Path, used: int, cpu: float, limit: str) -> None:
    group = f"system.slice/docker-{ID}.scope"
    write(
        root,
        {
            f"{group}/memory.current": f"{used + 5}\n",
            f"{group}/memory.stat": "anon 7\ninactive_file 5\n",
            f"{group}/memory.max": f"{limit}\n",
            f"{group}/cpu.stat": f"usage_usec {int(cpu * 1e6)}\nuser_usec 1\n",
        },
    )


@pytest.mark.parametrize(
    ("groups", "none"), [(version_1, "9223372036854771712"), (version_2, "max")], ids=["version 1", "version 2"]
)
def test_memory_without_cache_its_peak_its_limit_and_the_load_between_two_looks(tmp_path, groups, none):
    groups(tmp_path, 48 * MIB, 1.0, str(64 * MIB))
    one = gauge(ID, tmp_path)
    one.look()
    assert one.load == 0
    groups(tmp_path, 16 * MIB, 2.0, str(64 * MIB))
    one.look()

    assert (one.last.memory, one.peak, one.limit) == (16 * MIB, 48 * MIB, 64 * MIB)
    assert one.load == pytest.approx(1.0 / (one.last.when - one.before.when))

    groups(tmp_path, 16 * MIB, 2.0, none)
    one.look()
    assert one.limit == 0


def test_what_runs_out_of_memory_has_used_its_limit(tmp_path):
    version_2(tmp_path, MIB, 1.0, str(16 * MIB))
    one = gauge(ID, tmp_path)
    one.exhaust()
    assert (one.last.memory, one.peak) == (16 * MIB, 16 * MIB)


def test_of_a_container_that_is_gone_the_last_look_stays(tmp_path):
    version_2(tmp_path, MIB, 1.0, "max")
    one = gauge(ID, tmp_path)
    one.look()
    seen = one.last
    (tmp_path / f"system.slice/docker-{ID}.scope/memory.current").unlink()
    one.look()
    assert one.last is seen


def test_where_no_control_group_is_seen_nothing_is_measured(tmp_path):
    assert gauge(ID, tmp_path) is None
