"""What itest costs against what one would do otherwise: alternating pairs in one run, medians, ratios with spread."""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from itest import compose, images
from itest import stack as stacks
from itest import suite as suites
from itest.data import baseline
from itest.machine import engine
from itest.stack.stack import Stack
from itest.suite.suite import Suite
from itest.verdict import atomic

TABLES = 40
RESETS = 50  # pairs: a reset takes a millisecond

Clocked = Callable[[], float]  # does the thing once, cleans up after it, returns the seconds that count


@dataclass(frozen=True)
class Ratio:
    """Medians in seconds; ratio: median of ours/theirs pair by pair; low, high: its extremes; n: pairs."""

    ours_s: float
    theirs_s: float
    ratio: float
    low: float
    high: float
    n: int


def compare(ours: Clocked, theirs: Clocked, pairs: int) -> Ratio:
    """Time two ways in turn, so that a machine whose speed drifts slows both; one pair is thrown away first."""
    ours(), theirs()
    timed = [(ours(), theirs()) for _ in range(pairs)]
    ratios = [mine / other for mine, other in timed]
    mine, other = (statistics.median(column) for column in zip(*timed, strict=True))
    ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
    return Ratio(round(mine, 6), round(other, 6), round(ratio, 3), round(low, 3), round(high, 3), pairs)


def run(root: Path, pairs: int, report: Callable[[str], None]) -> dict[str, Ratio]:
    """Measure everything, print a table line by line, write build/bench.json."""
    compose.scrub_environment()
    engine.ensure(report)
    suite = suites.load(root, "database")
    images.ensure(images.needs_of(suite.config), report)
    benchmarks: dict[str, tuple[Clocked, Clocked]] = {
        "start / compose up --wait": (lambda: _ours(suite), lambda: _compose_wait(suite)),
        "start / testcontainers": (lambda: _ours(suite), lambda: _testcontainers(suite)),
        "make up / compose up --wait": (lambda: _make_up(suite), lambda: _compose_wait(suite)),
        "make itest / by hand": (lambda: _make_itest(suite), lambda: _by_hand(suite)),
    }
    report(f"{'':30} {'ours':>8} {'theirs':>8} {'ratio':>6}   spread   ({pairs} pairs, suite {suite.name})")
    found: dict[str, Ratio] = {}
    for name, (ours, theirs) in benchmarks.items():
        found[name] = compare(ours, theirs, pairs)
        report(_line(name, found[name]))
    with _forty_tables(suite) as connection:
        name = "reset 40 tables / TRUNCATE"
        found[name] = compare(lambda: _reset(connection), lambda: _truncate(connection), RESETS)
        report(_line(name, found[name]))
    results = {name: asdict(one) for name, one in found.items()}
    atomic.write(root / "build" / "bench.json", json.dumps(results, indent=2) + "\n")
    return found


def _line(name: str, one: Ratio) -> str:
    times = [
        f"{seconds:6.2f} s" if seconds >= 0.1 else f"{seconds * 1000:5.2f} ms" for seconds in (one.ours_s, one.theirs_s)
    ]
    return f"{name:30} {times[0]} {times[1]} {one.ratio:6.2f}   {one.low:.2f}-{one.high:.2f}"


def _ours(suite: Suite) -> float:
    """From nothing to ready, migrated and seeded, inside this process."""
    stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
    started = time.monotonic()
    try:
        stacks.start(stack)
        return time.monotonic() - started
    finally:
        stack.down()


def _compose_wait(suite: Suite) -> float:
    """`docker compose up -d --wait` alone: healthy, neither migrated nor seeded."""
    project = suite.project(f"itest-bench-{secrets.token_hex(4)}")
    started = time.monotonic()
    try:
        _call(project.command("up", "-d", "--wait"))
        return time.monotonic() - started
    finally:
        project.down()


def _testcontainers(suite: Suite) -> float:
    """The same image with the same flags and tmpfs, ready as testcontainers understands it; not migrated or seeded."""
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # its reaper's image is not needed, and starting it would cost
    from testcontainers.postgres import PostgresContainer

    service = suite.config["services"]["postgres"]
    container = PostgresContainer(service["image"], username="postgres", password="itest", dbname="app", driver=None)
    container.with_command(service["command"]).with_tmpfs_mount("/var/lib/postgresql/data")
    started = time.monotonic()
    try:
        container.start()
        return time.monotonic() - started
    finally:
        container.stop()


def _make_up(suite: Suite) -> float:
    started = time.monotonic()
    try:
        _call(["make", "-C", str(suite.root), "up", f"SUITE={suite.name}"])
        return time.monotonic() - started
    finally:
        suite.project(suite.kept_name).down()


def _make_itest(suite: Suite) -> float:
    started = time.monotonic()
    _call(["make", "-C", str(suite.root), "itest", f"SUITE={suite.name}"])
    return time.monotonic() - started


def _by_hand(suite: Suite) -> float:
    """What a shell script would do with the same files: compose up, the same pytest, compose down."""
    started = time.monotonic()
    project = suite.project(suite.kept_name)
    try:
        _call(project.command("up", "-d", "--wait"))
        _call([sys.executable, "-m", "pytest", "-q", str(suite.root / suite.tests)], cwd=suite.root)
    finally:
        _call(project.command("down", "-v", "-t", "1"))
    return time.monotonic() - started


@contextmanager
def _forty_tables(suite: Suite) -> Iterator[psycopg.Connection]:
    """A session on a database of 40 tables joined by foreign keys, four of them seeded, with its baseline taken."""
    stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
    try:
        stacks.start(stack)
        with psycopg.connect(stack.dsn("postgres"), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            for number in range(TABLES):
                parent = f"REFERENCES t{number - 1}" if number else ""
                connection.execute(
                    f"CREATE TABLE t{number} (id serial PRIMARY KEY, up int {parent}, name text)".encode()
                )
            for number in range(4):
                rows = f"INSERT INTO t{number} (up, name) SELECT nullif({number}, 0), 'x' FROM generate_series(1, 20)"
                connection.execute(rows.encode())
            baseline.prepare(connection)
            yield connection
    finally:
        stack.down()


def _dirty(connection: psycopg.Connection) -> None:
    inserts = [f"INSERT INTO t{number} (name) VALUES ('dirt')" for number in range(0, TABLES, TABLES // 5)]
    connection.execute("; ".join(inserts).encode())


def _reset(connection: psycopg.Connection) -> float:
    _dirty(connection)
    started = time.monotonic()
    baseline.reset(connection)
    return time.monotonic() - started


def _truncate(connection: psycopg.Connection) -> float:
    """The usual way, which brings back neither seeded rows nor their sequences."""
    _dirty(connection)
    started = time.monotonic()
    connection.execute(
        f"TRUNCATE {', '.join(f't{number}' for number in range(TABLES))} RESTART IDENTITY CASCADE".encode()
    )
    elapsed = time.monotonic() - started
    baseline.reset(connection)
    return elapsed


def _call(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
