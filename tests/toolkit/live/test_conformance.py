"""Every strategy against tests that do their best to leak, shuffled, over several workers, some of them killed.

`make soak` runs it with 10,000 tests on 8 workers; what is broken here for a try: `leaks/`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest

LEAKS = Path(__file__).parent / "leaks"
SOAK = bool(os.environ.get("ITEST_SLOW"))
SIZES = {"delete": 10_000, "truncate": 2_000, "rollback": 2_000, "schema": 400, "clone": 1_000} if SOAK else {}
WORKERS = 8 if SOAK else 3


@pytest.fixture
def leaky(checkout):
    """A checkout with the suite `leaks`; where its tests note what the world looked like."""
    for kind, pattern in (("migrations", "V*.sql"), ("fixtures", "10_*")):
        folder = checkout.path / kind / "leaks"
        folder.mkdir(parents=True)
        for file in LEAKS.glob(pattern):
            shutil.copy(file, folder)
    checkout.write("tests/leaks/test_leaks.py", (LEAKS / "leaking.py").read_text(encoding="utf-8"))
    layers = ["base.yaml", "layers/postgres.yaml", "layers/redis.yaml", "suites/leaks.yaml"]
    files = ":".join(f"compose/{layer}" for layer in layers)
    checkout.write("compose/suites/leaks.env", f"COMPOSE_PROJECT_NAME=itest-leaks\nCOMPOSE_FILE={files}\n")
    return checkout


@pytest.mark.soak
@pytest.mark.parametrize("strategy", ["delete", "truncate", "rollback", "schema", "clone"])
def test_nothing_leaks_from_test_to_test(leaky, tmp_path, strategy):
    tests, seed = SIZES.get(strategy, 90), random.SystemRandom().randrange(10**6)
    killed = random.Random(seed).sample(range(tests), 2) if strategy == "delete" else []
    if strategy == "schema":  # large objects belong to the database
        leaky.replace("fixtures/leaks/10_seed.sql", "SELECT lo_from_bytea(4711, 'seeded');\n", "")
    said = f"migrations: migrations/leaks\n  fixtures: fixtures/leaks\n  isolation: {strategy}"
    leaky.write("compose/suites/leaks.yaml", f"x-itest:\n  {said}\n")

    ended = leaky.run(
        "run",
        f"--args=-n {WORKERS} -W ignore",
        timeout=3000 if SOAK else 300,
        ITEST_SUITE="leaks",
        ITEST_STAGE_TIMEOUT="0",  # 10,000 tests take longer than any suite should
        ITEST_SUITE_TIMEOUT="0",
        LEAKS_TESTS=str(tests),
        LEAKS_SEED=str(seed),
        LEAKS_KILLED=" ".join(map(str, killed)),
        LEAKS_STRATEGY=strategy,
        LEAKS_FOLDER=str(tmp_path),
    )

    log = (leaky.latest / "leaks" / "pytest.log").read_text(encoding="utf-8")
    failed = {int(number) for number in re.findall(r"^(?:FAILED|ERROR) .*test_leak\[(\d+)\]", log, re.MULTILINE)}
    assert failed == set(killed), f"seed {seed}\n{ended.output}\n{log[-6000:]}"
    assert f"{tests - len(killed)} passed" in log, log[-3000:]
    assert not any(leaky.leftovers().values())
