"""Which contract a stub is held against, and that an unchanged folder costs nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from itest.data import stubs
from itest.errors import ItestError

ONE = "openapi: 3.0.0\npaths: {/a: {get: {responses: {200: {}}}}}\n"
OTHER = "openapi: 3.0.0\npaths: {/b: {get: {responses: {200: {}}}}}\n"


def test_a_stub_is_held_against_the_contract_of_its_host_alone(check) -> None:
    stub = "- request: {{method: GET, host: {host}, path: /b}}\n"
    both = {"one_example": ONE, "two_example": OTHER}
    fine = stub.format(host="TWO.example:8443") + "- request: {method: GET, host: one.example, path: /a}\n"
    assert check(fine, **both) == []
    assert check(stub.format(host='{glob: "*.example"}'), **both)[0].startswith(
        "stubs.yaml:1: the contract has no path"
    )


def test_a_stub_of_no_host_is_held_against_all_that_know_its_path_or_against_the_only_one(check) -> None:
    assert check("- request: {method: GET, path: /b}\n", one_example=ONE)[0].startswith(
        "stubs.yaml:1: the contract has"
    )
    assert check("- request: {method: GET, path: /b}\n", one_example=ONE, two_example=OTHER) == []
    assert check("- request: {method: PUT, path: /b}\n", one_example=ONE, two_example=OTHER) != []


def test_a_contract_for_a_host_without_stubs_is_a_misspelt_one(check) -> None:
    said = check("- request: {method: GET, host: one.example, path: /a}\n", won_example=ONE)
    assert said[0] == "won.example.yaml: no stub is for the host won.example, so it holds for nothing"
    assert said[-1].endswith("did you mean `one.example`?")


def test_what_was_fine_is_not_checked_again_until_a_file_changes(check, monkeypatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("read again")

    fine, broken = "- request: {method: GET, path: /a}\n", "- request: {method: GET, path: /c}\n"
    assert check(broken, one_example=ONE) == check(broken, one_example=ONE) != []
    assert check(fine, one_example=ONE) == []
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["itest.stubcheck.stubcheck"], "read", read)
        assert check(fine, one_example=ONE) == []
        with pytest.raises(AssertionError, match="read again"):
            check(fine, one_example=OTHER)
    assert check(fine, one_example=OTHER) != []


def test_a_suite_s_stubs_are_checked_when_its_fixtures_are_read(tmp_path) -> None:
    folder = tmp_path / "fixtures" / "shop" / "stubs"
    (folder / "contracts").mkdir(parents=True)
    (folder / "contracts" / "one.example.txt").touch()
    with pytest.raises(ItestError, match=r"contracts/one\.example\.txt: no contract") as refused:
        stubs.read([Path("fixtures/shop")], root=tmp_path)
    assert refused.value.category == "usage"
