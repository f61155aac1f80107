"""What the rules let vary changes no line of a recording, and a rule that fits nothing is told."""

from __future__ import annotations

import yaml

from itest.mock import stubfile
from itest.recording import masking, stubs, vary
from itest.recording.ledger import Ledger

RULES = """
vary: {json: [$.at, $..seen], headers: [ETag]}
"""


def again(recorded, ruled, then, now) -> tuple[str, str]:
    """The files of a recording, and of another one after it."""
    before, said, ledger = recorded(*then, rules=RULES)[2], ruled(RULES), Ledger()
    taken, _ = masking.take(now, said, ledger)
    asked, _ = stubs.made(taken, said, ledger)
    vary.keep(asked, stubfile.from_data(yaml.safe_load(before), "recorded"), taken, said)
    return before, "\n".join(stubs.files(asked, said).values())


def test_a_value_of_an_answer_that_varies_stays_as_it_was_recorded(exchange, recorded, ruled) -> None:
    def said(time: str, price: float):
        says = (("Content-Type", "application/json"), ("ETag", f"tag {time}"))
        body = {"at": f"2026-03-01T{time}Z", "price": price, "items": [{"seen": time}, {"seen": time}]}
        return exchange(1, "/rates", body, says=says)

    before, after = again(recorded, ruled, [said("10:00:00", 1.5)], [said("11:30:00", 2.5)])
    assert after == before.replace("1.5", "2.5")
    assert "10:00:00" in after


def test_a_value_that_the_client_sends_back_is_that_of_its_request(exchange, recorded, ruled) -> None:
    def said(time: str):
        return exchange(1, "/rates", {"at": time}), exchange(2, f"/rates?since={time}", {"at": "later"})

    before, after = again(recorded, ruled, said("t-one"), said("t-two"))
    assert after == before.replace("t-one", "t-two")


def test_a_value_of_another_sort_or_at_a_new_place_is_written(exchange, recorded, ruled) -> None:
    then, now = [exchange(1, "/rates", {"at": "noon"})], [exchange(1, "/rates", {"at": 12, "seen": "x"})]
    before, after = again(recorded, ruled, then, now)
    assert after == before.replace("at: noon", "at: 12\n      seen: x")


def test_a_rule_that_fits_nothing_is_told(exchange, ruled) -> None:
    rules = ruled("""
mask: {json: [$.email, $.emial], body: [Dear]}
keep: {path: ["/rates/{day}", "/prices/{day}"]}
vary: {query: [Since, until], headers: [ETag]}
""")
    says = (("Content-Type", "application/json"), ("etag", "x"))
    asked = exchange(1, "/rates/monday?since=1", {"email": "ada@inbox.example"}, says=says)
    taken, _ = masking.take([asked], rules, Ledger())
    assert [line.removeprefix("fixtures/paid/record.yaml: ") for line in vary.idle(taken, rules)] == [
        "mask: {json: [$.emial]} fits nothing that was recorded",
        "mask: {body: [Dear]} fits nothing that was recorded",
        "keep: {path: [/prices/{day}]} fits nothing that was recorded",
        "vary: {query: [until]} fits nothing that was recorded",
    ]
