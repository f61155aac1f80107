"""A stack that a person keeps: every verb, plain docker compose on the same files, and pytest that attaches to it."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
import requests

CONSTRAINTS = "tests/database/test_constraints.py"


def variables(output: str) -> dict[str, str]:
    """The environment of a shell that evaluates what `make -s env` printed."""
    script = f"{output}\nenv -0"
    done = subprocess.run(
        ["sh", "-c", script], check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)


def free_port() -> int:
    """A port below the ephemeral ones, or a container of a neighbouring test might get it first."""
    for port in random.sample(range(20000, 30000), 20):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port between 20000 and 30000")


def compose(checkout, suite: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Plain docker compose from the root of the checkout, as a person types it."""
    command = ["docker", "compose", "--env-file", f"compose/suites/{suite}.env", *arguments]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    return subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, check=False, env=inherited)


def test_a_stack_by_hand_from_up_to_down(named):
    up = named.run("up", "--suite", "api")
    assert up.code == 0, up.output
    assert "docker compose --env-file compose/suites/api.env ps" in up.output
    assert "make down SUITE=api" in up.output
    listed = [line.split()[:2] for line in up.output.split("\n\n")[0].splitlines()[-3:]]
    assert listed == [["postgres", "ready"], ["redis", "ready"], ["shop", "ready"]]

    ps = named.run("ps")
    names = [line.split()[0] for line in ps.output.splitlines()]
    assert names == [f"itest-api-{os.getpid()}", "postgres", "redis", "shop"]

    env = variables(named.run("env", "--suite", "api").output)
    assert requests.get(f"{env['ITEST_SHOP_URL']}/items", timeout=5).status_code == 200
    assert env["ITEST_REDIS_DSN"].startswith("redis://:")
    psql = ["psql", env["ITEST_POSTGRES_DSN"], "-Atc", "SELECT count(*) > 0 FROM users"]
    assert subprocess.run(psql, check=True, capture_output=True, text=True).stdout == "t\n"

    assert "shop is ready" in named.run("wait").output
    migrations = named.run("migrate").output
    assert "applied" in migrations
    assert "V0001__create_users.sql" in migrations
    logs = named.run("logs", "--service", "shop").output
    assert "Uvicorn running" in logs
    assert "\x1b" not in logs, "control sequences in a pipe"
    assert named.run("shell", "--service", "redis", "--args=redis-server --version").output.startswith("Redis server")

    with psycopg.connect(env["ITEST_POSTGRES_DSN"], autocommit=True) as connection:
        before = connection.execute("SELECT count(*) FROM users").fetchone()
        connection.execute("DELETE FROM order_lines; DELETE FROM orders; DELETE FROM users")
        assert named.run("seed").code == 0
        assert connection.execute("SELECT count(*) FROM users").fetchone() == before

    tests = named.pytest("tests/api/test_health.py")
    assert tests.code == 0, tests.output
    assert f"attached to itest-api-{os.getpid()}, which stays" in tests.output

    down = named.run("down", "--suite", "api")
    assert down.code == 0, down.output
    assert named.leftovers() == {"containers": [], "networks": []}


def test_up_twice_keeps_what_is_in_the_database_and_seeds_anew_when_its_files_changed(named):
    assert named.run("up", "--suite", "database").code == 0
    dsn = variables(named.run("env").output)["ITEST_POSTGRES_DSN"]
    with psycopg.connect(dsn, autocommit=True, application_name="psql") as connection:
        connection.execute("DELETE FROM order_lines")
        again = named.run("up", "--suite", "database")
        assert "seeded before" in again.output
        assert connection.execute("SELECT count(*) FROM order_lines").fetchone() == (0,)
        named.write("migrations/shop/V9000__new.sql", "CREATE TABLE brand_new (id int PRIMARY KEY);")
        anew = named.run("up", "--suite", "database").output
        assert "1 migration, 3 fixtures" in anew
        # A database with sessions can't be copied, so they are ended, and that is said; psql connects anew by itself.
        assert f"ended pid {connection.info.backend_pid} (psql)" in anew
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM brand_new").fetchone() == (0,)
        assert connection.execute("SELECT count(*) > 0 FROM order_lines").fetchone() == (True,)
    assert "removed" in named.run("down", "--all").output
    assert named.leftovers() == {"containers": [], "networks": []}


