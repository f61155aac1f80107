"""What the unit tests of suites share: a small repository that is right, for a test to make one mistake in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from itest import suite
from itest.errors import ItestError
from itest.suite.suite import Suite

FILES = {
    "compose/base.yaml": "networks:\n  default: {}\n",
    "compose/layers/store.yaml": """\
services:
  store:
    image: postgres:17.11
    x-itest: {kind: postgres}
    environment:
      POSTGRES_PASSWORD: ${STORE_PASSWORD:-itest}
    volumes:
      - ./init:/docker-entrypoint-initdb.d:ro
    ports: ["127.0.0.1::5432"]
""",
    "compose/layers/app.yaml": """\
services:
  app:
    image: ${APP_IMAGE:-team/app:1.4}
    x-itest: {kind: http, port: 8000, ready: {http: /ready}}
    depends_on:
      store: {condition: service_healthy}
    ports: ["127.0.0.1::8000"]
""",
    "compose/init/10-roles.sql": "SELECT 1;\n",
    "compose/suites/api.env": "COMPOSE_PROJECT_NAME=itest-api\nCOMPOSE_FILE=compose/base.yaml"
    ":compose/layers/store.yaml:compose/layers/app.yaml:compose/suites/api.yaml\n",
    "compose/suites/api.yaml": """\
x-itest:
  tests: tests/api
  migrations: migrations/app
  fixtures: [fixtures/base]
  isolation: delete
  tags: [blocking]
services:
  app:
    x-itest:
      timeout: 20
""",
    "compose/profiles/dev.env": "APP_PORT=8000\n",
    "tests/api/test_api.py": "",
    "migrations/app/V1__create.sql": "",
    "fixtures/base/10_rows.json": "{}",
}


@dataclass(frozen=True)
class Repo:
    """A small repository that holds suite `api`, in which a test makes its mistake."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> Repo:
        """A right one; also puts right what a test changed."""
        repo = cls(path)
        for file, text in FILES.items():
            repo.write(file, text)
        return repo

    def text(self, file: str) -> str:
        """A file as it is when it is right."""
        return FILES[file]

    def write(self, file: str, text: str) -> None:
        (self.path / file).parent.mkdir(parents=True, exist_ok=True)
        (self.path / file).write_text(text, encoding="utf-8")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a part of a right file, or all of it for an empty `old`."""
        text = self.text(file)
        assert not old or text.count(old) == 1, f"{file} must hold {old!r} once"
        self.write(file, text.replace(old, new) if old else new)

    def load(self, name: str = "api", profile: str = "") -> Suite:
        return suite.load(self.path, name, profile)

    def refusal(self, step: Callable[[], Any] | None = None) -> str:
        """The whole message with which load, or another step, refuses."""
        with pytest.raises(ItestError) as caught:
            (step or self.load)()
        assert (caught.value.category, bool(caught.value.cause)) == ("usage", True)
        return str(caught.value).removeprefix("itest: error: ")

    def check(self) -> None:
        """Load, and check what compose makes of it."""
        suite.check(self.load())


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path)


@pytest.fixture(scope="session")
def common_repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """One for all examples of a property; every example puts right what it needs right."""
    return Repo.make(tmp_path_factory.mktemp("repo"))


@pytest.fixture(scope="session")
def _compose_client() -> None:
    command = ["docker", "compose", "version"]
    if not shutil.which("docker") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no docker compose here")


@pytest.fixture
def compose_client(_compose_client: None, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker compose config` in the small repository, as the verbs call it; it needs no engine."""
    monkeypatch.chdir(repo.path)
    for name in [name for name in os.environ if name.startswith("COMPOSE_")]:
        monkeypatch.delenv(name)
