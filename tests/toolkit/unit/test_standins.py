"""What lets the mock answer where a sealed stack wanted something from outside."""

from __future__ import annotations

from pathlib import Path

import yaml

from itest.mock import stubfile
from itest.stack.egress import Attempt
from itest.stack.standins import standins


def attempt(service: str, host: str, *, opened: bool = False) -> Attempt:
    return Attempt(service, host, opened, 2, "2026-01-01T10:00:01", "2026-01-01T10:00:03")


def test_each_host_that_was_refused_gets_a_name_and_a_stub_and_who_asked_trusts_it(repo, tmp_path):
    tried = [attempt("shop", "b.example.com"), attempt("worker", "b.example.com"), attempt("shop", "a.example.com")]
    overlay, stubs = standins(repo.load(), [*tried, attempt("shop", "open.example.com", opened=True)]).split("---\n")
    services = yaml.safe_load(overlay)["services"]
    assert services["mock"]["networks"]["default"]["aliases"] == ["a.example.com", "b.example.com"]
    assert services["shop"] == services["worker"] == {"extends": {"file": "mocked.yaml", "service": "trusting"}}
    (tmp_path / "stubs.yaml").write_text(stubs)
    found = stubfile.read(tmp_path, Path("stubs.yaml"))
    assert [stub.request.as_data() for stub in found] == [{"host": "a.example.com"}, {"host": "b.example.com"}]
    assert "open.example.com" not in overlay + stubs


def test_a_suite_without_the_mock_is_told_its_layer(repo):
    said = standins(repo.load(), [attempt("shop", "a.example.com")])
    assert "compose/layers/mock.yaml" in said
    assert "# compose/suites/api.yaml\nservices:" in said


def test_nothing_is_said_where_nothing_was_refused(repo):
    assert standins(repo.load(), [attempt("shop", "a.example.com", opened=True)]) == ""
