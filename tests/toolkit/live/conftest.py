"""What the live tests share: a machine that is set up, and throwaway checkouts in which things may be broken."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from itest import compose, images, suite
from itest.bake import shelf
from itest.machine import engine

ROOT = Path(__file__).resolve().parents[3]
# Any command sweeps what the dead left on this machine, and another test has just killed a run of its own.
SWEPT_ELSEWHERE = re.compile(r"^(?:itest: )?removing \S+, left by a run that was killed in .+\n", re.MULTILINE)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "toolkit", "__pycache__", ".*_cache")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: runs in a small form; whole in `make soak`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs take longer than a suite's test may, and soaking as long as it takes."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(0 if "ITEST_SLOW" in os.environ else 600))


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """An engine that answers and the images of all suites, as `make itest` would make sure of them."""
    compose.scrub_environment()
    engine.ensure(print)
    images.ensure(
        [need for name in suite.names(ROOT) for need in images.needs_of(suite.load(ROOT, name).config)], print
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code and all that it printed of its own checkout."""

    code: int
    output: str

    @classmethod
    def of(cls, code: int, printed: str) -> Ended:
        return cls(code, SWEPT_ELSEWHERE.sub("", printed))


@dataclass
class Checkout:
    """A copy of this repository that a test may change at will. Every stack that it leaves is removed afterwards."""

    path: Path

    def write(self, path: str, text: str) -> None:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.path / path).read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        self.write(path, text.replace(old, new))

    def suite(
        self, name: str, layer: str, x_itest: str = "isolation: none", test: str = "def test_it(stack): pass"
    ) -> None:
        """Add a suite with a network, one layer of its own and one test file."""
        self.write(f"compose/layers/{name}.yaml", layer)
        self.write(f"compose/suites/{name}.yaml", f"x-itest:\n  {x_itest}\n")
        files = ["compose/base.yaml", f"compose/layers/{name}.yaml", f"compose/suites/{name}.yaml"]
        self.write(f"compose/suites/{name}.env", f"COMPOSE_PROJECT_NAME=itest-{name}\nCOMPOSE_FILE={':'.join(files)}\n")
        self.write(f"tests/{name}/test_{name}.py", test)

    def start(self, verb: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a verb. variables: of the environment, beside those of this process."""
        return subprocess.Popen(
            [sys.executable, f"scripts/{verb}.py", *arguments],
            cwd=self.path,
            env=environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, verb: str, *arguments: str, timeout: float = 120, **variables: str) -> Ended:
        process = self.start(verb, *arguments, **variables)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Ended.of(process.returncode, output)

    def start_pytest(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start plain pytest, as an IDE does."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *arguments],
            cwd=cwd or self.path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pytest(self, *arguments: str, cwd: Path | None = None) -> Ended:
        """Plain pytest from its start to its end."""
        process = self.start_pytest(*arguments, cwd=cwd)
        output, _ = process.communicate()
        return Ended.of(process.returncode, output)

    @property
    def latest(self) -> Path:
        return self.path / "build" / "itest" / "latest"

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.latest / "summary.json").read_text(encoding="utf-8"))

    def leftovers(self) -> dict[str, list[str]]:
        """Containers and networks of stacks that were started from this checkout."""
        label = f"label={compose.WORKING_DIR_LABEL}={self.path / 'compose'}"
        containers = docker("container", "ls", "--all", "--filter", label, "--format", "{{.Names}}").split()
        runs = [path.name for path in (self.path / "build" / "itest").glob("2*")]
        networks = docker("network", "ls", "--filter", "label=itest.lease", "--format", "{{.Name}}").split()
        return {"containers": containers, "networks": [name for name in networks if any(run in name for run in runs)]}


def environment() -> dict[str, str]:
    """What a person's shell has: this process's environment without what make, pytest and a run put there."""
    inner = ("ITEST_", "MAKE", "MFLAGS", "PYTEST_", "COMPOSE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(inner)}


def docker(*arguments: str) -> str:
    """A docker command's output."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def named(checkout: Checkout) -> Checkout:
    """A checkout whose by-hand projects have names of their own, so that no real `make up` is in the way."""
    for name in ("api", "database"):
        checkout.replace(f"compose/suites/{name}.env", f"itest-{name}", f"itest-{name}-{os.getpid()}")
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A throwaway copy of this repository, without its toolkit tests."""
    yield from throwaway(tmp_path / "checkout")


@pytest.fixture(scope="module")
def shared_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """One for all tests of a module, whose by-hand project of suite `api` has a name of its own."""
    for copy in throwaway(tmp_path_factory.mktemp("shared") / "checkout"):
        copy.replace("compose/suites/api.env", "itest-api", f"itest-api-{os.getpid()}-shared")
        yield copy


def throwaway(path: Path) -> Iterator[Checkout]:
    """A copy of this repository; the stacks and bakes that are left of it are removed."""
    copy = Checkout(path)
    shutil.copytree(ROOT, copy.path, ignore=LEFT_OUT, symlinks=True)
    yield copy
    for project in compose.project_labels({compose.WORKING_DIR_LABEL: str(path / "compose")}):
        compose.remove(project)  # with its network and volumes
    for network in copy.leftovers()["networks"]:
        docker("network", "rm", network)
    shelf.prune(copy.path, print, every=True)  # what it baked is of no use to anybody else
