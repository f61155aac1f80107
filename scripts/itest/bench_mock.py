"""The mock against WireMock's standalone jar: the same stubs, limits and load, in turn, pair by pair."""

from __future__ import annotations

import json
import secrets
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from itest import compose, images
from itest.bench_mock_server import Server
from itest.containers import docker
from itest.machine import engine
from itest.verdict import atomic

FOLDER = Path("scripts/itest/bench_wiremock")
CLIENTS = 16
WARM_S, LOAD_S = 5, 5  # seconds of load: Java compiles what is hot while it runs, and only then is it measured
ROUNDS = 200  # a pair: in each, CLIENTS redeem one voucher at once


@dataclass(frozen=True)
class Sample:
    """One start of one server, to its end. Seconds, MiB as `docker stats` counts them, milliseconds.

    rounds: the share in which exactly one client was the first; load: what the load generator used of one core.
    """

    start: float
    memory: float
    memory_loaded: float
    rate: float
    p50: float
    p99: float
    rounds: float
    load: float


@dataclass(frozen=True)
class Row:
    """Medians; ratio: median of ours/theirs pair by pair; low, high: its extremes; n: pairs.

    target: what the ratio is to be at most, or at least where more is better; None where only the order counts.
    """

    ours: float
    theirs: float
    unit: str
    ratio: float
    low: float
    high: float
    n: int
    more_is_better: bool
    target: float | None

    @property
    def judged(self) -> str:
        """Where we are behind, in words; "" where we are not."""
        wanted = 1.0 if self.target is None else self.target
        if self.ratio >= wanted if self.more_is_better else self.ratio <= wanted:
            return ""
        bound = "at least" if self.more_is_better else "at most"
        return "behind" if self.target is None else f"behind: {bound} {wanted:g} is wanted"


# Field of Sample, name of the row, unit, whether more is better, target.
ROWS: Sequence[tuple[str, str, str, bool, float | None]] = (
    ("start", "mock, start / WireMock", "s", False, 0.6),
    ("memory", "mock, memory / WireMock", "MiB", False, 1.0),
    ("memory_loaded", "mock, memory after load", "MiB", False, 1.0),
    ("rate", f"mock, rate, {CLIENTS} clients", "/s", True, None),
    ("p50", f"mock, p50, {CLIENTS} clients", "ms", False, None),
    ("p99", f"mock, p99, {CLIENTS} clients", "ms", False, 2.0),
    ("rounds", "mock, atomic rounds", "%", True, 1.0),
)


def run(root: Path, pairs: int, report: Callable[[str], None]) -> dict[str, Row]:
    """Fetch WireMock and Java, measure both, print the table, and put its rows into build/bench.json."""
    compose.scrub_environment()
    engine.ensure(report)
    project = compose.Project(f"itest-bench-{secrets.token_hex(4)}", root, (root / FOLDER / "stack.env",))
    images.ensure(images.needs_of(project.config()), report)
    with ExitStack() as ending:
        ending.callback(project.down)
        project.up(["mock", "wiremock", "load"], start=False)
        load = project.containers()["load"].id
        docker("start", load)
        ours, theirs = (Server(project, name) for name in ("mock", "wiremock"))
        report(f"{1 + pairs} pairs, the first to warm up, about a minute each")
        sample(ours, load), sample(theirs, load)  # thrown away: files that nobody has read yet
        taken = [(sample(ours, load), sample(theirs, load)) for _ in range(pairs)]
    rows = {row[1]: compare(row, taken) for row in ROWS}
    for line in table(rows, taken):
        report(line)
    file = root / "build" / "bench.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    atomic.write(file, json.dumps(known | {name: asdict(row) for name, row in rows.items()}, indent=2) + "\n")
    return rows


def sample(server: Server, load: str) -> Sample:
    """All that is measured of one server, from its start to its end. load: the container that wrk is in."""
    start = server.start()
    try:
        memory = server.memory()
        server.put_under_load(load, CLIENTS, WARM_S)
        found = server.put_under_load(load, CLIENTS, LOAD_S)
        loaded = server.memory()
        return Sample(
            start, memory, loaded, found.rate, found.p50, found.p99, server.race(CLIENTS, ROUNDS), found.cores
        )
    finally:
        server.stop()


def compare(row: tuple[str, str, str, bool, float | None], taken: Sequence[tuple[Sample, Sample]]) -> Row:
    """One row of the table. taken: pairs of ours and theirs."""
    field, _, unit, more, target = row
    values = [(getattr(mine, field), getattr(other, field)) for mine, other in taken]
    ratios = [mine / other for mine, other in values]
    mine, other = (statistics.median(column) for column in zip(*values, strict=True))
    ratio, low, high = (round(each(ratios), 3) for each in (statistics.median, min, max))
    return Row(round(mine, 3), round(other, 3), unit, ratio, low, high, len(taken), more, target)


def table(rows: dict[str, Row], taken: Sequence[tuple[Sample, Sample]]) -> list[str]:
    """The lines to print. The last says how busy the load generator was: near 100 % it would have measured itself."""
    lines = [f"{'':32} {'ours':>13} {'theirs':>13} {'ratio':>6}   spread   ({len(taken)} pairs, WireMock's jar)"]
    for name, row in rows.items():
        ours, theirs = (f"{value:9.{2 if value < 10 else 1}f} {row.unit:3}" for value in (row.ours, row.theirs))
        lines.append(
            f"{name:32} {ours} {theirs} {row.ratio:6.2f}   {row.low:.2f}-{row.high:.2f}  {row.judged}".rstrip()
        )
    busy = max(sample.load for pair in taken for sample in pair)
    rounds = ROUNDS * len(taken)
    lines.append(f"{rounds} rounds each; the load generator used {busy:.0%} of a core at most")
    return lines
