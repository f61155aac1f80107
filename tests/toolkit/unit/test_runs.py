"""The folders of runs: unique, `latest` never missing, and old ones removed once they are over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from itest import runs
from itest.runs import Run


def finished(root: Path, name: str) -> Path:
    folder = root / runs.RUNS / name
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("{}")
    return folder


def kept(root: Path) -> list[str]:
    return sorted(path.name for path in (root / runs.RUNS).iterdir() if path.is_dir() and not path.is_symlink())


def test_a_run_has_an_empty_folder_of_its_own_that_latest_points_at(tmp_path):
    run = runs.create(tmp_path)
    assert run == Run(run.id, tmp_path / "build/itest" / run.id)
    assert list(run.folder.iterdir()) == []
    assert (tmp_path / "build/itest/latest").resolve() == run.folder.resolve()
    assert run.summary == run.folder / "summary.json"


def test_latest_can_be_moved_with_the_checkout(tmp_path):
    run = runs.create(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there/build/itest/latest").resolve() == tmp_path / "there/build/itest" / run.id


def test_latest_points_at_the_newest(tmp_path):
    runs.create(tmp_path)
    newest = runs.create(tmp_path)
    assert (tmp_path / "build/itest/latest").resolve() == newest.folder.resolve()


def test_two_runs_that_draw_the_same_name_get_folders_of_their_own(tmp_path, monkeypatch):
    draws = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(runs.secrets, "token_hex", lambda _: next(draws))
    monkeypatch.setattr(runs, "datetime", Stopped)
    assert [runs.create(tmp_path).id, runs.create(tmp_path).id] == ["20260102-030405-aaaa", "20260102-030405-bbbb"]


class Stopped(runs.datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 2, 3, 4, 5)


def test_latest_is_replaced_in_one_step(tmp_path):
    """Somebody who reads it all the time, while runs begin in four places at once, never finds it missing."""
    runs.create(tmp_path)
    latest, over, missing = tmp_path / "build/itest/latest", threading.Event(), []

    def read() -> None:
        while not over.is_set():
            if not latest.is_symlink():
                missing.append(latest)

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: runs.create(tmp_path), range(300)))
    over.set()
    reader.join()
    assert len({run.id for run in made}) == 300
    assert missing == []
    assert latest.resolve().is_dir()
    assert not list(latest.parent.glob(".latest-*"))


def test_the_newest_20_finished_runs_are_kept(tmp_path):
    for number in range(25):
        finished(tmp_path, f"20250101-0000{number:02}-aaaa")
    new = runs.create(tmp_path)
    assert kept(tmp_path) == [f"20250101-0000{number:02}-aaaa" for number in range(5, 25)] + [new.id]


def test_a_run_that_is_not_over_is_never_removed(tmp_path):
    unfinished = tmp_path / runs.RUNS / "20200101-000000-aaaa"
    (unfinished / "api").mkdir(parents=True)
    for number in range(25):
        finished(tmp_path, f"20250101-0000{number:02}-aaaa")
    runs.create(tmp_path)
    assert unfinished.is_dir()


def test_what_is_no_run_stays(tmp_path):
    cache = tmp_path / runs.RUNS / "cache/api"
    cache.mkdir(parents=True)
    for number in range(25):
        finished(tmp_path, f"20250101-0000{number:02}-aaaa")
    runs.create(tmp_path)
    assert cache.is_dir()


@pytest.mark.parametrize("target", ["gone", "20250101-000000-aaaa"])
def test_an_old_latest_is_replaced_whatever_it_points_at(tmp_path, target):
    (tmp_path / runs.RUNS).mkdir(parents=True)
    (tmp_path / runs.RUNS / "latest").symlink_to(target)
    run = runs.create(tmp_path)
    assert (tmp_path / "build/itest/latest").resolve() == run.folder.resolve()
