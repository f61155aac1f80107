"""The secrets of a run: whose value counts, and that none of them is shown."""

from __future__ import annotations

import os

import pytest

from itest import passwords
from itest.verdict.mask import STARS, Masker

GIVEN = "w7Kq-0pLm-4zXc-9vBn"


@pytest.fixture
def made(repo, monkeypatch):
    """Makes the secrets of the repository's suite in an environment of its own. Returns that and the masker."""

    def make(**given: str):
        monkeypatch.setattr(os, "environ", dict(given))
        masker = Masker(())
        passwords.make([repo.load()], [], masker)
        return os.environ, masker

    return make


def test_a_secret_that_nobody_gave_is_made_up_anew_and_masked(made):
    first, masker = made()
    again, _ = made()
    assert len(first["STORE_PASSWORD"]) == 32
    assert first["STORE_PASSWORD"] != again["STORE_PASSWORD"]
    assert masker.text(f"password {first['STORE_PASSWORD']}") == f"password {STARS}"


def test_what_the_shell_gives_counts_and_is_masked(made):
    environment, masker = made(STORE_PASSWORD=GIVEN)
    assert environment["STORE_PASSWORD"] == GIVEN
    assert masker.text(GIVEN) == STARS


def test_what_an_env_file_gives_counts_and_is_masked(made, repo):
    repo.write("compose/suites/api.env", repo.text("compose/suites/api.env") + f"STORE_PASSWORD={GIVEN}\n")
    environment, masker = made()
    assert "STORE_PASSWORD" not in environment, "it would beat the file"
    assert masker.text(GIVEN) == STARS
