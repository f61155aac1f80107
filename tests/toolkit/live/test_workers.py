"""pytest-xdist's workers, and a second pytest beside the first: one stack, and to each what it can't share."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from itest import compose
from itest.containers import containers
from itest.stack.eventually import eventually

PLACES = """
import os
import pytest

@pytest.mark.parametrize("n", range(12))
def test_it_is_alone(db, redis_client, http, stack, record_property, n):
    record_property("database", db.info.dbname)
    record_property("shop", stack.url("shop"))
    assert redis_client.incr("counter") == 1
    made = http.post("/users", json={"email": "new@example.com", "name": "New", "password": "a long enough one"})
    assert made.status_code == 201, made.text
    found = db.execute("SELECT count(*) FROM users WHERE email = 'new@example.com'").fetchone()
    assert found == (1,), "the shop writes where the test reads"
    assert os.environ.get("ITEST_POSTGRES_DSN", stack.dsn("postgres")) == stack.dsn("postgres")
"""
LIMITS = """
import subprocess
import pytest

@pytest.mark.parametrize("n", range(8))
def test_it(stack, http, record_property, n):
    line = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}"
    words = ["docker", "inspect", "--format", line, stack.containers["shop"].id]
    record_property("limits", subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip())
    record_property("shop", stack.url("shop"))
"""
HOLDS = """
import pathlib, time

def test_holds_the_stack(db, redis_client, http):
    redis_client.set("mine", "yes")
    db.execute("UPDATE items SET name = 'Mine'")
    pathlib.Path("holding").touch()
    while pathlib.Path("holding").exists():
        time.sleep(0.05)
    assert redis_client.get("mine") == "yes"
    assert {row[0] for row in db.execute("SELECT name FROM items")} == {"Mine"}
    assert "Mine" in http.get("/items").text
"""
SHARED = """
def test_takes_a_neighbours_store_away(stack):
    stack.kill("redis")

def test_takes_its_own_service_away(stack, http):
    stack.kill("shop")
    stack.start("shop")
    assert stack.state("shop") in ("healthy", "running", "starting")
"""
KILLED = """
import os, signal, time
import pytest

@pytest.mark.parametrize("n", range(8))
def test_it(stack, db, n):
    if stack.slot:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
