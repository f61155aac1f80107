"""What itest costs against what one would do otherwise: alternating pairs in one run, medians, ratios with spread."""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from itest import bake, bench_faults, bench_state, bench_watch, bench_whole, compose, images
from itest import stack as stacks
from itest import suite as suites
from itest.machine import engine
from itest.stack.stack import Stack
from itest.suite.suite import Suite
from itest.verdict import atomic

Clocked = Callable[[], float]  # does the thing once, cleans up after it, returns the seconds that count


@dataclass(frozen=True)
class Ratio:
    """Medians in seconds; ratio: median of ours/theirs pair by pair; low, high: its extremes; n: pairs.

    ours_p95_s: what ours stays under in 19 of 20 cases.
    """

    ours_s: float
    theirs_s: float
    ratio: float
    low: float
    high: float
    n: int
    ours_p95_s: float


def compare(ours: Clocked, theirs: Clocked, pairs: int) -> Ratio:
    """Time two ways in turn, so that a machine whose speed drifts slows both; one pair is thrown away first."""
    ours(), theirs()
    timed = [(ours(), theirs()) for _ in range(pairs)]
    ratios = [mine / other for mine, other in timed]
    mine, other = (statistics.median(column) for column in zip(*timed, strict=True))
    ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
    slow = sorted(mine for mine, _ in timed)[int(0.95 * (pairs - 1) + 0.5)]
    return Ratio(round(mine, 6), round(other, 6), round(ratio, 3), round(low, 3), round(high, 3), pairs, round(slow, 6))


def run(root: Path, pairs: int, report: Callable[[str], None]) -> dict[str, Ratio]:
    """Measure everything, print a table line by line, write build/bench.json."""
    compose.scrub_environment()
    engine.ensure(report)
    suite = suites.load(root, "database")
    images.ensure(images.needs_of(suite.config), report)
    baked = bake.ensure(suite, report).images
    found: dict[str, Ratio] = {}

    def measure(name: str, ours: Clocked, theirs: Clocked, pairs: int = pairs) -> None:
        found[name] = compare(ours, theirs, pairs)
        report(_line(name, found[name]))

    report(f"{'':32} {'ours':>8} {'p95':>8} {'theirs':>8} {'ratio':>6}   spread   ({pairs} pairs, suite {suite.name})")
    official = _official(suite.config["services"]["postgres"][bake.BAKED_FROM]) if baked else {}
    measure("start / compose up --wait", lambda: _ours(suite, baked), lambda: _compose_wait(suite, official))
    measure("start / compose up", lambda: _ours(suite, baked), lambda: _compose_up(suite, official))
    measure("start, BAKE=0 / compose up --wait", lambda: _ours(suite, {}), lambda: _compose_wait(suite, {}))
    measure("start / testcontainers", lambda: _ours(suite, baked), lambda: _testcontainers(suite))
    measure("make up / compose up --wait", lambda: _make_up(suite), lambda: _compose_wait(suite, official))
    measure("make itest / by hand", lambda: _make_itest(suite), lambda: _by_hand(suite))
    bench_state.run(suite, pairs, measure)
    bench_whole.run(suite, pairs, measure)
    bench_watch.run(root, pairs, measure)
    bench_faults.run(root, pairs, measure)
    results = {name: asdict(one) for name, one in found.items()}
    atomic.write(root / "build" / "bench.json", json.dumps(results, indent=2) + "\n")
    return found


def _line(name: str, one: Ratio) -> str:
    ours, slow, theirs = (
        f"{seconds:6.2f} s" if seconds >= 0.1 else f"{seconds * 1000:5.2f} ms"
        for seconds in (one.ours_s, one.ours_p95_s, one.theirs_s)
    )
    return f"{name:32} {ours} {slow} {theirs} {one.ratio:6.2f}   {one.low:.2f}-{one.high:.2f}"


def _ours(suite: Suite, baked: Mapping[str, str]) -> float:
    """From nothing to ready, migrated and seeded, inside this process. baked: variable -> image."""
    stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}", baked))
    started = time.monotonic()
    try:
        stacks.start(stack)
        return time.monotonic() - started
    finally:
        stack.down()


def _official(image: str) -> dict[str, str]:
    """An image that runs initdb at its first start, as the official one does; a stand-in has a shortcut.

    It takes that only as long as nobody asks for a time zone. variable -> image.
    """
    tag = "itest/bench/postgres:initdb"
    text = f"FROM {image}\nENV TZ=Etc/UTC\n"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, "-"], input=text, text=True, check=True, stdout=subprocess.DEVNULL
    )
    return {"POSTGRES_IMAGE": tag}


def _compose_up(suite: Suite, chosen: Mapping[str, str]) -> float:
    """`docker compose up -d` alone: the container runs, and nobody knows more."""
    return _compose(suite, chosen, "up", "-d")


def _compose_wait(suite: Suite, chosen: Mapping[str, str]) -> float:
    """`docker compose up -d --wait` alone: healthy, neither migrated nor seeded."""
    return _compose(suite, chosen, "up", "-d", "--wait")


def _compose(suite: Suite, chosen: Mapping[str, str], *arguments: str) -> float:
    project = suite.project(f"itest-bench-{secrets.token_hex(4)}", chosen)
    started = time.monotonic()
    try:
        _call(project.command(*arguments))
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


def _call(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