@pytest.mark.parametrize("suite", ["api", "database"])
def test_every_suite_starts_with_plain_docker_compose(named, suite):
    up = compose(named, suite, "up", "-d", "--wait")
    try:
        assert up.returncode == 0, up.stderr
        states = compose(named, suite, "ps", "--format", "{{.Service}} {{.Health}}").stdout.split("\n")
        assert all(state.endswith("healthy") for state in states if state), states
    finally:
        assert compose(named, suite, "down", "-v", "-t", "0").returncode == 0
    assert named.leftovers() == {"containers": [], "networks": []}


def test_tests_attach_to_a_stack_that_plain_compose_started_and_seed_it(named):
    assert compose(named, "database", "up", "-d", "--wait").returncode == 0
    try:
        done = named.pytest(str(named.path / CONSTRAINTS), cwd=Path("/"))  # an IDE may start it anywhere
        assert done.code == 0, done.output
        assert "attached to" in done.output
    finally:
        compose(named, "database", "down", "-v", "-t", "0")


def test_pytest_without_a_kept_stack_starts_one_and_removes_it(named):
    done = named.pytest(CONSTRAINTS)
    assert done.code == 0, done.output
    assert "itest: starting itest-database-" in done.output
    assert named.leftovers() == {"containers": [], "networks": []}


def test_several_kept_stacks_are_an_error_that_lists_them(named):
    keep = {"ITEST_KEEP": "1"}
    first = named.run("run", "--suite", "database", f"--args={CONSTRAINTS}", **keep)
    second = named.run("run", "--suite", "database", f"--args={CONSTRAINTS}", **keep)
    assert (first.code, second.code) == (0, 0), first.output + second.output
    done = named.pytest("tests/database")
    assert done.code == 2
    runs = sorted(path.name for path in (named.path / "build/itest").glob("2*"))
    assert all(f"itest-database-{run}" in done.output for run in runs)
    assert all(f"itest-database-{run}" in named.run("env").output for run in runs)
    assert runs[0] in named.run("ps", "--suite", f"itest-database-{runs[0]}").output
    assert named.run("down", "--suite", f"itest-database-{runs[0]}").output.count("removed") == 1
    assert named.run("down", "--all").output.count("removed") == 1
    assert named.leftovers() == {"containers": [], "networks": []}


def test_beside_a_kept_run_the_verbs_mean_the_stack_that_up_started_and_down_removes_both(named):
    assert named.run("run", "--suite", "database", f"--args={CONSTRAINTS}", ITEST_KEEP="1").code == 0
    assert named.run("up", "--suite", "database").code == 0
    by_hand, run = f"itest-database-{os.getpid()}", f"itest-database-{named.latest.resolve().name}"
    both = [f"{by_hand}  kept until ", f"{run}  kept until "]

    listed = named.run("ps").output
    assert [name in listed for name in both] == [True, True]
    port = variables(named.run("env", "--suite", "database").output)["ITEST_POSTGRES_PORT"]
    blocks = {block.split()[0]: block for block in listed.split("\n\n")}
    assert f":{port}/" in blocks[by_hand]
    assert variables(named.run("env", "--suite", run).output)["ITEST_POSTGRES_PORT"] != port

    guess = named.run("down")
    assert guess.code == 2
    assert f"several stacks are running: {', '.join(sorted([run, by_hand]))}\nhint: SUITE=" in guess.output
    assert named.run("down", "--suite", "database").output.count("removed") == 2
    assert named.leftovers() == {"containers": [], "networks": []}


def test_a_service_that_does_not_run_is_left_out_of_env_and_that_is_said(named):
    assert named.run("up", "--suite", "api").code == 0
    assert compose(named, "api", "stop", "-t", "0", "redis").returncode == 0
    env = named.run("env").output
    assert "ITEST_REDIS_HOST" not in env
    assert "itest: left out: redis: exited, code " in env
    assert named.run("down").code == 0


def test_what_needs_a_store_that_was_killed_says_so_and_the_hint_brings_it_back(named):
    assert named.run("up", "--suite", "database").code == 0
    assert compose(named, "database", "kill", "postgres").returncode == 0
    for verb in ("seed", "migrate", "wait"):
        ended = named.run(verb)
        assert ended.code == 5, ended.output
        assert ended.output.startswith("itest: error: service postgres: ")
        assert "hint: make up SUITE=database starts it again" in ended.output
        assert "Traceback" not in ended.output
    assert named.run("up", "--suite", "database").code == 0
    assert named.run("seed").code == 0
    assert named.run("down").code == 0


