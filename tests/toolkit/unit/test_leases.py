"""Whose stack is dead and may go, and whose is another's, alive, or kept; and what tells processes apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from itest import leases, processes, runs
from itest.leases import Lease, Owner
from itest.machine import scratch
from itest.stack import keeping
from itest.stack.eventually import eventually

GONE = 2**22 + 1  # beyond any pid_max


@pytest.fixture
def me(tmp_path) -> Owner:
    return leases.own(tmp_path)


def is_dead(root, owner: Owner | None, kind: str = "run") -> bool:
    return bool(leases.dead(root, [Lease("itest-api-x", kind, "x", owner)]))


def test_a_lease_travels_through_a_label_as_it_is(tmp_path):
    given = leases.variables(tmp_path, "x")
    assert given["ITEST_LEASE"] == "run x"
    lease = leases._lease("itest-api-x", given["ITEST_LEASE"], given["ITEST_OWNER"])
    assert (lease.kind, lease.id) == ("run", "x")
    assert replace(lease.owner, expires=0) == replace(leases.own(tmp_path), expires=0)


def test_in_the_owner_s_checkout_its_lock_tells(tmp_path, me):
    with runs.alive(tmp_path, "x"):
        assert not is_dead(tmp_path, replace(me, pid=GONE))
        assert not is_dead(tmp_path / "another", replace(me, pid=GONE)), "its checkout is at hand from there too"
    (tmp_path / runs.OWNERS / "x").touch()
    assert is_dead(tmp_path, me), "its lock is free, whoever has its pid"
    assert is_dead(tmp_path / "another", me)


def test_without_its_checkout_pid_and_start_time_tell(tmp_path, me):
    elsewhere = replace(me, checkout="/nowhere")
    assert not is_dead(tmp_path, elsewhere)
    assert is_dead(tmp_path, replace(elsewhere, started=me.started - 1)), "its pid is another's by now"
    assert is_dead(tmp_path, replace(elsewhere, pid=GONE))
    assert not is_dead(tmp_path, replace(elsewhere, pid=GONE, boot="another")), "pids mean nothing across boots"


@pytest.mark.parametrize(("field", "value"), [("host", "another"), ("namespace", "pid:[1]"), ("user", -1)])
def test_what_lives_elsewhere_holds_its_lease_until_it_expires(tmp_path, me, field, value):
    (tmp_path / runs.OWNERS).mkdir(parents=True)
    (tmp_path / runs.OWNERS / "x").touch()  # on a shared mount
    theirs = replace(me, pid=GONE, **{field: value})
    assert not is_dead(tmp_path, theirs)
    assert is_dead(tmp_path, replace(theirs, expires=time.time() - 1))


@pytest.mark.parametrize("kind", ["keep", "kept", ""])
def test_what_is_kept_is_never_dead(tmp_path, me, kind):
    assert not is_dead(tmp_path, replace(me, pid=GONE, checkout="/nowhere", expires=0), kind)


def test_a_lease_without_an_owner_counts_only_in_the_checkout_that_knows_it(tmp_path):
    assert not is_dead(tmp_path, None)
    (tmp_path / runs.RUNS / "x").mkdir(parents=True)
    assert is_dead(tmp_path, None)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"pid": 1}', '"pid"'])
def test_a_label_that_is_not_ours_is_no_owner(text):
    assert leases._owner(text) is None


# Locks


@pytest.fixture
def dead_x(tmp_path):
    """A checkout whose owner x was killed."""
    program = "import sys, itest.runs as r, pathlib, os\nwith r.alive(pathlib.Path(sys.argv[1]), 'x'): os._exit(0)"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env={"PYTHONPATH": "scripts"})
    return tmp_path


def test_a_dead_owner_is_known_until_it_is_buried_and_a_living_one_is_not_dead(dead_x):
    with runs.alive(dead_x, "y"):
        assert (runs.dead(dead_x), runs.owners(dead_x)) == (["x"], ["y"])
        with (
            runs.burying(dead_x, "x") as first,
            runs.burying(dead_x, "x") as second,
            runs.burying(dead_x, "y") as third,
        ):
            assert (first, second, third) == (True, False, False), "somebody else is at it, or it lives"
        assert (runs.dead(dead_x), runs.owners(dead_x)) == ([], ["y"])


def test_an_owner_whose_burial_fails_stays_known(dead_x):
    with pytest.raises(KeyError), runs.burying(dead_x, "x"):
        raise KeyError
    assert runs.dead(dead_x) == ["x"]


def test_who_shares_the_folder_from_another_host_is_not_dead(tmp_path):
    (tmp_path / runs.OWNERS).mkdir(parents=True)
    (tmp_path / runs.OWNERS / "z").write_text("another-host pid:[1]")
    assert runs.dead(tmp_path) == []


def test_a_killed_run_s_folder_counts_as_finished_after_a_while(tmp_path):
    killed = tmp_path / runs.RUNS / "20200101-000000-aaaa"
    killed.mkdir(parents=True)
    os.utime(killed, (0, 0))
    for number in range(20):
        folder = tmp_path / runs.RUNS / f"20250101-0000{number:02}-aaaa"
        folder.mkdir()
        (folder / "summary.json").touch()
    with runs.alive(tmp_path, killed.name):
        runs.create(tmp_path)
        assert killed.is_dir()
    runs.create(tmp_path)
    assert not killed.exists()


# Processes


def test_the_processes_of_an_owner_are_found_by_what_they_inherited_and_end():
    sleeping = {
        owner: subprocess.Popen(["sleep", "60"], env={"ITEST_LEASE": f"run {owner}"})
        for owner in ("20260101-000000-aaaa", "20260101-000000-aaab")
    }
    dead, living = sleeping.values()
    try:
        found = eventually(lambda: processes.left_by(["20260101-000000-aaaa"]))
        assert [one.pid for one in found] == [dead.pid]
        processes.end([replace(found[0], started=found[0].started + 1)])
        assert dead.poll() is None, "a later process has that number"
        processes.end(found)
        assert dead.wait(5) == -signal.SIGKILL
        assert living.poll() is None
        assert processes.started(dead.pid) is None
    finally:
        for one in sleeping.values():
            one.kill()
            one.wait()
    assert processes.left_by([]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_process_ends_with_its_parent_however_that_ends(tmp_path):
    child = f"from itest import processes as p; p.end_with_parent(); open({str(tmp_path / 'up')!r}, 'w'); input()"
    parent = (
        "import subprocess, sys\n"
        f"one = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE)\n"
        "print(one.pid, flush=True)\none.wait()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": "scripts"}
    )
    pid = int(process.stdout.readline())
    eventually((tmp_path / "up").exists)
    assert processes.started(pid)
    process.kill()
    process.wait()
    eventually(lambda: processes.started(pid) is None)


# Temporary folders


def test_the_temporary_folder_of_a_killed_process_goes_with_the_next_and_a_living_one_s_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = "import os\nfrom itest.machine import scratch as s\n"
    program += "with s.folder('base') as f:\n    print(f, flush=True)\n    os._exit(0)"
    environment = {"PYTHONPATH": "scripts", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True, text=True)
    left = Path(done.stdout.strip())
    (left / "root.tar").touch()
    with scratch.folder("living") as living:
        assert not left.exists()
        scratch.sweep()
        assert [path.name for path in left.parent.iterdir()] == [living.name]
    assert list(left.parent.iterdir()) == []


# Kept stacks


def test_a_kept_stack_says_until_when_and_every_use_renews_that(repo):
    from itest.stack.stack import Stack

    suite = repo.load("api")
    stack = Stack(suite, suite.project("itest-api"))
    keeping.renew(stack)
    assert keeping.told(stack).startswith("kept until 2")
    os.utime(suite.root / keeping.KEPT / "itest-api", (0, 0))
    assert keeping.told(stack).startswith("unused since 1970-01-01, expired 1970-01-08 ")
    assert keeping.told(stack).endswith("make up SUITE=api renews it")
    keeping.renew(stack)
    assert keeping.told(stack).startswith("kept until 2")
