"""The table that `make bench PEERS=1` prints, and the stubs that both servers get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from itest import bench_mock
from itest.bench_mock import ROWS, Row, Sample
from itest.mock import wiremock
from itest.mock.incoming import Incoming
from itest.mock.scopes import Scopes

ROOT = Path(__file__).parents[3]
SAMPLE = Sample(start=0.5, memory=40, memory_loaded=70, rate=3000, p50=4, p99=10, rounds=100, load=0.1)


def row(name: str, *pairs: tuple[float, float]) -> Row:
    taken = [(replace(SAMPLE, **{name: mine}), replace(SAMPLE, **{name: other})) for mine, other in pairs]
    return bench_mock.compare(next(row for row in ROWS if row[0] == name), taken)


def test_a_row_has_medians_and_the_ratio_pair_by_pair() -> None:
    found = row("p99", (10, 20), (40, 10), (30, 30))
    assert (found.ours, found.theirs, found.ratio, found.low, found.high, found.n) == (30, 20, 1.0, 0.5, 4.0, 3)


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "said"),
    [
        ("start", 0.6, 1.0, ""),
        ("start", 0.7, 1.0, "behind: at most 0.6 is wanted"),
        ("p99", 19, 10, ""),
        ("p99", 21, 10, "behind: at most 2 is wanted"),
        ("p50", 11, 10, "behind"),
        ("rate", 11, 10, ""),
        ("rate", 9, 10, "behind"),
        ("rounds", 99, 100, "behind: at least 1 is wanted"),
    ],
)
def test_a_row_says_where_we_are_behind(name, ours, theirs, said) -> None:
    found = row(name, (ours, theirs))
    assert found.judged == said
    assert bench_mock.table({name: found}, [(SAMPLE, SAMPLE)])[1].endswith(said or f"{found.high:.2f}")


def test_the_last_line_says_how_busy_the_load_generator_was() -> None:
    taken = [(SAMPLE, replace(SAMPLE, load=0.93)), (SAMPLE, SAMPLE)]
    assert bench_mock.table({}, taken)[-1] == "400 rounds each; the load generator used 93% of a core at most"


def test_the_mock_reads_the_stubs_of_both_and_only_one_redeems_a_voucher() -> None:
    scopes = Scopes()
    scopes.set_global(wiremock.read(ROOT, bench_mock.FOLDER / "mappings.json"), 0.0)

    def status(method: str, path: str, body: bytes = b"", **headers: str) -> int:
        incoming = Incoming.of(method, path, headers=tuple(headers.items()), body=body)
        return scopes.answer(incoming, 0.0).answer.status

    assert [status("GET", "/v1/health"), status("GET", "/v1/payments/pay_17")] == [200, 200]
    assert [status("GET", "/v1/account"), status("GET", "/v1/account", Authorization="Bearer 42")] == [501, 200]
    assert status("POST", "/v1/payments", b'{"order": 1, "amount": 1200, "currency": "EUR"}') == 201
    redeem = ("POST", "/v1/vouchers/redeem")
    assert [status(*redeem), status(*redeem), status("POST", "/v1/vouchers/issue"), status(*redeem)] == [
        200,
        409,
        200,
        200,
    ]
