"""A disk that is full: an engine of our own, whose data is on a small file system of its own, filled for real."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from itest.errors import ItestError
from itest.machine import daemon, disk
from itest.stack.eventually import eventually

# Bytes: of the disk; of an image without a tag that is on it, which leaves what a run asks for; and of what is built,
# which the builder holds twice.
SIZE, HELD, BUILT = 460 * 10**6, 230 * 10**6, 120 * 10**6
BIG = """\
services:
  big:
    extends: {file: defaults.yaml, service: defaults}
    image: itest/big-for-a-test:1
    build: ./images/big
    healthcheck: {test: [CMD, "true"]}
"""


@dataclass(frozen=True)
class SmallEngine:
    """host: as DOCKER_HOST has it; folder: where its data is, on a file system of its own."""

    host: str
    folder: Path


@pytest.fixture(scope="module")
def small_engine() -> Iterator[SmallEngine]:
    """A second dockerd, without networks, beside the machine's own and unknown to it."""
    if os.geteuid() != 0 or not daemon.program() or not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("a second engine needs root, dockerd, unshare and setpriv")
    try:
        daemon.check_privileges()
    except ItestError as error:
        pytest.skip(error.message)
    with ExitStack() as ending:
        folder = Path(
            ending.enter_context(tempfile.TemporaryDirectory(prefix="itest-disk-"))
        )  # sockets need short paths
        ending.enter_context(_mounted(folder / "data"))
        yield ending.enter_context(_running(folder))


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--recursive", folder], check=True)


@contextmanager
def _running(folder: Path) -> Iterator[SmallEngine]:
    own = {"data-root": "data/engine", "exec-root": "exec", "pidfile": "pid"}
    places = [f"--{option}={folder / name}" for option, name in own.items()]
    alone = ["--config-file=/dev/null", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    host = f"unix://{folder}/socket"
    # In a network namespace of its own, as a dockerd without a bridge removes a docker0 that it finds; and ended with
    # pytest, which it would outlive otherwise.
    command = ["unshare", "--net", "setpriv", "--pdeathsig=TERM", daemon.program(), f"--host={host}", *places, *alone]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as dockerd:
        try:
            eventually(lambda: disk.of_engine(host), timeout=daemon.STARTS_WITHIN)
            yield SmallEngine(host, folder / "data")
        finally:
            dockerd.terminate()
            dockerd.wait(timeout=30)


@pytest.fixture
def big(checkout):
    """A suite with an image for which the small engine has room only when it holds nothing else."""
    checkout.suite("big", BIG)
    checkout.write("compose/images/big/Dockerfile", "FROM scratch\nCOPY bytes /bytes\n")
    with (checkout.path / "compose/images/big/bytes").open("wb") as file:
        file.truncate(BUILT)
    return checkout


def test_an_image_that_fills_the_disk_names_that_disk_and_the_hint_mends_it(big, small_engine):
    ask = ["docker", f"--host={small_engine.host}"]
    with tempfile.TemporaryFile() as archive, tarfile.open(fileobj=archive, mode="w") as tar:
        held = tarfile.TarInfo("held")
        held.size = HELD
        tar.addfile(held, io.BytesIO(bytes(HELD)))
        tar.close()
        archive.seek(0)
        subprocess.run([*ask, "import", "-"], stdin=archive, check=True)  # without a tag
    ended = big.run("run", ITEST_SUITE="big", ITEST_BAKE="0", DOCKER_HOST=small_engine.host)
    assert ended.code == 3, ended.output
    first, hint = (big.latest / "failure.txt").read_text(encoding="utf-8").splitlines()[:2]
    where = f"MB are free in {small_engine.folder}/engine by now"
    assert re.fullmatch(rf"engine/disk: image itest/big-for-a-test:1: build.*: disk full: \d+ {where}", first)
    assert "Traceback" not in ended.output
    assert "docker system prune" in hint
    subprocess.run([*ask, "system", "prune", "--force"], check=True)
    ended = big.run("images", "--suite", "big", DOCKER_HOST=small_engine.host)
    assert ended.code == 0, ended.output


def test_a_disk_without_room_is_told_before_anything_starts(big, small_engine):
    with (small_engine.folder / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, disk.of_engine(small_engine.host).free - disk.LEAST + 10**6))
    ended = big.run("run", ITEST_SUITE="big", DOCKER_HOST=small_engine.host)
    assert ended.code == 3, ended.output
    said = f"docker engine {small_engine.host}: its disk is full: "
    assert said in ended.output
    assert f" MB are free in {small_engine.folder}/engine, and a stack needs 200" in ended.output
    assert "images " not in ended.output, "a stage had begun"
    ended = big.run("doctor", "--json", "--suite", "big", DOCKER_HOST=small_engine.host)
    found = {one["id"]: one["what"] for one in json.loads(ended.output)["findings"] if one["severity"] == "error"}
    assert f"in {small_engine.folder}/engine" in found["disk"]
