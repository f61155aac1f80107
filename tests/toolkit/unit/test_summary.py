"""summary.json as DESIGN.md promises it, and the table that people read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from itest.stack.egress import Attempt
from itest.stack.startup import Leg, Startup
from itest.verdict import summary
from itest.verdict.mask import Masker
from itest.verdict.results import STAGES, Case, Report, ServiceStart, StageFailure, SuiteResult

OOM = StageFailure("service", "oom", "service postgres: killed for memory\n…", "raise mem_limit", Path("b/why.txt"))
PASSED = SuiteResult(
    "database",
    "passed",
    timings={"images": 0.1, "up": 0.6, "ready": 0.2, "data": 0.3, "pytest": 3.14159, "evidence": 0.05, "down": 0.5},
    services={"postgres": ServiceStart("postgres:17.11", 0.12345, 3)},
    report=Report((Case("test_a.py::test_a", "passed"), Case("test_a.py::test_b", "skipped"))),
)
FAILED = SuiteResult(
    "api",
    "failed",
    StageFailure("test", "assertion", "tests of api: 1 of 2 failed", "run it again"),
    timings={"up": 1.0, "pytest": 2.0},
    report=Report(
        (
            Case("tests/api/test_a.py::test_a", "failed", cause="assertion", message="assert 1 == 2"),
            Case("tests/api/test_a.py::test_b", "error", cause="setup", message="x" * 500),
        )
    ),
)


def written(folder: Path, *results: SuiteResult, **more: object) -> dict[str, object]:
    path = folder / "build" / "summary.json"
    summary.write(path, "run-7", results, more.pop("category", None), **more)  # type: ignore[arg-type]
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_a_green_run(tmp_path: Path) -> None:
    assert written(tmp_path, PASSED, started="2025-01-02T03:04:05Z", seconds=5.00049, versions={"engine": "26.1"}) == {
        "exit_code": 0,
        "category": None,
        "run": "run-7",
        "started": "2025-01-02T03:04:05Z",
        "seconds": 5.0,
        "versions": {"engine": "26.1"},
        "suites": {
            "database": {
                "status": "passed",
                "category": None,
                "cause": None,
                "message": None,
                "tests": 2,
                "failures": 0,
                "errors": 0,
                "skipped": 1,
                "timings": {**PASSED.timings, "pytest": 3.142},
                "services": {"postgres": {"image": "postgres:17.11", "ready_s": 0.123, "attempts": 3}},
                "startup": None,
                "egress": [],
            }
        },
    }


@pytest.mark.parametrize(("category", "code"), [("interrupted", 130), ("service", 5), ("data", 6), ("test", 1)])
def test_the_exit_code_follows_the_category(tmp_path: Path, category: str, code: int) -> None:
    content = written(tmp_path, FAILED, category=category)
    assert (content["exit_code"], content["category"]) == (code, category)


def test_every_suite_has_every_key_even_if_it_never_started(tmp_path: Path) -> None:
    content = written(tmp_path, PASSED, FAILED, SuiteResult("slow", "skipped", reason="no engine"), category="engine")
    suites = content["suites"]
    assert isinstance(suites, dict)
    assert {frozenset(suite) for suite in suites.values()} == {frozenset(suites["database"])}
    assert all(tuple(suite["timings"]) == STAGES for suite in suites.values())
    assert suites["slow"]["message"] == "no engine"
    assert (suites["api"]["category"], suites["api"]["cause"], suites["api"]["errors"]) == ("test", "assertion", 1)


def test_secrets_are_masked_and_the_json_stays_whole(tmp_path: Path) -> None:
    secret = 'Gen"erated\\-Secret-0'
    refused = StageFailure("service", "auth", f"service postgres: {secret} refused")
    content = written(tmp_path, SuiteResult("api", "error", refused), category="service", masker=Masker([secret]))
    assert "service postgres: *** refused" in json.dumps(content)


def test_what_a_sealed_suite_asked_for_outside_is_there_in_short_and_masked(tmp_path: Path) -> None:
    when = "2026-01-02T03:04:05.678+00:00"
    tried = Attempt("shop", "gen3rated.example.com", opened=False, times=3, first=when, last=when)
    sealed = replace(PASSED, egress=(tried,))
    suites = written(tmp_path, sealed, masker=Masker(["gen3rated"]))["suites"]
    assert suites["database"]["egress"] == [  # type: ignore[index]
        {"service": "shop", "host": "***.example.com", "opened": False, "times": 3}
    ]


def test_the_table_is_aligned_and_plain() -> None:
    lines = summary.table([PASSED, FAILED]).splitlines()
    assert lines[:3] == [
        "suite     result  tests  failed  errors  skipped  start s  pytest s  total s",
        "database  passed      2       0       0        1      1.2       3.1      4.9",
        "api       failed      2       1       1        0      1.0       2.0      3.0",
    ]
    assert "\x1b" not in summary.table([PASSED, FAILED])


def test_what_the_time_to_start_was_made_of_is_in_summary_json_and_below_the_table_a_line_a_suite(tmp_path) -> None:
    path = (Leg("compose", 0.40004), Leg("postgres", 0.6, 0.25), Leg("shop", 0.5))
    started = replace(FAILED, startup=Startup(path, "0.2 s slower than before: shop +0.2 s"))
    line = (
        "1.5 s: shop 0.5 s after postgres 0.6 s, of which 0.2 s waiting for its health interval, and compose 0.4 s"
        "; 0.2 s slower than before: shop +0.2 s"
    )
    assert written(tmp_path, started)["suites"]["api"]["startup"] == {  # type: ignore[index]
        "seconds": 1.5,
        "line": line,
        "path": [
            {"what": "compose", "seconds": 0.4, "waiting": 0},
            {"what": "postgres", "seconds": 0.6, "waiting": 0.25},
            {"what": "shop", "seconds": 0.5, "waiting": 0},
        ],
    }
    quick = replace(PASSED, startup=Startup((Leg("postgres", 0.3),)))
    shown = summary.table([quick, started, SuiteResult("slow", "error", OOM)])
    assert f"\n\nstart-up:\n  database  0.3 s: postgres 0.3 s\n  api       {line}\n\napi: tests of api" in shown
    assert "start-up" not in summary.table([SuiteResult("slow", "error", OOM)])


def test_below_the_table_stand_the_reasons_with_what_was_seen_hint_and_evidence() -> None:
    text = summary.table([PASSED, SuiteResult("api", "error", OOM)])
    assert text.endswith(
        "\n\napi: service postgres: killed for memory\n  …\n  hint: raise mem_limit\n  evidence: b/why.txt"
    )


def test_a_red_suite_names_the_log_of_its_pytest() -> None:
    log = Path("build/itest/run-7/api/pytest.log")
    red = SuiteResult("api", "failed", StageFailure("test", "assertion", "1 of 2 failed", "mend it"), log=log)
    assert summary.table([red]).endswith(f"\n  hint: mend it\n  log: {log}")
    assert "log:" not in summary.table([SuiteResult("api", "passed", log=log)])


def test_below_the_table_stand_the_failed_tests_each_on_one_line() -> None:
    *_, heading, first, second = summary.table([FAILED]).splitlines()
    assert (heading, first) == ("failed tests:", "  tests/api/test_a.py::test_a  assert 1 == 2")
    assert second.startswith("  tests/api/test_a.py::test_b  xxx")
    assert second.endswith("…")
    assert len(second) < 200


def test_at_most_twenty_failed_tests_are_listed() -> None:
    def table(count: int) -> list[str]:
        cases = tuple(Case(f"t.py::test_{number}", "failed") for number in range(count))
        return summary.table([SuiteResult("api", "failed", report=Report(cases))]).splitlines()

    assert table(20)[-1] == "  t.py::test_19"
    assert table(23)[-2:] == ["  t.py::test_19", "  … and 3 more"]


def test_a_green_table_ends_with_the_last_suite() -> None:
    assert len(summary.table([PASSED]).splitlines()) == 2


def test_colours_only_when_asked() -> None:
    header, green, red, *_ = summary.table([PASSED, FAILED], colour=True).splitlines()
    assert "\x1b" not in header
    assert (green[:5], red[:5], green[-4:]) == ("\x1b[32m", "\x1b[31m", "\x1b[0m")


def test_the_closing_line_says_how_it_ended() -> None:
    assert summary.closing([PASSED], None, 6.04) == "passed: 2 tests in 1 suite, 6.0 s"
    oom = SuiteResult("api", "error", OOM)
    assert summary.closing([PASSED, oom], "service", 6.04) == (
        "failed: api (oom); 2 tests in 2 suites, 6.0 s; exit 5 (service)"
    )
