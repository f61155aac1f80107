"""What the fault sidecar costs while no fault is active, and whether a latency is the one that was asked for."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from itest import images
from itest import stack as stacks
from itest import suite as suites
from itest.faults import sidecar
from itest.faults.session import Session
from itest.stack.stack import Stack

SUITE, CLIENT, SERVER = "api", "shop", "postgres"
TRIPS = 500  # round trips, of which the median counts
FEW = 20  # where each takes as long as a latency
LATENCY = 50  # milliseconds
# In the client's container, for as many round trips as a line of its stdin says: the median of their seconds.
PROGRAM = """
import os, statistics, sys, time, psycopg
with psycopg.connect(os.environ["SHOP_DATABASE_URL"], autocommit=True) as connection:
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.perf_counter()
            connection.execute("SELECT 1")
            seconds.append(time.perf_counter() - began)
        print(statistics.median(seconds), flush=True)
"""


class Client:
    """A connection of the sample application's container to its database."""

    def __init__(self, stack: Stack) -> None:
        command = ["docker", "exec", "--interactive", stack.containers[CLIENT].name, "python", "-c", PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def trip(self, trips: int = TRIPS) -> float:
        """Seconds of the median SELECT 1."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{trips}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def run(root: Path, pairs: int, measure: Callable[..., None]) -> None:
    """Measure both, on two stacks of which one has a sidecar. measure: (name, ours, theirs, pairs)."""
    suite = suites.load(root, SUITE)
    images.ensure(images.needs_of(suite.config), lambda _: None)
    with ExitStack() as ending:
        clients = []
        for faulty in (True, False):
            stack = Stack(suite, suite.project(f"itest-bench-{secrets.token_hex(4)}"))
            ending.callback(stack.down)
            stacks.start(stack)
            if faulty:
                placed = sidecar.place(stack.project_of(CLIENT), stack.containers[CLIENT], lambda _: None)
                session = ending.enter_context(closing(Session(placed.name, CLIENT)))
            clients.append(ending.enter_context(closing(Client(stack))))
        through, direct = clients
        measure("SELECT 1 by the sidecar / direct", through.trip, direct.trip, pairs)
        session.add("latency", {"name": SERVER}, {"ms": LATENCY})
        measure(f"latency of {LATENCY} ms / asked", lambda: through.trip(FEW), lambda: LATENCY / 1000, pairs)
