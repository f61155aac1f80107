"""Plain pytest with the plugin: what a failed test shows, and that attaching works whatever state a stack is in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from itest import compose
from itest.verdict import report

HEALTH = "tests/api/test_health.py"
RED = """
import pytest

@pytest.mark.parametrize("price", ["free"])
def test_red(http, price):
    answer = http.get("/nowhere/to/be/found")
    assert answer.status_code == 200

def test_green(http):
    http.get("/also/unknown")
"""
UNREACHABLE = """
def test_kills_it(http, stack):
    stack.kill("shop")
    http.get("/items")

def test_leaves_redis_paused(stack):
    stack.start("shop")
    stack.pause("redis")

def test_next():
    pass
"""


def by_hand(checkout, *arguments: str) -> None:
    """Plain docker compose on the suite `api`."""
    command = ["docker", "compose", "--env-file", "compose/suites/api.env", *arguments]
    subprocess.run(command, cwd=checkout.path, check=True, capture_output=True)


@pytest.fixture
def plain(named) -> Iterator:
    """A checkout whose suite `api` was started by plain docker compose: no table, no seed."""
    by_hand(named, "up", "-d", "--wait")
    yield named
    by_hand(named, "down", "-v", "-t", "0")


def container(checkout, service: str) -> str:
    labels = {compose.WORKING_DIR_LABEL: str(checkout.path / "compose"), compose.SERVICE_LABEL: service}
    return compose.containers(labels)[0].id


def test_tests_attach_in_seconds_to_a_stack_without_tables_and_again_after_its_database_restarted(plain):
    waited = plain.run("wait", "--suite", "api")
    assert waited.code == 6
    assert "the database is not migrated\nhint: make up SUITE=api" in waited.output

    for _ in range(2):
        began = time.monotonic()
        done = plain.pytest(HEALTH)
        assert done.code == 0, done.output
        assert time.monotonic() - began < 20
        subprocess.run(["docker", "restart", "-t", "1", container(plain, "postgres")], check=True, capture_output=True)
    assert plain.pytest(HEALTH).code == 0
    assert plain.run("wait", "--suite", "api").code == 0


def test_a_failed_test_shows_what_the_services_said_meanwhile_and_only_that(plain):
    plain.write("tests/api/test_red.py", RED)
    done = plain.pytest("tests/api/test_red.py", "--junitxml=junit.xml")
    assert done.code == 1, done.output
    junit = ElementTree.parse(plain.path / "junit.xml")
    red = junit.find(".//testcase[@name='test_red[free]']/system-out")
    green = junit.find(".//testcase[@name='test_green']/system-out")
    for shown in (done.output, "".join(red.itertext())):
        assert "GET /nowhere/to/be/found" in shown
        assert "/also/unknown" not in shown
    assert "--- service shop, log during this\n" in done.output
    assert "--- service redis" not in done.output
    assert green is None or "GET" not in "".join(green.itertext())


def test_a_service_out_of_reach_is_told_in_one_line_with_what_became_of_it(plain):
    plain.write("tests/api/test_red.py", UNREACHABLE)
    began = time.monotonic()
    done = plain.pytest("tests/api/test_red.py")
    assert done.code == 1, done.output
    assert "refused the connection (service shop: exited, code 137)" in done.output
    assert "service shop: exited, code 137\n" in done.output  # before what it printed
    assert "urllib3" not in done.output
    assert "service redis: paused, can't return to the seeded state: a test took it away" in done.output
    assert time.monotonic() - began < 30


def test_the_running_test_is_named_in_a_file_until_it_has_ended(checkout):
    running = checkout.path / "running"
    checkout.write("tests/unit/test_name.py", f"def test_it():\n    assert open({str(running)!r}).read() == 'no'\n")
    command = [sys.executable, "-m", "pytest", "-vv", "tests/unit/test_name.py"]
    variables = {"PATH": os.environ["PATH"], "ITEST_RUNNING": str(running)}
    done = subprocess.run(command, cwd=checkout.path, env=variables, capture_output=True, text=True, check=False)
    assert "AssertionError: assert 'tests/unit/test_name.py::test_it' == 'no'" in done.stdout
    assert running.read_text() == ""


def test_a_test_whose_worker_has_died_is_no_longer_running(checkout):
    running = checkout.path / "running"
    checkout.write("tests/unit/test_name.py", "import os\ndef test_it(): os._exit(3)\n")
    command = [sys.executable, "-m", "pytest", "-n", "1", "tests/unit/test_name.py"]
    variables = {"PATH": os.environ["PATH"], "ITEST_RUNNING": str(running)}
    done = subprocess.run(command, cwd=checkout.path, env=variables, capture_output=True, text=True, check=False)
    assert "crashed while running 'tests/unit/test_name.py::test_it'" in done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert not running.exists() or running.read_text() == ""


def test_a_store_that_died_by_itself_is_told_and_the_tests_after_it_are_not_run(plain):
    killing = "def test_kills_it(stack):\n    stack.project.act('kill', 'postgres')\n\n\ndef test_next():\n    pass\n"
    plain.write("tests/api/test_red.py", killing)
    done = plain.pytest("tests/api/test_red.py")
    assert done.code == 1, done.output
    assert "service postgres: exited, code 137, can't return to the seeded state: " in done.output
    assert "service postgres: exited with code 137 (killed, SIGKILL) during the tests" in done.output
    assert "1 passed, 1 error in" in done.output
    assert "psycopg" not in done.output


OWN_MISTAKE = """
from contextlib import contextmanager

from itest.mock import stubfile

def stubbed(text):
    return stubfile.from_data({"request": {}, "response": {"body": text}}, "mock.stub")

@contextmanager
def around(text):
    yield stubbed(text)

def test_mistake():
    with around("{{ nope"):
        pass

def test_bug():
    stubfile.read_folder(None, None)
"""


def test_a_mistake_in_a_tests_own_call_shows_the_lines_of_the_test_and_a_bug_of_the_toolkit_all(checkout):
    checkout.write("tests/unit/test_name.py", OWN_MISTAKE)
    command = [sys.executable, "-m", "pytest", "tests/unit/test_name.py", "--junitxml=junit.xml"]
    variables = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=checkout.path, env=variables, capture_output=True, text=True, check=False)
    mistake, bug = done.stdout.split(" test_mistake ")[1].split(" test_bug ")
    where = r"tests/unit/test_name\.py"
    frames = rf"{where}:14: in test_mistake\n    with around\(.+\n{where}:11: in around\n.+\n{where}:7: in stubbed\n"
    assert re.search(rf"\nitest: error: .+no template.+\n(hint: .+\n)?{frames}", mistake)
    assert not re.search("scripts/itest|contextlib|jinja2|another exception", mistake)
    assert "scripts/itest/mock/stubfile.py" in bug
    assert "FAILED tests/unit/test_name.py::test_mistake - itest: error: mock.stub" in done.stdout
    first = report.read_suite(checkout.path / "junit.xml").red[0]
    assert first.message.startswith("itest: error: mock.stub")
    full = subprocess.run([*command, "--full-trace"], cwd=checkout.path, env=variables, capture_output=True, text=True)
    assert "scripts/itest/mock/stubfile.py" in full.stdout.split(" test_mistake ")[1].split(" test_bug ")[0]
