"""Which folders of stubs a mock is led to: the same by plain compose as in a suite's tests."""

from __future__ import annotations

import pytest

from itest.data import stubs
from itest.errors import ItestError
from itest.mock import server

ENV = "compose/suites/api.env"
LAYER = """
services:
  app:
    image: team/app:1.4
    x-itest: {kind: mock}
    environment: {MOCK_STUBS: "${MOCK_STUBS:-}"}
    ports: ["127.0.0.1::1080", "127.0.0.1::8080"]
"""


@pytest.fixture
def mocked(repo, compose_client):
    """A suite with a mock and two sets that have stubs, in the order base, api."""
    repo.write("compose/layers/app.yaml", LAYER)
    repo.edit("compose/suites/api.yaml", "[fixtures/base]", "[fixtures/base, fixtures/plain, fixtures/api]")
    repo.write("fixtures/plain/10_rows.json", "{}")
    for name in ("base", "api", "other"):
        repo.write(f"fixtures/{name}/stubs/some.yaml", "- request: {path: /x}\n")
    return repo


def told(repo, folders: str) -> None:
    repo.edit(ENV, "COMPOSE_PROJECT_NAME=itest-api\n", f"COMPOSE_PROJECT_NAME=itest-api\nMOCK_STUBS={folders}\n")


@pytest.mark.parametrize(
    "folders", ['"fixtures/base/stubs fixtures/api/stubs"', "fixtures/base/stubs fixtures/api/stubs/"]
)
def test_the_stubs_of_the_suite_s_fixtures_in_their_order_are_right(mocked, folders):
    told(mocked, folders)
    stubs.check(mocked.load())


@pytest.mark.parametrize(
    ("folders", "seen"),
    [
        ("fixtures/api/stubs fixtures/base/stubs", "fixtures/api/stubs, then fixtures/base/stubs"),
        ("fixtures/base/stubs fixtures/other/stubs", "fixtures/base/stubs, then fixtures/other/stubs"),
        ("fixtures/base/stbs fixtures/api/stubs", "fixtures/base/stbs, then fixtures/api/stubs"),
        ("", "no stubs"),
    ],
)
def test_any_others_are_refused_with_the_line_to_write(mocked, folders, seen):
    told(mocked, folders)
    assert mocked.refusal(lambda: stubs.check(mocked.load())) == (
        f"{ENV}:2: MOCK_STUBS names {seen}, but `fixtures:` in compose/suites/api.yaml lead to fixtures/base/stubs, "
        'then fixtures/api/stubs\nhint: MOCK_STUBS="fixtures/base/stubs fixtures/api/stubs"'
    )


def test_a_line_that_was_left_out_is_missed_in_the_suite_s_env_file(mocked):
    assert mocked.refusal(lambda: stubs.check(mocked.load())).startswith(f"{ENV}: MOCK_STUBS names no stubs, but")


def test_a_suite_without_stubs_needs_no_line_and_none_without_a_mock(mocked):
    mocked.edit("compose/suites/api.yaml", "[fixtures/base]", "[fixtures/plain]")
    stubs.check(mocked.load())
    told(mocked, "fixtures/other/stubs")
    assert "names fixtures/other/stubs, but `fixtures:` in" in mocked.refusal(lambda: stubs.check(mocked.load()))
    mocked.write("compose/layers/app.yaml", LAYER.replace("mock}", "http, port: 8080}"))
    stubs.check(mocked.load())


def test_the_mock_does_not_start_without_a_folder_that_it_was_led_to(tmp_path):
    (tmp_path / "fixtures/paid/stubs").mkdir(parents=True)
    assert server.read_stubs(tmp_path, "fixtures/paid/stubs") == server.read_stubs(tmp_path, "") == ()
    with pytest.raises(ItestError, match="mock: there is no folder fixtures/payd/stubs"):
        server.read_stubs(tmp_path, "fixtures/paid/stubs fixtures/payd/stubs")
