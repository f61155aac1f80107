"""`make itest` as a whole: exit codes, artifacts and messages, for green runs and for every way to turn red."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tenacity

REDIS = (Path(__file__).parent / "redis.yaml").read_text(encoding="utf-8")


def test_a_green_run_leaves_what_design_promises_and_nothing_on_the_engine(checkout):
    ended = checkout.run("run", "--suite", "api")
    assert ended.code == 0, ended.output
    summary = checkout.summary
    assert (summary["exit_code"], summary["category"]) == (0, None)
    api = summary["suites"]["api"]
    assert api["status"] == "passed"
    assert api["tests"] > 50
    assert (api["failures"], api["errors"]) == (0, 0)
    assert set(api["timings"]) == {"images", "up", "ready", "data", "pytest", "evidence", "down"}
    assert set(api["services"]) == {"postgres", "redis", "shop"}
    assert api["services"]["postgres"]["image"] == "postgres:17.11"
    assert api["services"]["shop"]["attempts"] >= 1
    merged = ElementTree.parse(checkout.latest / "junit.xml").getroot()
    assert [suite.get("name") for suite in merged] == ["api"]
    assert merged.get("tests") == str(api["tests"])
    kept = sorted(str(path.relative_to(checkout.latest)) for path in checkout.latest.rglob("*") if path.is_file())
    assert kept == [
        "api/compose.yaml",
        "api/junit.xml",
        "api/logs/postgres.log",
        "api/logs/redis.log",
        "api/logs/shop.log",
        "api/pytest.log",
        "junit.xml",
        "summary.json",
    ]
    assert checkout.leftovers() == {"containers": [], "networks": []}
    assert ended.output.splitlines()[-1] == f"evidence: build/itest/{summary['run']}"


def test_what_the_start_waited_for_is_told_in_one_line_with_the_difference_from_the_run_before(checkout):
    slow = REDIS.replace("kind: redis", "kind: tcp, port: 6379")  # no store, which would be up and ready before
    slow += "    healthcheck: {test: [CMD, redis-cli, ping], interval: 2s}\n"
    second = slow.partition("services:\n")[2].replace("redis:\n", "second:\n", 1).replace("2s", "1s")
    second = second.replace("    x-itest: {kind: tcp, port: 6379}\n", "")  # ready when its health check says so
    checkout.suite("tiny", slow + second + "    depends_on: {redis: {condition: service_healthy}}\n")
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 0, ended.output
    startup = checkout.summary["suites"]["tiny"]["startup"]
    path = {leg["what"]: leg for leg in startup["path"]}
    assert [what for what in path if what not in ("compose", "data")] == ["redis", "second"]
    assert 1.5 < path["redis"]["waiting"] <= path["redis"]["seconds"] < startup["seconds"]
    assert 0.5 < path["second"]["waiting"] <= path["second"]["seconds"]
    shown = re.search(r"^start-up:\n  tiny  (.*)$", ended.output, re.MULTILINE)
    assert shown, ended.output
    assert shown[1] == startup["line"]
    assert re.search(r"redis \d\.\d s, of which \d\.\d s waiting for its health interval", shown[1])
    assert "before" not in shown[1]

    checkout.replace("compose/layers/tiny.yaml", "interval: 2s", "interval: 250ms")
    ended = checkout.run("run", "--suite", "tiny")
    assert re.search(r"^  tiny  .*; \d\.\d s faster than before: redis -1\.\d s", ended.output, re.MULTILINE), (
        ended.output
    )


def test_no_artifact_holds_a_secret_of_the_run(checkout):
    checkout.write("tests/database/conftest.py", "def pytest_runtest_setup(item): print('CANARY', item.name)")
    for path in (checkout.path / "tests/database").glob("test_*.py"):
        path.unlink()
    checkout.write(
        "tests/database/test_secret.py",
        "def test_it(stack, db):\n"
        "    print(stack.dsn('postgres'), stack.env('postgres'))\n"
        "    db.execute('SELECT no_such_column, %s', [stack.env('postgres')['POSTGRES_PASSWORD']])\n",
    )
    secret = "k9xQ2mWc7RtZ4vLp"
    ended = checkout.run("run", "--suite", "database", POSTGRES_PASSWORD=secret)
    assert ended.code == 1, ended.output
    written = [path for path in checkout.latest.resolve().rglob("*") if path.is_file()]
    assert len(written) >= 6
    assert [str(path) for path in written if secret.encode() in path.read_bytes()] == []
    assert "***" in (checkout.latest / "database/junit.xml").read_text()
    assert "POSTGRES_PASSWORD: '***'" in (checkout.latest / "database/compose.yaml").read_text()


def test_a_failing_test_is_exit_1_and_names_the_test(checkout):
    checkout.suite(
        "tiny", REDIS, test="def test_sum(redis_client):\n    assert redis_client.ping()\n    assert 1 + 1 == 3"
    )
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 1, ended.output
    assert (checkout.summary["category"], checkout.summary["suites"]["tiny"]["cause"]) == ("test", "assertion")
    assert "tests/tiny/test_tiny.py::test_sum" in ended.output
    assert "make itest SUITE=tiny ARGS='--lf'" in ended.output


def test_a_collection_error_is_a_test_failure_and_not_a_green_run(checkout):
    checkout.suite("tiny", REDIS, test="import nothing_of_that_name")
    ended = checkout.run("run", "--suite", "tiny")
    assert (ended.code, checkout.summary["suites"]["tiny"]["cause"]) == (1, "collection")
    assert "nothing_of_that_name" in ended.output


def test_a_suite_may_have_conftests_in_the_folders_below_it(checkout):
    """For a test outside of such a folder pytest leaves its conftest out, and compares all plugins for that."""
    checkout.suite("tiny", REDIS)
    checkout.write("tests/tiny/below/conftest.py", "def pytest_runtest_logfinish(): pass\n")
    checkout.write("tests/tiny/below/test_below.py", "def test_below(stack): pass\n")
    for arguments in ("", "-n 2"):
        ended = checkout.run("run", "--suite", "tiny", f"--args={arguments}")
        assert (ended.code, checkout.summary["suites"]["tiny"]["tests"]) == (0, 2), ended.output


def test_no_test_selected_at_all_is_a_usage_error(checkout):
    checkout.suite("tiny", REDIS)
    ended = checkout.run("run", "--suite", "tiny", "--args=-k nothing_like_it")
    assert (ended.code, checkout.summary["category"]) == (2, "usage")
    assert checkout.summary["suites"]["tiny"]["status"] == "skipped"
    assert "pytest s" not in ended.output, "a table that tells of nothing"


def test_a_service_that_exits_is_exit_5_with_a_capsule_that_explains_it(checkout):
    broken = REDIS.replace("user:", "command: [sh, -c, 'echo no configuration; exit 3']\n    user:")
    checkout.suite("tiny", broken)
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 5, ended.output
    assert checkout.summary["suites"]["tiny"] | {"timings": None, "services": None} == {
        "status": "error",
        "category": "service",
        "cause": "exited",
        "message": "service redis: exited with code 3 before it was ready",
        "tests": 0,
        "failures": 0,
        "errors": 0,
        "skipped": 0,
        "timings": None,
        "services": None,
        "startup": None,
        "egress": [],
    }
    text = (checkout.latest / "tiny/failure.txt").read_text()
    assert text.startswith("service/exited: service redis: exited with code 3 before it was ready\n")
    assert "no configuration" in text
    assert "make itest SUITE=tiny" in text
    capsule = json.loads((checkout.latest / "tiny/failure.json").read_text())
    assert capsule["services"]["redis"]["state"] == "exited, code 3"
    error = ElementTree.parse(checkout.latest / "junit.xml").find(".//error")
    assert error.get("type") == "service"
    assert "Traceback" not in ended.output
    assert checkout.leftovers() == {"containers": [], "networks": []}


def test_a_broken_migration_is_exit_6_with_file_line_and_the_servers_own_message(checkout):
    checkout.write("migrations/shop/V9000__broken.sql", "CREATE TABLE fine (id int);\n\nALTER TABLE gone ADD x int;\n")
    ended = checkout.run("run", "--suite", "database")
    assert (ended.code, checkout.summary["suites"]["database"]["cause"]) == (6, "migration")
    assert 'migrations/shop/V9000__broken.sql:3: relation "gone" does not exist' in ended.output
    assert "Traceback" not in ended.output
    assert (checkout.latest / "database/logs/postgres.log").exists()
    assert checkout.leftovers() == {"containers": [], "networks": []}


def test_a_bad_fixture_is_exit_6_with_file_row_and_cause(checkout):
    checkout.write("fixtures/base/90_bad.json", '{"users": [{"email": "x@example.com", "nmae": "X"}]}')
    ended = checkout.run("run", "--suite", "database")
    assert (ended.code, checkout.summary["suites"]["database"]["cause"]) == (6, "fixture")
    assert "fixtures/base/90_bad.json" in ended.output
    assert "nmae" in ended.output


def test_an_unknown_suite_is_exit_2_names_the_nearest_and_starts_nothing(checkout):
    ended = checkout.run("run", "--suite", "databse")
    assert ended.code == 2
    assert "unknown suite databse\nhint: did you mean `database`?" in ended.output
    assert (checkout.summary["exit_code"], checkout.summary["category"]) == (2, "usage")


def test_a_missing_image_is_exit_4_and_suites_that_never_started_are_skipped(checkout):
    checkout.suite("tiny", REDIS.replace("redis:8.0.2", "nosuch/image:1.0"))
    ended = checkout.run("run", "--suite", "tiny,database")
    assert ended.code == 4, ended.output
    assert "nosuch/image:1.0" in ended.output
    assert "Traceback" not in ended.output
    statuses = {name: one["status"] for name, one in checkout.summary["suites"].items()}
    assert statuses == {"tiny": "skipped", "database": "skipped"}
    assert ElementTree.parse(checkout.latest / "junit.xml").find(".//error").get("type") == "image"


def test_no_engine_is_exit_3_with_what_to_do(checkout):
    ended = checkout.run("run", "--suite", "database", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert (ended.code, checkout.summary["category"]) == (3, "engine")
    assert "hint: " in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_cleans_up_writes_its_verdict_and_is_exit_130(checkout, number):
    test = "import time\ndef test_long(redis_client):\n    print('here')\n    time.sleep(60)"
    checkout.suite("tiny", REDIS, test=test)
    process = checkout.start("run", "--suite", "tiny")
    for line in process.stdout:
        if "collected 1 item" in line:
            break
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert checkout.summary["suites"]["tiny"]["status"] == "interrupted"
    assert (checkout.latest / "tiny/logs/redis.log").exists()
    assert checkout.leftovers() == {"containers": [], "networks": []}


def test_ctrl_c_in_a_terminal_while_a_stack_starts_leaves_nothing(checkout):
    process = checkout.start("run", "--suite", "api")
    for line in process.stdout:
        if "ready" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to docker and pytest as well
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert checkout.leftovers() == {"containers": [], "networks": []}


def test_an_empty_or_truncated_report_is_an_error_of_its_suite(checkout):
    spoil = (
        "import atexit, os, sys\n"
        "def pytest_configure(config):\n"
        "    path = config.option.xmlpath\n"
        "    atexit.register(lambda: open(path, 'w').write('<testsuites><testsuite name=\"x\"><testcase'))\n"
    )
    checkout.suite("tiny", REDIS)
    checkout.write("tests/tiny/conftest.py", spoil)
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 1, ended.output
    assert checkout.summary["suites"]["tiny"]["cause"] == "report"
    assert ElementTree.parse(checkout.latest / "junit.xml").find(".//error") is not None


def test_last_failed_runs_only_the_failed_tests_of_all_suites(checkout):
    checkout.suite("good", REDIS, test="def test_good(): pass")
    checkout.suite("bad", REDIS, test="def test_bad(): assert False\ndef test_fine(): pass")
    first = checkout.run("run", "--suite", "good,bad", ITEST_JOBS="1")
    assert first.code == 1
    assert "1 of 2 suites at a time: JOBS=1\n" in first.output
    checkout.run("run", "--suite", "good,bad", "--args=--lf")
    suites = checkout.summary["suites"]
    assert (suites["good"]["status"], suites["bad"]["tests"]) == ("skipped", 1)


def test_xdist_workers_share_a_stack_and_each_has_a_place_of_its_own_in_its_stores(checkout):
    test = (
        "import pytest, time\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "def test_alone(redis_client, stack, n, record_property):\n"
        "    record_property('place', stack.dsn('redis')[-2:])\n"
        "    assert redis_client.incr('counter') == 1\n"
        "    time.sleep(0.05)\n"
    )
    checkout.suite("tiny", REDIS, x_itest="isolation: delete", test=test)
    ended = checkout.run("run", "--suite", "tiny", "--args=-n 2")
    assert ended.code == 0, ended.output
    places = set(re.findall(r'name="place" value="([^"]+)"', (checkout.latest / "tiny/junit.xml").read_text()))
    assert places == {"/0", "/1"}
    assert checkout.leftovers() == {"containers": [], "networks": []}


def test_ten_runs_at_once_share_a_machine_without_a_clash(checkout):
    checkout.suite(
        "tiny",
        REDIS,
        x_itest="isolation: delete",
        test="def test_it(redis_client):\n    assert redis_client.incr('x') == 1",
    )
    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(lambda _: checkout.run("run", "--suite", "tiny", timeout=300), range(10)))
    assert [one.code for one in ended] == [0] * 10, "\n".join(one.output for one in ended if one.code)
    assert len(list((checkout.path / "build/itest").glob("2*/summary.json"))) == 10
    assert checkout.leftovers() == {"containers": [], "networks": []}


CRASHES = REDIS + '    command: [sh, -c, "redis-server --protected-mode no; echo the last words; exit 3"]\n'


def test_a_service_that_dies_during_the_tests_is_exit_5_whatever_the_tests_made_of_it(checkout):
    swallowed = "def test_that_ends_it_and_is_content(redis_client):\n    redis_client.shutdown(nosave=True)\n"
    checkout.suite("tiny", CRASHES, test=swallowed)
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 5, ended.output
    assert "tiny: service redis: exited with code 3 during the tests" in ended.output
    assert "log: the last words" in ended.output
    assert checkout.summary["suites"]["tiny"]["cause"] == "exited"


def test_a_service_that_a_test_ends_on_purpose_is_not_a_death(checkout):
    meant = "def test_it(stack, redis_client):\n    stack.kill('redis')\n"
    checkout.suite("tiny", REDIS, test=meant)
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 0, ended.output


def test_an_interrupted_run_names_the_test_that_ran(checkout):
    checkout.suite("tiny", REDIS, test="import time\ndef test_that_hangs(redis_client):\n    time.sleep(60)")
    process = checkout.start("run", "--suite", "tiny")
    running = checkout.path / "build/itest/latest/tiny/running"
    eventually(lambda: running.exists() and "test_that_hangs" in running.read_text())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "tiny: suite tiny: interrupted while tests/tiny/test_tiny.py::test_that_hangs ran" in output


def test_pressing_ctrl_c_twice_still_cleans_up_and_keeps_what_is_known(checkout):
    test = "import time\ndef test_good(): pass\ndef test_long(redis_client):\n    time.sleep(60)"
    checkout.suite("tiny", REDIS, test=test)
    process = checkout.start("run", "--suite", "tiny")
    running = checkout.path / "build/itest/latest/tiny/running"
    eventually(lambda: running.exists() and "test_long" in running.read_text())
    os.killpg(process.pid, signal.SIGINT)
    for line in process.stdout:
        if "interrupted: removing the stacks" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert checkout.summary["suites"]["tiny"]["status"] == "interrupted"
    assert checkout.summary["suites"]["tiny"]["tests"] >= 1
    assert checkout.leftovers() == {"containers": [], "networks": []}


def _testing(checkout):
    """A run that has come to its tests."""
    process = checkout.start("run", "--suite", "tiny")
    for line in process.stdout:
        if "collected 1 item" in line:
            break
    return process


def test_what_a_killed_run_left_is_removed_by_the_next_command_and_a_living_run_is_not(checkout):
    checkout.suite("tiny", REDIS, test="import time\ndef test_long(redis_client):\n    time.sleep(30)")
    neighbour = _testing(checkout)
    for _ in range(5):  # any command on this machine sweeps, and it may be that of another test
        victim = _testing(checkout)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        ended = checkout.run("down", "--all")
        assert ended.code == 0, ended.output
        assert len(checkout.leftovers()["containers"]) == 1
        if "left by a run that was killed" in ended.output:
            break
    assert "left by a run that was killed" in ended.output
    output, _ = neighbour.communicate(timeout=90)
    assert neighbour.returncode == 0, output
    assert checkout.leftovers() == {"containers": [], "networks": []}


def test_each_checkout_tests_its_own_code_even_when_both_run_at_once(checkout, tmp_path):
    other = type(checkout)(tmp_path / "other")
    shutil.copytree(checkout.path, other.path, symlinks=True)
    for one, words in ((checkout, "This checkout's."), (other, "The other checkout's.")):
        one.replace("compose/images/shop/shop/health.py", "Liveness and readiness.", words)
        test = "def test_it(stack):\n    code = stack.project.execute('shop', ['head', '-1', 'shop/health.py'])\n"
        one.write("tests/api/test_own.py", f"{test}    assert {words!r} in code")
    with ThreadPoolExecutor(2) as pool:
        arguments = ("run", "--suite", "api", "--args=tests/api/test_own.py")
        runs = [pool.submit(one.run, *arguments) for one in (checkout, other)]
    assert [run.result().code for run in runs] == [0, 0], runs[0].result().output + runs[1].result().output


def eventually(check):
    """Poll for at most 20 seconds."""
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(20),
        wait=tenacity.wait_fixed(0.05),
        retry=tenacity.retry_if_result(lambda value: not value),
    )
    return retrying(check)


def test_a_bug_of_our_own_keeps_its_traceback_writes_the_verdict_and_leaves_no_stack(checkout):
    checkout.suite("tiny", REDIS)
    checkout.replace(
        "scripts/itest/pytesting.py", "    suite = stack.suite\n", "    suite = stack.suite.no_such_thing\n"
    )
    ended = checkout.run("run", "--suite", "tiny")
    assert ended.code == 1, ended.output
    assert "AttributeError: 'Suite' object has no attribute 'no_such_thing'" in ended.output
    assert (checkout.summary["exit_code"], checkout.summary["category"]) == (1, "test")
    assert checkout.leftovers() == {"containers": [], "networks": []}