"""
NOTHING = {"containers": [], "networks": []}


def properties(file: Path, name: str) -> set[str]:
    return set(re.findall(rf'name="{name}" value="([^"]+)"', file.read_text()))


def networks() -> list[str]:
    """Those of the stack that is kept, and of its workers."""
    command = ["docker", "network", "ls", "--format", "{{.Name}}", "--filter", f"name=itest-api-{os.getpid()}-shared"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def databases(checkout) -> set[str]:
    """Those of the stack that is kept."""
    labels = {compose.WORKING_DIR_LABEL: str(checkout.path / "compose"), compose.SERVICE_LABEL: "postgres"}
    ask = ["psql", "-U", "postgres", "-Atc", "SELECT datname FROM pg_database WHERE datname LIKE 'app%'"]
    command = ["docker", "exec", containers(labels)[0].id, *ask]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture(scope="module")
def kept(shared_checkout):
    """A checkout whose suite `api` is up."""
    up = shared_checkout.run("up", "--suite", "api")
    assert up.code == 0, up.output
    yield shared_checkout
    down = shared_checkout.run("down", "--all")
    assert down.code == 0, down.output
    assert shared_checkout.leftovers() == NOTHING


@contextmanager
def held(checkout) -> Iterator[int]:
    """Another pytest has the kept stack meanwhile, and finds nothing changed in the end. Gives its pid."""
    checkout.write("tests/api/test_hold.py", HOLDS)
    holding = checkout.path / "holding"
    process = checkout.start_pytest("tests/api/test_hold.py")
    try:
        eventually(holding.exists, timeout=60)
        yield process.pid
    finally:
        holding.unlink(missing_ok=True)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


def test_workers_of_a_run_share_stores_and_each_has_its_own_database_and_application(checkout):
    checkout.write("tests/api/test_probe.py", PLACES)
    ended = checkout.run("run", "--suite", "api", "--args=-n 3 tests/api/test_probe.py")
    assert ended.code == 0, ended.output
    junit = checkout.latest / "api/junit.xml"
    assert properties(junit, "database") == {"app", "app_itest_1", "app_itest_2"}
    assert len(properties(junit, "shop")) == 3
    logs = {path.name: path.read_text() for path in (checkout.latest / "api/logs").iterdir()}
    assert set(logs) == {"postgres.log", "redis.log", "shop.log", "shop.worker1.log", "shop.worker2.log"}
    assert "POST /users" in logs["shop.worker2.log"]
    assert checkout.leftovers() == NOTHING


def test_a_worker_s_own_service_has_the_limits_of_the_profile_and_not_its_ports(checkout):
    profile = (checkout.path / "compose/profiles/ci.env").read_text(encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    checkout.write("compose/profiles/mine.env", f"{profile}SHOP_PORT={port}\n")
    checkout.write("tests/api/test_probe.py", LIMITS)
    ended = checkout.run("run", "--suite", "api", "--args=-n 2 tests/api/test_probe.py", "--profile", "mine")
    assert ended.code == 0, ended.output
    junit = checkout.latest / "api/junit.xml"
    assert properties(junit, "limits") == {f"{192 * 2**20} {5 * 10**8}"}  # as in ci.env
    first, other = sorted(properties(junit, "shop"), key=lambda url: f":{port}" not in url)
    assert first == f"http://127.0.0.1:{port}"
    assert other != first


def test_plain_pytest_with_workers_starts_one_stack_and_removes_it(named):
    named.write("tests/api/test_probe.py", PLACES)
    done = named.pytest("-n", "2", "tests/api/test_probe.py")
    assert done.code == 0, done.output
    assert done.output.count("itest: starting itest-api-") == 1
    assert done.output.count("is ready after") == 1
    assert named.leftovers() == NOTHING
    assert list((named.path / "build/itest/slots").iterdir()) == []


def test_workers_on_a_stack_that_a_run_kept_find_its_generated_secrets(named):
    named.write("tests/api/test_probe.py", PLACES)
    assert named.run("run", "--suite", "api", "--args=tests/api/test_health.py", ITEST_KEEP="1").code == 0
    done = named.pytest("-n", "2", "tests/api/test_probe.py")
    assert done.code == 0, done.output
    assert "itest: attached to itest-api-2" in done.output
    assert named.run("down", "--all").code == 0
    assert named.leftovers() == NOTHING


def test_a_second_pytest_on_a_kept_stack_is_a_worker_and_leaves_nothing(kept):
    addresses, before = kept.run("env", "--suite", "api").output, databases(kept)
    with held(kept):
        second = kept.pytest("tests/api/test_items.py", "tests/api/test_cache.py")
        assert second.code == 0, second.output
    assert len(networks()) == 1
    assert databases(kept) == before
    assert kept.run("env", "--suite", "api").output == addresses, "the stores kept their ports"


def test_what_a_killed_worker_left_goes_with_the_next_command_and_its_slot_is_used_again(kept):
    kept.write("tests/api/test_killed.py", KILLED)
    before = databases(kept)
    with held(kept):
        assert kept.pytest("tests/api/test_killed.py").code == -signal.SIGKILL
        again = kept.pytest("tests/api/test_items.py")
        assert again.code == 0, again.output
    assert len(networks()) == 1
    assert databases(kept) == before


def test_a_run_outlives_its_killed_workers_and_removes_what_they_had(checkout):
    checkout.write("tests/api/test_killed.py", KILLED)
    ended = checkout.run("run", "--suite", "api", "--args=-n 2 tests/api/test_killed.py")
    assert ended.code == 1, ended.output
    assert "crashed while running" in ended.output
    assert checkout.leftovers() == NOTHING


def test_a_worker_may_end_its_own_service_and_not_one_that_all_share(kept):
    kept.write("tests/api/test_shared.py", SHARED)
    done = kept.pytest("-n", "2", "tests/api/test_shared.py")
    assert "1 failed, 1 passed" in done.output
    assert "stack.kill('redis'): 2 workers share service redis" in done.output
    assert "add redis to per_worker in compose/suites/api.yaml" in done.output
    assert len(networks()) == 1


def test_a_second_pytest_that_would_share_is_told_who_holds_the_stack(kept):
    with held(kept) as pid:
        kept.replace("compose/suites/api.yaml", "per_worker: [shop]", "per_worker: []")
        second = kept.pytest("tests/api/test_items.py")
        kept.replace("compose/suites/api.yaml", "per_worker: []", "per_worker: [shop]")
    assert second.code == 2, second.output
    assert f"another pytest uses it (pid {pid}), and shop holds no data of its own but shares" in second.output
    assert "hint: wait for that one; or x-itest: per_worker: [shop] in compose/suites/api.yaml" in second.output


def test_a_service_that_workers_would_share_is_refused_before_anything_starts(named):
    named.replace("compose/suites/api.yaml", "per_worker: [shop]", "per_worker: []")
    refusal = "suite api: shop holds no data of its own but shares postgres, redis with every worker"
    ended = named.run("run", "--suite", "api", "--args=-n 2")
    assert ended.code == 2, ended.output
    assert f"{refusal}\nhint: x-itest: per_worker: [shop] in compose/suites/api.yaml" in ended.output
    done = named.pytest("-n", "2", "tests/api")
    assert done.code == 2, done.output
    assert refusal in done.output
    assert "itest: starting" not in done.output
    elsewhere = named.run("run", "--suite", "api,database", "--args=-n 2 tests/database/test_constraints.py")
    assert elsewhere.code == 0, elsewhere.output


def test_a_store_under_per_worker_is_migrated_and_seeded_for_each(checkout):
    checkout.replace("compose/suites/api.yaml", "per_worker: [shop]", "per_worker: [shop, postgres, redis]")
    checkout.write("tests/api/test_probe.py", PLACES)
    ended = checkout.run("run", "--suite", "api", "--args=-n 2 tests/api/test_probe.py tests/api/test_items.py")
    assert ended.code == 0, ended.output
    assert properties(checkout.latest / "api/junit.xml", "database") == {"app"}
    assert checkout.leftovers() == NOTHING


def test_a_worker_that_cannot_have_its_place_ends_all_with_the_reason(named):
    """More workers than Redis has logical databases, for instance."""
    named.replace("compose/layers/redis.yaml", "databases 64", "databases 1")
    reason = "service redis: it has 1 logical databases, and worker 1 needs its own"
    done = named.pytest("-n", "2", "tests/api/test_items.py")
    assert done.code == 2, done.output
    assert reason in done.output
    ended = named.run("run", "--suite", "api", "--args=-n 2 tests/api/test_items.py")
    assert ended.code == 2, ended.output
    assert reason in ended.output
    assert named.leftovers() == NOTHING
