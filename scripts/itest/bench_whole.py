"""What a whole test costs, from set-up to teardown: the plugin's against pytest-postgresql's, on the same server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg

from itest import data
from itest import stack as stacks
from itest.stack.stack import Stack
from itest.suite.suite import Suite

RIVAL = "pytest-postgresql==10.0.0"  # not among our requirements: it would be loaded into every pytest here
TESTS = 100  # a whole test's cost is what so many add to a run


class WholeTests:
    """What a test costs from set-up to teardown: two runs of pytest, one with a single test and one with many."""

    def __init__(self, root: Path, folder: Path, suite: Suite) -> None:
        self.root, self.folder = root, folder
        self.python = _rival(root)
        self.stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
        stacks.start(self.stack)
        self.dsn = self.stack.dsn("postgres")

    def ours(self) -> float:
        """The plugin's `db`."""
        tests = self.root / "tests" / "database" / f"test_bench_{os.getpid()}.py"
        return _per_test(tests, _body("db", "items"), [sys.executable, "-m", "pytest"], self.root, self._known())

    def theirs(self) -> float:
        """pytest-postgresql's `postgresql` on the same server, its template filled from the same migrations."""
        said = psycopg.conninfo.conninfo_to_dict(self.dsn)
        migrations = data.plan(self.stack.suite).migrations  # it runs each in a transaction: without CONCURRENTLY then
        files = [self.root / migration.file.path for migration in migrations if migration.transactional]
        head = f"""
from pathlib import Path
from pytest_postgresql import factories

server = factories.postgresql_noproc(
    host={said["host"]!r}, port={int(str(said["port"]))}, user={said["user"]!r}, password={said["password"]!r},
    dbname="bench_itest_rival", load=[Path(path) for path in {[str(file) for file in files]!r}],
)
postgresql = factories.postgresql("server")
"""
        body = head + _body("postgresql", "items")
        return _per_test(self.folder / "test_rival.py", body, [str(self.python), "-m", "pytest"], self.folder, {})

    def _known(self) -> dict[str, str]:
        """What a run tells its pytest: the stack is there."""
        return {"ITEST_STACK": json.dumps([self.stack.suite.name, self.stack.name])}


def _body(fixture: str, table: str) -> str:
    return f"""
import pytest

@pytest.mark.parametrize("number", range(int(__import__("os").environ["BENCH_TESTS"])))
def test_it({fixture}, number):
    {fixture}.execute("INSERT INTO {table} (sku, name, price) VALUES ('NEW-ONE', 'New', 1)")
    {fixture}.commit()
"""


def _per_test(file: Path, body: str, command: list[str], cwd: Path, told: Mapping[str, str]) -> float:
    file.write_text(body, encoding="utf-8")
    quiet = [*command, "-q", "-p", "no:cacheprovider", str(file)]
    try:
        seconds = [_seconds(quiet, cwd, {**told, "BENCH_TESTS": str(n)}) for n in (1, 1 + TESTS)]
        return (seconds[1] - seconds[0]) / TESTS
    finally:
        file.unlink()


def _seconds(command: list[str], cwd: Path, told: Mapping[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=os.environ | told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def _rival(root: Path) -> Path:
    """The interpreter of a virtual environment that holds pytest-postgresql."""
    folder = root / "build" / "bench"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", RIVAL, "psycopg[binary]"], check=True)
    return python


def run(suite: Suite, pairs: int, measure: Callable[..., None]) -> None:
    """Measure it. measure: (name, ours, theirs, pairs)."""
    with tempfile.TemporaryDirectory() as folder:
        tests = WholeTests(suite.root, Path(folder), suite)
        try:
            measure("a whole test / pytest-postgresql", tests.ours, tests.theirs, pairs)
        finally:
            tests.stack.down()
