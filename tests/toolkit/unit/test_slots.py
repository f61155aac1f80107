"""Slots: numbers that processes hold, lowest first, each by one only, and free as soon as its process is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from itest.errors import ItestError
from itest.pytesting import has_workers
from itest.stack import slots
from itest.suite import workers

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
HOLD = """
import sys
from pathlib import Path
from itest.stack import slots
with slots.claimed(Path(sys.argv[1]), "itest-api") as number:
    print(number, flush=True)
    sys.stdin.read()
"""
WORKER = """\
services:
  app:
    environment:
      DATABASE_URL: postgresql://store/${STORE_DB:-app}
"""


@pytest.fixture
def process(tmp_path):
    """Start processes that hold a slot each until their standard input is closed."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        one = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate()


def number(process) -> int:
    return int(process.stdout.readline())


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / slots.SLOTS).iterdir())


def test_slots_are_counted_from_0_and_the_lowest_free_one_is_next(tmp_path):
    with ExitStack() as others:
        with slots.claimed(tmp_path, "itest-api") as first:
            second = others.enter_context(slots.claimed(tmp_path, "itest-api"))
            assert (first, second) == (0, 1)
        with slots.claimed(tmp_path, "itest-api") as third:
            assert third == 0
    assert files(tmp_path) == []


def test_stacks_have_slots_of_their_own_however_alike_their_names(tmp_path):
    with (
        slots.claimed(tmp_path, "itest-api") as api,
        slots.claimed(tmp_path, "itest-api-2") as other,
        slots.claimed(tmp_path, "itest-ap") as third,
    ):
        assert (api, other, third) == (0, 0, 0)
        assert list(slots.holders(tmp_path, "itest-api")) == [0]


def test_two_processes_never_hold_the_same_and_are_told_by_their_pids(tmp_path, process):
    one, two = process(), process()
    assert sorted([number(one), number(two)]) == [0, 1]
    assert set(slots.holders(tmp_path, "itest-api").values()) == {f"pid {one.pid}", f"pid {two.pid}"}


def test_the_slot_of_a_killed_process_is_free_at_once(tmp_path, process):
    one = process()
    assert number(one) == 0
    one.kill()
    one.wait()
    assert slots.holders(tmp_path, "itest-api") == {}
    with slots.claimed(tmp_path, "itest-api") as again:
        assert again == 0
    assert files(tmp_path) == []


def test_many_who_come_and_go_at_once_never_share_one(tmp_path):
    held: list[int] = []

    def come_and_go(_: int) -> None:
        for _ in range(10):
            with slots.claimed(tmp_path, "itest-api") as one, slots.claimed(tmp_path, "itest-api") as two:
                held.extend((one, two))
                assert held.count(one) == held.count(two) == 1
                held.remove(one)
                held.remove(two)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come_and_go, range(8)))
    assert files(tmp_path) == []


def test_a_turn_is_one_at_a_time_and_leaves_no_file(tmp_path):
    inside: list[int] = []

    def enter(_: int) -> None:
        for _ in range(20):
            with slots.turn(tmp_path, "door"):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(8)))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "several"),
    [
        (["-n", "4"], True),
        (["-n4"], True),
        (["-n=4"], True),
        (["-n", "auto"], True),
        (["--numprocesses=logical"], True),
        (["--numprocesses", "2"], True),
        (["tests/api", "-x", "-n", "2", "-k", "name"], True),
        (["-n", "0"], False),
        (["-n", "1"], False),
        (["-k", "-n"], False),
        (["--no-header"], False),
        ([], False),
    ],
)
def test_whether_pytest_runs_several_workers_is_read_from_its_arguments(arguments, several):
    assert has_workers(arguments) is several


def refusal(repo) -> str:
    with pytest.raises(ItestError) as caught:
        workers.check(repo.load())
    assert caught.value.category == "usage"
    return str(caught.value).removeprefix("itest: error: ")


def test_a_service_that_all_workers_would_share_is_refused_with_the_edit_that_mends_it(repo):
    assert refusal(repo) == (
        "suite api: app holds no data of its own but shares store with every worker\n"
        "hint: x-itest: per_worker: [app] in compose/suites/api.yaml"
    )


def test_where_tests_need_no_clean_state_workers_may_share_everything(repo):
    repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: none")
    assert not workers.apart(repo.load())
    workers.check(repo.load())


@pytest.mark.usefixtures("compose_client")
def test_a_service_of_each_workers_own_that_is_deaf_to_its_place_is_refused(repo):
    repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: delete\n  per_worker: [app]")
    assert refusal(repo) == (
        "compose/layers/app.yaml:3: `app` doesn't read STORE_DB, so all workers' would share one in store\n"
        "hint: write ${STORE_DB:-…} where it is told its place in store"
    )
    repo.write("compose/layers/app.yaml", repo.text("compose/layers/app.yaml") + WORKER.partition("app:\n")[2])
    workers.check(repo.load())


@pytest.mark.usefixtures("compose_client")
def test_a_service_of_each_workers_own_with_a_fixed_port_is_refused(repo):
    repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: delete\n  per_worker: [app]")
    repo.edit("compose/layers/app.yaml", "127.0.0.1::8000", "127.0.0.1:8000:8000")
    assert refusal(repo) == (
        "compose/layers/app.yaml:7: `app` publishes port 8000, which one worker's alone could have\n"
        "hint: leave the host's port to docker: 127.0.0.1:${APP_PORT:-}:…"
    )


@pytest.mark.usefixtures("compose_client")
def test_a_service_that_uses_no_store_needs_no_place(repo):
    app = repo.text("compose/layers/app.yaml").replace(
        "    depends_on:\n      store: {condition: service_healthy}\n", ""
    )
    repo.write("compose/layers/app.yaml", app)
    repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: delete\n  per_worker: [app]")
    workers.check(repo.load())


@pytest.mark.usefixtures("compose_client")
def test_a_store_of_each_workers_own_has_no_places(repo):
    repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: delete\n  per_worker: [app, store]")
    workers.check(repo.load())


@pytest.mark.usefixtures("compose_client")
def test_a_one_shot_may_be_shared_unless_it_works_on_a_store(repo):
    app = repo.text("compose/layers/app.yaml") + WORKER.partition("app:\n")[2]
    app += "  clock:\n    image: team/clock:1.0\n    command: [sh, -c, 'true']\n"
    app = app.replace("depends_on:\n", "depends_on:\n      clock: {condition: service_completed_successfully}\n")
    repo.write("compose/layers/app.yaml", app)
    repo.edit("compose/suites/api.yaml", "isolation: delete", "isolation: delete\n  per_worker: [app]")
    workers.check(repo.load())
    assert workers.silent(repo.load()) == []
    repo.write("compose/layers/app.yaml", app.replace("'true'", "psql -h store"))
    assert refusal(repo).startswith("suite api: clock holds no data of its own but shares store with every worker\n")