def test_fixed_ports_with_the_dev_profile_and_a_clear_error_when_one_is_taken(named):
    port = free_port()
    named.replace("compose/profiles/dev.env", "POSTGRES_PORT=5432", f"POSTGRES_PORT={port}")
    assert named.run("up", "--suite", "database", "--profile", "dev").code == 0
    assert variables(named.run("env").output)["ITEST_POSTGRES_PORT"] == str(port)
    clash = named.run("run", "--suite", "database", "--profile", "dev")
    assert (clash.code, named.summary["suites"]["database"]["cause"]) == (3, "port")
    holder = f"itest-database-{os.getpid()}"
    assert f"127.0.0.1:{port} is taken by stack {holder}\n" in clash.output
    assert f"hint: make down SUITE={holder}; or leave out PROFILE=dev\n" in clash.output
    alone = named.run("run", "--suite", "database", POSTGRES_PORT=str(port))
    assert f"hint: make down SUITE={holder}\n" in alone.output, "no profile was given, so none can be left out"
    assert named.run("down").code == 0


def test_a_port_that_a_process_of_the_host_holds_is_named(named):
    with socket.socket() as held:
        held.bind(("127.0.0.1", free_port()))
        held.listen()
        address = "{}:{}".format(*held.getsockname())
        up = named.run("up", "--suite", "database", POSTGRES_PORT=address.split(":")[1])
    assert up.code == 3
    assert re.search(
        rf"{address} is taken by \S+ \(pid {os.getpid()}\)\nhint: stop it: ps -fp {os.getpid()} ", up.output
    )
    assert named.run("down").code == 0


def test_another_profile_does_not_silently_replace_a_stack(named):
    named.write("compose/profiles/roomy.env", "POSTGRES_MEMORY=512m\n")
    assert named.run("up", "--suite", "database", "--profile", "roomy").code == 0
    before = named.leftovers()
    without = named.run("up", "--suite", "database")
    assert without.code == 2
    assert "it runs with PROFILE=roomy; with no profile it would be a new one\n" in without.output
    hint = "hint: `make up SUITE=database PROFILE=roomy` keeps it; `make down SUITE=database` removes it first\n"
    assert hint in without.output
    assert named.run("up", "--suite", "database", "--profile", "roomy").code == 0
    assert named.leftovers() == before
    assert named.run("down").code == 0


def test_two_checkouts_do_not_take_over_each_others_stacks(named, tmp_path):
    assert named.run("up", "--suite", "database").code == 0
    shutil.copytree(named.path, tmp_path / "other", symlinks=True)
    other = type(named)(tmp_path / "other")
    ended = other.run("up", "--suite", "database")
    assert ended.code == 2
    assert f"it runs already, for the checkout {named.path}\nhint: `make down` there" in ended.output
    empty = other.run("ps")
    assert (empty.code, empty.output) == (0, "no stack of this checkout is running\n")
    assert f"itest-database-{os.getpid()}" in named.run("ps").output
    assert named.run("down").code == 0


def test_a_verb_without_a_stack_says_how_to_start_one(named):
    ended = named.run("ps", "--suite", "api")
    assert (ended.code, ended.output) == (
        2,
        "itest: error: no stack of api is running\nhint: make up SUITE=api\n",
    )


def test_down_where_nothing_runs_is_done_already(named):
    for arguments, whose in (((), "this checkout"), (("--suite", "api"), "api")):
        ended = named.run("down", *arguments)
        assert (ended.code, ended.output) == (0, f"no stack of {whose} is running\n")


def test_a_stack_that_fails_to_start_stays_to_be_looked_at(named):
    named.replace("compose/layers/postgres.yaml", "- -cfsync=off", "- -cwork_mem=lots")
    up = named.run("up", "--suite", "database")
    assert up.code == 5
    assert "what was started stays, to look around" in up.output
    assert "exited" in named.run("ps").output
    assert 'invalid value for parameter "work_mem"' in named.run("logs").output
    tests = named.pytest(CONSTRAINTS)
    assert tests.code == 5
    assert "service postgres: exited with code 1" in tests.output
    assert named.run("down").code == 0
    assert named.leftovers() == {"containers": [], "networks": []}
