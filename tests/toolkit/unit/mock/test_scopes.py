"""Who a request belongs to and what it gets there: scopes, scenarios, counts and the journal."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itest.errors import ItestError
from itest.mock import stubfile
from itest.mock.detail import Detail
from itest.mock.incoming import Incoming
from itest.mock.journal import weight
from itest.mock.patience import Patience
from itest.mock.scopes import DEFAULT, Scopes
from itest.mock.stubs import Stub

START = 1000.0


def stubs(*given: dict[str, Any]) -> tuple[Stub, ...]:
    return stubfile.from_data([{"name": f"stub {index}"} | one for index, one in enumerate(given)], "test")


def scopes(*given: dict[str, Any], **rest: Any) -> Scopes:
    made = Scopes(**rest)
    made.set_global(stubs(*given), START)
    return made


def request(scope: str = "", method: str = "GET", target: str = "/pay", **rest: Any) -> Incoming:
    return Incoming.of(method, target, host="pay.example", **({"credentials": scope} | rest))


def said(made: Scopes, scope: str = "", now: float = START, **rest: Any) -> str:
    return made.answer(request(scope, **rest), now).answer.body.decode()


PAY = {"request": {"path": "/pay"}, "response": {"body": "paid"}}
ONCE = {"name": "payment", "when": "started", "then": "paid"}
SCENARIO = (
    {"request": {"path": "/pay"}, "response": {"body": "first"}, "scenario": ONCE},
    {"request": {"path": "/pay"}, "response": {"body": "again"}, "scenario": {"name": "payment", "when": "paid"}},
)


# Whose a request is

WAYS = {
    "credentials": {"credentials": "credentials"},
    "header": {"headers": (("x-itest-scope", " header "),)},
    "baggage": {"headers": (("baggage", "a=b, itest.scope = bag%67age;p=1 ,c"),)},
    "key": {"body": b'{"metadata": {"scope": "key"}}'},
    "address": {"address": "10.0.0.2"},
    DEFAULT: {},
}


def owner(*ways: str, **rest: Any) -> str:
    """The scope of a request that names it in several ways."""
    made = scopes({"request": {"path": "/pay"}, "scope_key": "$.metadata.scope"})
    made.set_addresses({"10.0.0.2": "address"})
    headers = tuple(pair for way in ways for pair in WAYS[way].get("headers", ()))
    fields = {key: value for way in ways for key, value in WAYS[way].items()} | rest
    return made.answer(request(**(fields | {"headers": headers})), START).scope


@pytest.mark.parametrize("first", range(len(WAYS)))
def test_the_most_deliberate_way_in_which_a_request_names_its_scope_counts(first):
    ways = list(WAYS)[first:]
    assert owner(*ways) == ways[0]


def test_a_key_of_the_body_counts_where_a_stub_answers_that_says_so():
    assert owner("key", target="/other") == DEFAULT
    assert owner(body=b'{"metadata": {"scope": 7}}') == "7"
    assert owner(body=b'{"metadata": {"scope": {}}}') == DEFAULT


def test_a_key_may_be_a_form_s_field():
    made = scopes({"request": {"path": "/pay"}, "scope_key": "tenant"})
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    assert made.scope_of(request(headers=form, body=b"tenant=gw1&x=y")) == "gw1"


def test_eight_scopes_on_one_url_see_nothing_of_each_other():
    made = scopes(*SCENARIO)
    names = [f"gw{index}" for index in range(8)]
    for name in names:
        made.begin(name, START, f"test of {name}")
        made.add(name, stubs({"request": {"path": "/who"}, "response": {"body": name + " {{ counter }}"}}), START)
    for count in range(1, 126):
        for name in names:
            assert said(made, name, target="/who") == f"{name} {count}"
            assert said(made, name) == ("first" if count == 1 else "again")
    for name in names:
        assert {entry.test for entry in made.journal(name)} == {f"test of {name}"}
        assert len(made.journal(name)) == 250


# What it gets


def test_a_scope_s_own_stubs_go_before_the_global_ones_whatever_these_ask_for():
    made = scopes({"request": {"path": "/pay", "method": "GET"}, "response": {"body": "global"}, "priority": 9})
    made.add("mine", stubs({"request": {}, "response": {"body": "mine"}}), START)
    assert [said(made, scope) for scope in ("mine", "other")] == ["mine", "global"]


def test_the_more_specific_stub_answers_then_the_later_and_priority_beats_both():
    made = scopes(PAY, {"request": {}, "response": {"body": "any"}})
    assert said(made) == "paid"
    made.add(DEFAULT, stubs(PAY, PAY | {"response": {"body": "later"}}), START)
    assert said(made) == "later"
    made.add(DEFAULT, stubs({"request": {}, "response": {"body": "important"}, "priority": 1}), START)
    assert said(made) == "important"


def test_one_of_many_requests_at_once_gets_the_first_state_s_answer_round_after_round():
    made, seen = scopes(*SCENARIO), []
    for _ in range(1000):
        made.begin(DEFAULT, START)
        seen.append(Counter(said(made) for _ in range(16)))
    assert seen == [Counter(first=1, again=15)] * 1000


def test_a_state_is_moved_by_what_is_served_and_not_by_what_fails():
    failing = SCENARIO[0] | {"fault": {"first": 2, "status": 503}, "limit": {"requests": 3, "per": "1s"}}
    made = scopes(failing, SCENARIO[1])
    assert [said(made) for _ in range(4)] == ["", "", "first", "again"]
    assert [entry.state for entry in made.journal(DEFAULT)] == [None, None, ("started", "paid"), ("paid", "paid")]


def test_a_slow_answer_is_served_all_the_same():
    made = scopes(SCENARIO[0] | {"fault": {"slow_body": "1s"}, "response": {"delay": "2s"}}, SCENARIO[1])
    decision = made.answer(request(), START)
    assert (decision.delay, decision.effect.what, decision.effect.amount) == (2.0, "slow_body", 1.0)
    assert said(made) == "again"


def test_a_sequence_goes_on_where_a_fault_kept_an_answer():
    made = scopes(PAY | {"fault": {"first": 1, "reset": True}, "response": {"body": "{{ counter }}"}})
    decisions = [made.answer(request(), START) for _ in range(3)]
    assert [one.effect and one.effect.what for one in decisions] == ["reset", None, None]
    assert [one.answer.body for one in decisions[1:]] == [b"1", b"2"]
    assert [one.entry.attempt for one in decisions] == [1, 2, 3]


def test_what_shows_in_the_answer_is_not_left_to_the_wire():
    made = scopes(PAY | {"fault": [{"first": 1, "delay": "2s"}, {"first": 2, "malformed": True}, {"status": 503}]})
    decisions = [made.answer(request(), START) for _ in range(3)]
    assert [one.effect for one in decisions] == [None] * 3
    assert [(one.delay, one.answer.status, one.answer.body) for one in decisions] == [
        (2.0, 200, b"paid"),
        (0.0, 200, b"pa<"),
        (0.0, 503, b""),
    ]
    assert [one.entry.effect for one in decisions] == ["delay", "malformed", "status"]


def test_a_limit_admits_again_after_its_span_and_is_each_scope_s_own():
    made = scopes(PAY | {"limit": {"requests": 2, "per": "1s"}})
    times = [0.0, 0.1, 0.2, 0.9, 1.0, 1.05, 1.1]
    statuses = [made.answer(request("a"), START + after).answer.status for after in times]
    assert statuses == [200, 200, 429, 429, 200, 429, 200]
    assert made.answer(request("b"), START).answer.status == 200
    assert [entry.limited for entry in made.journal("a")] == [status == 429 for status in statuses]


def test_a_fault_s_time_begins_with_the_test_or_with_its_stub():
    timed = PAY | {"fault": {"between": ["1s", "2s"], "status": 503}}
    made = scopes(timed)
    made.begin("a", START + 100)
    assert [made.answer(request("a"), START + after).answer.status for after in (100.5, 101.5, 102.5)] == [
        200,
        503,
        200,
    ]
    made.add("a", stubs(timed), START + 200)
    assert [made.answer(request("a"), START + after).answer.status for after in (200.5, 201.5)] == [200, 503]


def test_the_same_seed_gives_the_same_sequence_in_every_scope_and_after_every_reset():
    made = scopes(PAY | {"fault": {"probability": 0.4, "seed": 3, "status": 503}})

    def sequence(scope: str) -> list[int]:
        return [made.answer(request(scope), START).answer.status for _ in range(40)]

    first = sequence("a")
    assert set(first) == {200, 503}
    assert sequence("b") == first
    made.begin("a", START)
    assert sequence("a") == first
    assert sequence("a") != first


def test_a_template_that_fails_is_shown_in_the_answer_and_in_the_verdict():
    made = scopes(PAY | {"response": {"body": "{{ request.json.amount }}"}})
    decision = made.answer(request(), START)
    assert decision.answer.status == 500
    assert json.loads(decision.answer.body)["stub"] == "stub 0"
    assert [entry.problem for entry in made.verify(DEFAULT, START).problems] == [decision.entry.problem]
    assert "the request's body is no JSON" in decision.entry.problem


# Nothing answers


def test_a_request_without_a_stub_is_told_which_came_nearest_and_what_differed():
    made = scopes(
        {"name": "refund", "request": {"method": "POST", "path": "/refund", "headers": {"K": "v"}}},
        {"name": "payment", "request": {"method": "POST", "path": "/pay/{id}"}},
        {"request": {"path": "/pay/7", "host": "mail.example"}},
    )
    decision = made.answer(request("gw0", target="/pay/7"), START)
    assert decision.answer.status == 501
    assert json.loads(decision.answer.body) == {
        "error": "the mock has no stub for GET http://pay.example/pay/7",
        "scope": "gw0",
        "nearest": "payment (test stub 2)",
        "differences": ["method: expected POST, got GET"],
    }
    assert (decision.entry.nearest, decision.entry.matched) == ("payment (test stub 2)", False)
    assert made.verify("gw0", START).unmatched == (decision.entry,)


def test_a_stub_in_the_wrong_state_is_the_nearest():
    made = scopes(SCENARIO[0])
    said(made)
    assert made.answer(request(), START).entry.differences == (
        "scenario payment: expected state started, got state paid",
    )


def test_without_any_stub_nothing_is_near():
    assert json.loads(said(Scopes()))["nearest"] is None


# Begin and remember


def test_a_test_begins_with_nothing_of_the_one_before():
    made = scopes(*SCENARIO)
    made.begin("a", START, "first test")
    made.add("a", stubs({"request": {"path": "/mine"}}), START)
    said(made, "a")
    made.begin("a", START, "second test", strict=True)
    assert made.journal("a") == []
    assert made.answer(request("a", target="/mine"), START).answer.status == 501
    assert said(made, "a") == "first"
    assert (made.verify("a", START).test, made.verify("a", START).strict) == ("second test", True)
    assert [entry.test for entry in made.since(0)] == ["first test", "second test", "second test"]


def test_a_scope_that_is_reset_is_made_anew_by_its_next_request():
    made = scopes(*SCENARIO)
    assert said(made, "a") == "first"
    made.reset("a")
    assert (made.names(), made.journal("a")) == ((), [])
    assert said(made, "a") == "first"
    assert len(made.journal("a")) == 1


def test_what_is_under_way_is_seen_until_it_is_completed():
    made = scopes(PAY)
    first, second = (made.answer(request(), START + after).entry for after in (0, 1))
    made.completed(first.number, START + 2)
    made.completed(first.number, START + 9, "disconnected")
    made.completed(999, START)
    done, pending = made.journal(DEFAULT)
    assert (done.arrived, done.completed, done.outcome) == (START, START + 2, "sent")
    assert (pending.number, pending.completed) == (second.number, None)
    assert made.verify(DEFAULT, START).in_flight == (pending,)


def test_own_stubs_that_answered_nothing_are_told():
    made = scopes(PAY)
    made.add("a", stubs({"request": {"path": "/used"}}, {"request": {"path": "/unused"}}), START)
    said(made, "a", target="/used")
    assert [name for name, _ in made.verify("a", START).unused] == ["stub 1"]


def test_the_journal_says_how_many_entries_it_had_no_room_for():
    made = scopes(PAY, limit=3)
    for scope in "aabba":
        said(made, scope)
    assert [(len(made.journal(scope)), made.verify(scope, START).lost) for scope in "ab"] == [(1, 2), (2, 0)]
    assert [entry.number for entry in made.since(3)] == [4, 5]
    assert made.journal("c") == []


def test_a_large_body_is_cut_in_the_journal_but_not_in_the_answer_nor_for_templates():
    made = scopes(PAY | {"response": {"body": "{{ request.body }}!"}}, detail=Detail(keep=10))
    decision = made.answer(request(body=b"x" * 11), START)
    assert decision.answer.body == b"x" * 11 + b"!"
    entry = decision.entry
    assert (entry.size, entry.request.body, entry.answered, entry.body) == (11, b"x" * 10, 12, b"x" * 10)


def test_the_journal_makes_room_for_the_newest_by_bytes_and_says_what_it_lost():
    made = scopes(PAY, detail=Detail(keep=10_000, journal=50_000))
    for n in range(20):
        made.answer(request("a", body=b"%d " % n + b"x" * 9_990), START)
    kept = made.journal("a")
    assert kept[-1].number == 20
    assert sum(map(weight, kept)) <= 50_000 < sum(map(weight, kept)) + weight(kept[0])
    assert made.verify("a", START).lost == made.forgotten == 20 - len(kept)


def test_an_entry_that_is_too_large_by_itself_is_there_until_the_next_comes():
    made = scopes(PAY, detail=Detail(journal=10))
    for n in range(3):
        said(made, "a", target=f"/pay?{n}")
        assert [entry.number for entry in made.journal("a")] == [n + 1]
    assert made.forgotten == 2


def test_an_entry_keeps_nothing_that_was_worked_out_from_its_body():
    made = scopes(PAY | {"response": {"json": "{{ request.json.a }}"}})
    asked = request(body=b'{"a": [1]}')
    kept = made.answer(asked, START).entry.request
    assert asked == kept
    assert ("json" in vars(asked), "json" in vars(kept)) == (True, False)


@pytest.mark.parametrize(
    ("level", "headers", "body"), [("headers", ("Traceparent", "X-A"), b""), ("line", ("Traceparent",), b"")]
)
def test_the_journal_keeps_as_much_as_it_is_told_but_stubs_see_all(level, headers, body):
    made = scopes(PAY | {"response": {"body": "{{ request.body }} {{ request.headers['X-A'] }}"}}, detail=Detail(level))
    given = (("Traceparent", "00-ab-cd-01"), ("X-A", "1"))
    decision = made.answer(request(headers=given, body=b"b"), START)
    entry = decision.entry
    assert decision.answer.body == b"b 1"
    assert (tuple(name for name, _ in entry.request.headers), entry.request.body, entry.body) == (headers, body, b"")
    assert (entry.size, entry.answered, entry.detail) == (1, 3, level)
    assert entry.as_data()["traceparent"] == "00-ab-cd-01"


def test_the_detail_is_read_from_the_environment():
    given = {"MOCK_DETAIL": "line", "MOCK_KEEP": "1k", "MOCK_JOURNAL": "2M", "MOCK_LIMIT": "30", "OTHER": "x"}
    assert Detail.of(given) == Detail("line", 1024, 2 * 1024**2, 30)
    assert Detail.of({"MOCK_KEEP": ""}) == Detail()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MOCK_DETAIL", "all", "MOCK_DETAIL=all: the journal keeps full, headers, line"),
        ("MOCK_KEEP", "64 kilos", "MOCK_KEEP=64 kilos is no number of bytes"),
    ],
)
def test_a_detail_that_is_none_is_said(name, value, message):
    with pytest.raises(ItestError, match=message):
        Detail.of({name: value})


# Patience

ENDLESS = "(a|aa)+"


def impatient(*given: dict[str, Any]) -> Scopes:
    return scopes(*given, patience=Patience(0.1))


@pytest.mark.parametrize(
    "asks",
    [
        {"path": "/pay", "body": {"regex": ENDLESS}},
        {"path": "/pay", "headers": {"X": {"regex": ENDLESS}}},
        {"path": "/pay", "body": {"glob": "*a" * 30 + "b"}},
    ],
)
def test_a_pattern_that_would_take_for_ever_is_given_up_and_blamed_on_its_stub(asks):
    made = impatient({"name": "endless", "request": asks}, {"request": {"path": "/other"}, "name": "fine"})
    text = "a" * 60 + "!"
    entry = made.answer(request(body=text.encode(), headers=(("X", text),)), START).entry
    assert (entry.status, entry.stub) == (500, "endless")
    assert "it gave no answer within 0.1 s" in entry.problem
    assert [one.stub for one in made.verify(DEFAULT, START).problems] == ["endless"]
    assert made.answer(request(target="/other"), START).entry.stub == "fine"


def test_one_that_only_the_nearest_stub_needs_leaves_the_request_unanswered_as_it_was():
    made = impatient({"request": {"path": "/elsewhere", "body": {"regex": ENDLESS}}})
    entry = made.answer(request(body=b"a" * 60 + b"!"), START).entry
    assert (entry.status, entry.matched, entry.nearest) == (501, False, "")
    assert "to find the nearest gave no answer within 0.1 s" in entry.problem


def test_a_template_that_would_take_for_ever_is_given_up():
    loops = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    made = impatient(PAY | {"response": {"body": loops}})
    entry = made.answer(request(), START).entry
    assert entry.status == 500
    assert "gave no answer within 0.1 s" in entry.problem


def test_a_scope_key_that_would_take_for_ever_is_told_too():
    path = {"regex": f"/{ENDLESS}"}
    made = impatient({"name": "keyed", "request": {"path": path}, "scope_key": "$.scope"})
    entry = made.answer(request(target="/" + "a" * 60 + "!", body=b'{"scope": "a"}'), START).entry
    assert (entry.scope, entry.status, entry.stub) == (DEFAULT, 500, "keyed")


# Stubs that go


def test_a_removed_stub_answers_nothing_more_and_what_was_before_does():
    made = scopes(PAY)
    (number,) = made.add("a", stubs(PAY | {"response": {"body": "own"}}), START)
    assert said(made, "a") == "own"
    assert made.remove("b", number) is False
    assert (made.remove("a", number), made.remove("a", number)) == (True, False)
    assert said(made, "a") == "paid"
    assert made.verify("a", START).unused == ()


def test_a_stub_that_was_removed_unused_is_still_told():
    made = scopes()
    made.remove("a", made.add("a", stubs(PAY), START)[0])
    assert [name for name, _ in made.verify("a", START).unused] == ["stub 0"]


def test_a_verdict_tells_the_first_hundred_of_a_sort_and_how_many_more():
    made = scopes()
    for _ in range(103):
        made.answer(request("a", body=b"secret"), START)
    data = made.verify("a", START).as_data()
    assert (len(data["unmatched"]), data["more"]) == (100, {"unmatched": 3, "in_flight": 3})
    assert "secret" not in json.dumps(data)


def test_an_entry_is_json_with_the_trace_that_it_belongs_to():
    made = scopes(PAY)
    headers = (("Traceparent", "00-ab-cd-01"),)
    entry = made.answer(request(headers=headers, body=b"\xff", target="/pay?a=1&a=2"), START).entry
    data = json.loads(json.dumps(entry.as_data()))
    assert (data["traceparent"], data["stub"], data["completed"]) == ("00-ab-cd-01", "stub 0", None)
    assert data["request"]["query"] == [["a", "1"], ["a", "2"]]
    assert data["request"]["base64"] == "/w=="


def test_global_stubs_are_replaced_at_once_for_all():
    made = scopes(PAY)
    made.set_global(stubs(PAY | {"response": {"body": "new"}}), START)
    assert said(made, "a") == "new"


def test_the_same_global_stubs_given_again_keep_what_was_counted():
    made = scopes(*SCENARIO, PAY | {"request": {"path": "/n"}, "response": {"body": "{{ counter }}"}})
    assert said(made, target="/n") == "1"
    assert (
        made.set_global(stubs(*SCENARIO, PAY | {"request": {"path": "/n"}, "response": {"body": "{{ counter }}"}}), 2.0)
        is False
    )
    assert said(made, target="/n") == "2"
    assert made.set_global(stubs(PAY), START) is True


def test_an_address_belongs_to_its_scope_until_that_is_reset():
    made = scopes(PAY)
    made.set_addresses({"10.0.0.2": "a"})
    made.know_addresses({"10.0.0.3": "b"})
    made.reset("a")
    assert [made.scope_of(request(address=f"10.0.0.{host}")) for host in (2, 3)] == [DEFAULT, "b"]
    made.set_addresses({"10.0.0.2": "a"})
    assert [made.scope_of(request(address=f"10.0.0.{host}")) for host in (2, 3)] == ["a", DEFAULT]


# Whatever comes


actions = st.lists(
    st.tuples(st.sampled_from(["answer", "begin", "reset", "add"]), st.sampled_from("ab"), st.integers(0, 3)),
    max_size=40,
)


@settings(deadline=None)
@given(actions)
def test_a_scope_behaves_as_if_it_were_alone(steps):
    together, alone = scopes(*SCENARIO, PAY | {"limit": {"requests": 2, "per": "9s"}, "request": {"path": "/3"}}), {}
    for scope in "ab":
        alone[scope] = scopes(*SCENARIO, PAY | {"limit": {"requests": 2, "per": "9s"}, "request": {"path": "/3"}})
    for index, (action, scope, number) in enumerate(steps):
        answers = []
        for made in (together, alone[scope]):
            now = START + index
            if action == "answer":
                answers.append(made.answer(request(scope, target=f"/{number}" if number else "/pay"), now).answer)
            elif action == "begin":
                made.begin(scope, now)
            elif action == "reset":
                made.reset(scope)
            else:
                made.add(scope, stubs({"request": {"path": f"/{number}"}}), now)
        assert len(set(answers)) <= 1
    for scope in "ab":
        both = [
            [(entry.arrived, entry.status, entry.state) for entry in made.journal(scope)]
            for made in (together, alone[scope])
        ]
        assert both[0] == both[1]


def test_a_body_that_is_nested_without_end_breaks_nothing():
    asking = {
        "request": {
            "path": "/pay",
            "jsonpath": {"$..scope": "x", "$..scope.scope": {"contains": "x"}},
            "json": {"a": 1},
        },
        "scope_key": "$..scope",
    }
    for depth in (500, 900, 5_000, 50_000):
        body = b'{"scope":' * depth + b"1" + b"}" * depth
        assert scopes(asking).answer(request(body=body), START).answer.status == 501


def test_numbers_are_never_used_twice():
    made = scopes(PAY, limit=5)
    assert [made.answer(request(), START).entry.number for _ in range(12)] == list(range(1, 13))
