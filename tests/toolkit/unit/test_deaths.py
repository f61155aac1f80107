"""Which of several dead services the others died for."""

from __future__ import annotations

from typing import Any

import pytest

from itest.containers import moment
from itest.errors import ItestError
from itest.stack import deaths
from itest.stack.deaths import Death


def dead(service: str, when: float, rank: int) -> Death:
    container: Any = None
    return Death(service, 0, container, when, rank, "exited", "exited with code 1", "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([("shop", 10.0, 1), ("postgres", 10.3, 0)], ["postgres", "shop"]),  # noted in the wrong order
        ([("shop", 10.0, 1), ("postgres", 15.0, 0)], ["shop", "postgres"]),  # it had nothing to do with it
        ([("shop", 12.0, 1), ("postgres", 10.0, 0), ("mail", 11.5, 2)], ["postgres", "mail", "shop"]),
        ([("shop", 10.0, 1), ("postgres", 0.0, 0)], ["postgres", "shop"]),  # still runs, out of memory
        ([], []),
    ],
)
def test_the_first_to_die_is_the_root_or_what_it_needs_if_that_died_with_it(given, told):
    assert [one.service for one in deaths.rooted([dead(*one) for one in given])] == told


def test_what_the_tests_or_the_person_did_is_not_blamed_on_a_service(monkeypatch):
    for category in ("interrupted", "usage", "image"):
        error = ItestError(category, "what it was")
        assert deaths.blamed(error, [dead("redis", 1.0, 0)], deaths.DURING) is error


def test_services_that_tests_ended_and_did_not_start_again_are_meant(tmp_path):
    announced = tmp_path / "announced"
    assert deaths.meant_by(announced) == set()
    announced.write_text("kill api redis\nstop api shop\nstart api shop\npause api postgres\n")
    assert deaths.meant_by(announced) == {("api", "redis")}


def test_of_two_workers_services_that_were_ended_one_may_be_back(tmp_path):
    (announced := tmp_path / "announced").write_text("kill w1 redis\nkill w2 redis\nstart w2 redis\n")
    assert deaths.meant_by(announced) == {("w1", "redis")}


def test_a_time_of_dockers_is_read_with_any_number_of_digits():
    assert moment("1970-01-01T00:01:00.5Z") == 60.5
    assert moment("1970-01-01T00:01:00Z") == 60
    assert moment("1970-01-01T00:00:00.123456789Z") == pytest.approx(0.123456789)
    assert moment("0001-01-01T00:00:00Z") == 0
