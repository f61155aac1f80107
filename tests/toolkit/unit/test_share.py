"""What `make share` packs, how small, and that nothing goes out unmasked."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from itest import runs
from itest.errors import ItestError
from itest.verdict import share
from itest.verdict.mask import Masker

SECRET = "Generated-Secret-0"
RUN = "20260101-120000-abcd"


def run_of(root: Path, files: dict[str, str], **status: str) -> Path:
    folder = root / runs.RUNS / RUN
    suites = {name: {"status": one, "message": f"tests of {name}: 1 of 2 failed"} for name, one in status.items()}
    for name, text in {"summary.json": json.dumps({"suites": suites}), "junit.xml": "<testsuites/>", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (root / runs.RUNS / "latest").symlink_to(RUN)
    return folder


def packed(shared: share.Shared) -> dict[str, str]:
    with tarfile.open(shared.archive) as archive:
        return {one.name.removeprefix(f"{RUN}/"): archive.extractfile(one).read().decode() for one in archive}


RED = {
    "api/failure.txt": "service/oom: service shop: killed\nagain: make itest SUITE=api\n",
    "api/failure.json": "{}",
    "api/compose.yaml": "services: {}",
    "api/junit.xml": "<testsuite/>",
    "api/logs/shop.log": "starting\n",
    "ui/junit.xml": "<testsuite/>",
    "ui/logs/web.log": "fine\n",
}


def test_the_red_suites_are_packed_with_all_that_was_kept_of_them(tmp_path):
    folder = run_of(tmp_path, RED, api="error", ui="passed")
    shared = share.pack(folder, Masker(()))
    assert sorted(packed(shared)) == sorted([*(name for name in RED if name.startswith("api/")), "summary.json"])
    assert shared.paste == RED["api/failure.txt"].strip()
    told = share.told(shared, tmp_path)
    assert f"{runs.RUNS}/{RUN}/share.tar.gz, 0." in told
    assert told.endswith(f"to paste:\n\n{shared.paste}")


def test_a_failure_before_any_suite_is_packed_too(tmp_path):
    folder = run_of(tmp_path, {"failure.txt": "engine/disk: disk full", "failure.json": "{}"}, api="skipped")
    shared = share.pack(folder, Masker(()))
    assert set(packed(shared)) == {"failure.txt", "failure.json", "summary.json", "junit.xml"}
    assert shared.paste == "engine/disk: disk full"


def test_without_a_failure_txt_the_end_of_pytests_log_is_to_be_pasted(tmp_path):
    folder = run_of(tmp_path, {"api/pytest.log": "E  assert 1 == 2\n1 failed\n"}, api="failed")
    assert share.pack(folder, Masker(())).paste == "api: tests of api: 1 of 2 failed\n\nE  assert 1 == 2\n1 failed"


def test_everything_is_masked_once_more_by_value_by_name_and_in_urls(tmp_path):
    log = f"{SECRET} API_TOKEN=plain redis://:plain@redis:6379"
    files = {f"api/{name}": log for name in ("failure.txt", "pytest.log", "logs/shop.log", "compose.yaml")}
    shared = share.pack(run_of(tmp_path, files, api="error"), Masker([SECRET]))
    out = packed(shared)
    assert {out[name] for name in files} == {"*** API_TOKEN=*** redis://:***@redis:6379"}
    assert shared.paste == "*** API_TOKEN=*** redis://:***@redis:6379"


def test_a_long_log_is_cut_to_its_end_and_what_is_too_large_left_out_and_both_is_told(tmp_path):
    lines = "".join(f"line {number} of a chatty service\n" for number in range(40_000))
    files = {f"api/logs/{name}.log": lines for name in ("a", "b")} | {"api/dump.sql": "x" * 2_000_000}
    shared = share.pack(run_of(tmp_path, {**RED, **files}, api="error"), Masker(()))
    out = packed(shared)
    assert sum(map(len, out.values())) <= share.LIMIT
    assert out["api/logs/a.log"].startswith("line ")
    assert out["api/logs/a.log"].endswith("line 39999 of a chatty service\n")
    assert "api/dump.sql" not in out
    told = share.told(shared, tmp_path)
    assert "api/logs/a.log: its last 100 kB" in told
    assert "2000.0 kB  api/dump.sql: left out, too large" in told


def test_sharing_twice_does_not_pack_the_first_one(tmp_path):
    folder = run_of(tmp_path, RED, api="error")
    assert packed(share.pack(folder, Masker(()))) == packed(share.pack(folder, Masker(())))


def test_of_a_run_that_was_killed_everything_there_is_is_packed(tmp_path):
    folder = run_of(tmp_path, RED, api="error")
    (folder / "summary.json").unlink()
    assert {"api/failure.txt", "ui/logs/web.log"} <= set(packed(share.pack(folder, Masker(()))))


def test_where_nothing_is_red_there_is_nothing_to_share(tmp_path):
    shared = share.pack(run_of(tmp_path, RED, api="passed", ui="skipped"), Masker(()))
    assert shared.archive is None
    assert share.told(shared, tmp_path) == f"run {RUN}: nothing was red, so there is nothing to share"


def test_the_latest_run_is_meant_or_the_one_that_is_named(tmp_path):
    folder = run_of(tmp_path, {}, api="passed")
    assert share.find(tmp_path, []) == share.find(tmp_path, [RUN]) == folder


@pytest.mark.parametrize("name", ["20250101-000000-dead", "..", "../..", "owners"])
def test_a_run_that_is_not_there_is_a_usage_error_that_names_those_that_are(tmp_path, name):
    run_of(tmp_path, {}, api="passed")
    with pytest.raises(ItestError, match="there is no run") as caught:
        share.find(tmp_path, [name])
    assert (caught.value.category, caught.value.hint) == ("usage", f"ARGS=<run>, of: {RUN}")


def test_without_any_run_the_hint_is_to_make_one(tmp_path):
    with pytest.raises(ItestError, match="there is no run") as caught:
        share.find(tmp_path, [])
    assert (caught.value.category, caught.value.hint) == ("usage", "make itest")


def test_a_run_that_is_going_on_is_not_shared_yet(tmp_path):
    run_of(tmp_path, {}, api="passed")
    with runs.alive(tmp_path, RUN), pytest.raises(ItestError, match="still going on"):
        share.find(tmp_path, [])
