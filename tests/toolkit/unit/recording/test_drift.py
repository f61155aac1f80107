"""Where the real service differs from its recording: in status, headers and shape, not in values."""

from __future__ import annotations

import yaml

from itest.mock import stubfile
from itest.recording import drift


def drifted(recorded, ruled, then, now) -> list[str]:
    text = recorded(*then)[2]
    stubs = stubfile.from_data(yaml.safe_load(text), "recorded")
    return [str(one) for one in drift.compare(stubs, recorded(*now)[0], ruled())]


def test_other_values_and_other_ids_are_no_drift(exchange, recorded, ruled) -> None:
    then = (
        exchange(1, "/c", {"id": "ch_17", "n": 1}, sends={"a": 1}),
        exchange(2, "/c/ch_17", {"paid": True, "list": [{"x": 1}]}),
    )
    now = (
        exchange(1, "/c", {"id": "ch_99", "n": 2.5}, sends={"a": 1}),
        exchange(2, "/c/ch_99", {"paid": False, "list": []}),
    )
    assert drifted(recorded, ruled, then, now) == []


def test_status_headers_keys_and_types_are(exchange, recorded, ruled) -> None:
    then = [exchange(1, "/c", {"id": "x", "gone": 1, "list": [{"a": 1}]})]
    says = (("Content-Type", "application/problem+json"), ("Retry-After", "1"))
    now = [exchange(1, "/c", {"id": 17, "new": None, "list": [{"a": 1}, {"a": "1"}]}, status=201, says=says)]
    assert drifted(recorded, ruled, then, now) == [
        "GET /c: status: recorded 200, now 201",
        "GET /c: header content-type: recorded application/json, now application/problem+json",
        "GET /c: header retry-after: recorded none, now one",
        "GET /c: $.id: recorded a text, now a number",
        "GET /c: $.gone: recorded a number, now nothing",
        "GET /c: $.list[].a: recorded a number, now a text",
        "GET /c: $.new: recorded nothing, now null",
    ]


def test_requests_that_came_or_went_are_told(exchange, recorded, ruled) -> None:
    then, now = [exchange(1, "/old", {})], [exchange(1, "/new", {})]
    assert drifted(recorded, ruled, then, now) == [
        "GET /new: recorded no such request, now answered with 200",
        "GET /old: recorded 200, now nobody asks",
    ]
