"""`make doctor` on the real engine: clean on what is right, and else every kind of verdict, in its exit code too."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from itest import suite
from itest.doctor import machine, supply
from itest.stack.eventually import eventually

OPEN = "127.0.0.1:1"  # a registry that refuses every connection
SEALING = "scripts/itest/stack/sealing.py"


def diagnosed(checkout, *arguments: str, code: int = 0, **variables: str) -> dict:
    """What doctor says as JSON, and that it ended with this code."""
    ended = checkout.run("doctor", "--json", *arguments, **variables)
    assert ended.code == code, ended.output
    told = json.loads(ended.output)
    assert told["exit_code"] == code
    return told


def ids(told: dict, severity: str) -> set[str]:
    return {one["id"] for one in told["findings"] if one["severity"] == severity}


def networks_of(checkout) -> list[str]:
    """The networks that say that a process of this checkout owns them."""
    words = ["network", "ls", "--filter=label=itest.lease", '--format={{.Name}} {{.Label "itest.owner"}}']
    listed = subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in listed if f'"{checkout.path}"' in line]


@pytest.fixture
def doctored(shared_checkout):
    """The module's checkout, put right again after each test."""
    mended = [*(shared_checkout.path / "compose").rglob("*.yaml"), shared_checkout.path / SEALING]
    files = {path: path.read_bytes() for path in mended}
    yield shared_checkout
    for path, content in files.items():
        path.write_bytes(content)


def test_the_samples_are_clean_and_the_wait_budget_is_told(doctored):
    told = diagnosed(doctored)
    about_files = [one for one in told["findings"] if one["suites"]]
    assert about_files == []
    assert ids(told, "error") == set()
    assert told["wait_budget"].keys() == set(suite.names(doctored.path))
    assert all(0 < one["fastest_s"] < one["slowest_s"] for chains in told["wait_budget"].values() for one in chains)


def test_a_person_reads_findings_worst_first_and_counts_last(doctored):
    doctored.replace("compose/layers/redis.yaml", "127.0.0.1:${REDIS_PORT:-}:6379", "0.0.0.0:${REDIS_PORT:-}:6379")
    doctored.replace("compose/layers/redis.yaml", "    image:", "    container_name: redis\n    image:")
    ended = doctored.run("doctor", "--suite", "api")
    assert ended.code == 2, ended.output
    first, counts = ended.output.index("error     "), ended.output.splitlines()[-1]
    assert first < ended.output.index("warning   compose/layers/redis.yaml:")
    assert "[fixed-name]" in ended.output
    assert re.fullmatch(r"1 error, \d+ warnings?, \d+ notes?; exit 2", counts)


def test_an_engine_that_does_not_answer_is_one_finding_and_the_files_are_read_all_the_same(doctored):
    told = diagnosed(doctored, code=3, DOCKER_HOST="tcp://127.0.0.1:1")
    assert ids(told, "error") == {"engine"}
    assert told["wait_budget"]


def test_an_image_that_nothing_gives_is_an_error_and_one_with_a_stand_in_is_not(doctored):
    given = {"SHOP_IMAGE": f"{OPEN}/team/shop:1", "REDIS_IMAGE": "redis:8.0.99"}
    doctored.replace("compose/layers/shop.yaml", "    build:\n", "    x-build:\n")
    told = diagnosed(doctored, "--suite", "api", code=4, **given)
    assert (ids(told, "error"), ids(told, "note") - {"port-taken"}) == ({"image-unobtainable"}, {"image-missing"})


def test_a_registry_is_asked_without_pulling(doctored):
    seen = machine.look(doctored.path)
    if not seen.endpoint.startswith("unix://"):
        pytest.skip("the engine is asked over its own socket only")
    assert "refused" in supply.ask(seen.endpoint, f"{OPEN}/team/app:1")
    assert supply.ask("ssh://elsewhere", f"{OPEN}/team/app:1") == ""


def test_a_port_of_a_profile_that_is_taken_is_told(doctored):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (doctored.path / "compose/profiles/mine.env").write_text(f"SHOP_PORT={port}\n", encoding="utf-8")
        told = diagnosed(doctored, "--suite", "database")
    (doctored.path / "compose/profiles/mine.env").unlink()
    assert f"port {port} of PROFILE=mine is taken by a process of this machine" in [
        one["what"] for one in told["findings"]
    ]


def test_a_kept_stack_is_told_and_what_its_container_really_is(doctored):
    name = f"itest-kept-{os.getpid()}"
    layer = """\
services:
  box:
    extends: {file: defaults.yaml, service: defaults}
    image: ${REDIS_IMAGE:-redis:8.0.2}
    mem_limit: 64m
    command: [sleep, "60"]
    healthcheck: {test: [CMD, "true"], start_period: 30s, start_interval: 250ms, interval: 5s, timeout: 3s}
"""
    doctored.suite("kept", layer)
    doctored.replace("compose/suites/kept.env", "itest-kept", name)
    try:
        assert doctored.run("up", "--suite", "kept").code == 0
        told = diagnosed(doctored, "--suite", "kept")
        kept = [one["what"] for one in told["findings"] if one["id"] == "kept-stack"]
        assert kept == [f"kept: {name}"]
        of_files = [one["id"] for one in told["findings"] if one["suites"]]
        assert of_files == ["root-user"], "the image's own user is root"
    finally:
        doctored.run("down", "--suite", "kept")
    assert "kept-stack" not in ids(diagnosed(doctored, "--suite", "kept"), "note")


def test_under_the_profile_the_seal_is_tried_and_nothing_of_it_stays(doctored):
    told = diagnosed(doctored, "--suite", "database", "--profile", "sealed")
    assert [one["id"] for one in told["findings"] if "seal" in one["id"] or one["suites"]] == []
    doctored.replace(SEALING, 'SEALED = [*PLAIN, "--internal", ', "SEALED = PLAIN  # [")  # an engine that heeds no flag
    told = diagnosed(doctored, "--suite", "database", "--profile", "sealed", code=3)
    assert ids(told, "error") == {"not-sealed"}
    assert networks_of(doctored) == []


def test_a_doctor_that_is_killed_while_it_tries_is_swept_by_the_next_command(doctored):
    doctor = doctored.start("doctor", "--suite", "database", "--profile", "sealed")
    eventually(lambda: len(networks_of(doctored)) == 2, timeout=20)
    os.killpg(doctor.pid, signal.SIGKILL)
    doctor.wait()
    assert doctored.run("images", "--suite", "database").code == 0
    assert networks_of(doctored) == []


def test_what_the_engine_says_is_understood(doctored):
    seen = machine.look(doctored.path)
    assert seen.problem is None
    assert (seen.cores > 0, seen.cgroup in ("1", "2"), seen.skew) == (True, True, 0.0)
    left, total = seen.networks
    assert 0 < left < total
    assert seen.disks
