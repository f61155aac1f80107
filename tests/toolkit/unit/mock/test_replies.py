"""What a stub answers to its n-th request: templates, sequences, delays, faults, limits."""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itest.mock import replies, stubfile
from itest.mock.incoming import Incoming
from itest.mock.replies import Answer
from itest.mock.stubs import Delay, Effect, Limit, Stub
from itest.mock.templates import TemplateError, Templates

MANY = 2000
SENT = b'{"amount": 1200, "items": [{"sku": "MUG"}]}'


def stub(**given: Any) -> Stub:
    return stubfile.from_data({"request": {"path": "/v1/{id}"}} | given, "test")[0]


def answer(sent: bytes = SENT, **response: Any) -> Answer:
    """To a request of 2026-01-02 03:04:05 UTC, the third that is served."""
    templates = Templates({"REGION": "eu"})
    headers = (("X-Id", "k1"), ("Content-Type", "application/json"))
    incoming = Incoming.of("POST", "/v1/a%2Fb?page=2&page=3", headers=headers, host="h", body=sent)
    context = templates.context(incoming, {"id": "a/b"}, 3, 1767323045.5)
    return replies.rendered(stub(response=response).responses[0], templates, context)


def value(text: str, sent: bytes = SENT) -> Any:
    """What a text in a JSON answer becomes."""
    return json.loads(answer(sent, json={"is": text}).body)["is"]


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("plain { }", "plain { }"),
        ("{{ request.path.id }}", "a/b"),
        ("{{ request.path }}", "/v1/a/b"),
        ("{{ request.method }} {{ request.host }}", "POST h"),
        ("{{ request.query.page }}", "2"),
        ("{{ request.headers['x-ID'] }}", "k1"),
        ("{{ request.json.amount }}", 1200),
        ("{{- request.json.amount * 2 -}}", 2400),
        ("{{ -1 }}", -1),
        ("{{ request.json.items }}", [{"sku": "MUG"}]),
        ("{{ request.json.items[0].sku }}-{{ counter }}", "MUG-3"),
        ("{{ request.json.items | length > 1 }}", False),
        ("items: {{ request.json.items }} {{ true }} {{ none }}", 'items: [{"sku": "MUG"}] true null'),
        ("{{ counter }}", 3),
        ("{{ counter }} ", 3),
        ("{{ env.REGION }}", "eu"),
        ("{{ now }}", "2026-01-02T03:04:05.500Z"),
        ("{{ now + timedelta(days=30) }}", "2026-02-01T03:04:05.500Z"),
        ("{{ now.timestamp() | int }}", 1767323045),
        ("{% if counter > 2 %}late{% endif %}", "late"),
        ("{{ request.query.none | default('x') }}", "x"),
    ],
)
def test_a_template_sees_the_request_and_keeps_the_type_of_what_stands_alone(text, is_):
    assert value(text) == is_


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ request.path.nmae }}", "has no attribute 'nmae'"),
        ("x {{ request.query.nothing }}", "has no attribute 'nothing'"),
        ("{{ request.query.nothing }}", "has no attribute 'nothing'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ request.json.amount + 'x' }}", "unsupported operand"),
        ("{{ env.HOME }}", "has no attribute 'HOME'"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ request._incoming }}", "unsafe"),
        ("{{ range(1000000) | list }}", "too big"),
        ("{{ request.method.format.__globals__ }}", "unsafe"),
    ],
)
def test_a_template_that_fails_is_told_with_its_text(text, why):
    with pytest.raises(TemplateError) as caught:
        value(text)
    assert str(caught.value).startswith(f"`{text}`: ")
    assert why in str(caught.value)


def test_a_body_that_is_no_json_is_told_where_a_template_asks_for_it():
    with pytest.raises(TemplateError, match="the request's body is no JSON"):
        value("{{ request.json.amount }}", b"{")


def test_a_uuid_is_one_in_the_whole_answer_and_another_in_the_next():
    response = {"headers": {"Location": "/v1/{{ uuid }}"}, "json": {"id": "{{ uuid }}"}}
    first, second = answer(**response), answer(**response)
    assert dict(first.headers)["Location"] == f"/v1/{json.loads(first.body)['id']}"
    assert first.body != second.body


@settings(deadline=None)
@given(st.text())
def test_what_a_request_holds_is_never_a_template_itself(text):
    body = json.dumps({"amount": f"{{{{ env.REGION }}}}{text}"}).encode()
    assert value("{{ request.json.amount }}", body) == f"{{{{ env.REGION }}}}{text}"
    assert value("<{{ request.json.amount }}>", body) == f"<{{{{ env.REGION }}}}{text}>"


def test_a_request_can_t_break_out_of_a_header():
    with pytest.raises(TemplateError, match="a line break in the header X"):
        answer(b'"a\\r\\nSet-Cookie: b"', headers={"X": "{{ request.json }}"})


@pytest.mark.parametrize(
    ("response", "kind", "body"),
    [
        ({}, None, b""),
        ({"json": {"a": "ä"}}, "application/json", '{"a": "ä"}'.encode()),
        ({"json": None}, "application/json", b"null"),
        ({"body": "ä\n"}, "text/plain; charset=utf-8", "ä\n".encode()),
        ({"base64": "/w=="}, "application/octet-stream", b"\xff"),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, "text/xml", b"<a/>"),
        ({"body": "{{ 1 }}", "template": False}, "text/plain; charset=utf-8", b"{{ 1 }}"),
    ],
)
def test_a_body_has_the_content_type_of_its_kind(response, kind, body):
    got = answer(**response)
    assert next((text for name, text in got.headers if name.lower() == "content-type"), None) == kind
    assert (got.status, got.body) == (200, body)


def test_responses_come_in_their_order_and_the_last_repeats():
    one = stub(responses=[{"status": 500}, {"status": 202}, {"status": 200}])
    assert [replies.response_of(one, served).status for served in range(5)] == [500, 202, 200, 200, 200]


def failures(one: Stub, count: int = MANY, age: float = 0.0) -> list[bool]:
    return [replies.fault_of(one, asked, age) is not None for asked in range(count)]


def test_the_same_seed_draws_the_same_faults_which_vary_from_request_to_request():
    one = stub(fault={"probability": 0.3, "seed": 7, "reset": True})
    drawn = failures(one)
    assert drawn == failures(one)
    assert failures(stub(name="renamed", fault={"probability": 0.3, "seed": 7, "reset": True})) == drawn
    assert failures(stub(fault={"probability": 0.3, "seed": 8, "reset": True})) != drawn
    assert abs(sum(drawn) / MANY - 0.3) < 4 * math.sqrt(0.3 * 0.7 / MANY)
    assert len({tuple(drawn[at : at + 8]) for at in range(0, MANY, 8)}) > 50


def test_two_stubs_with_one_seed_draw_apart():
    fault = {"probability": 0.5, "reset": True}
    left, right = stub(fault=fault), stub(request={"path": "/other"}, fault=fault)
    equal = sum(one == other for one, other in zip(failures(left), failures(right), strict=True))
    assert abs(equal / MANY - 0.5) < 0.06


@pytest.mark.parametrize(("probability", "drawn"), [(0, {False}), (1, {True})])
def test_a_probability_of_none_and_of_one_are_certain(probability, drawn):
    assert set(failures(stub(fault={"probability": probability, "reset": True}))) == drawn


def test_a_fault_lasts_for_the_first_requests_and_in_its_time():
    assert failures(stub(fault={"first": 2, "reset": True}), 4) == [True, True, False, False]
    between = stub(fault={"between": ["1s", "5s"], "reset": True})
    assert [failures(between, 1, age)[0] for age in (0.9, 1.0, 4.9, 5.0)] == [False, True, True, False]
    both = stub(fault={"between": ["1s", "5s"], "first": 1, "reset": True})
    assert [failures(both, 2, age) for age in (0.0, 2.0)] == [[False, False], [True, False]]


def test_of_several_faults_the_first_that_applies_counts():
    one = stub(fault=[{"first": 1, "reset": True}, {"first": 3, "status": 503}])
    found = [replies.fault_of(one, asked, 0.0) for asked in range(4)]
    assert [fault.effect.what if fault else None for fault in found] == ["reset", "status", "status", None]


@pytest.mark.parametrize(
    "delay", ["200ms", {"uniform": ["100ms", "300ms"]}, {"lognormal": {"median": "200ms", "sigma": 0.4}}]
)
def test_delays_have_the_spread_that_was_asked_for_and_are_drawn_anew_but_alike(delay):
    one = stub(response={"delay": delay})
    drawn = [replies.delay_of(one.responses[0].delay, one, asked) for asked in range(MANY)]
    assert drawn == [replies.delay_of(one.responses[0].delay, one, asked) for asked in range(MANY)]
    assert statistics.median(drawn) == pytest.approx(0.2, rel=0.06)
    if "uniform" in delay:
        assert min(drawn) >= 0.1
        assert max(drawn) <= 0.3
        assert statistics.stdev(drawn) == pytest.approx(0.2 / math.sqrt(12), rel=0.1)
    elif "lognormal" in delay:
        assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.4, rel=0.1)


def test_without_a_delay_there_is_none():
    assert replies.delay_of(None, stub(), 0) == 0.0
    assert replies.delay_of(Delay("lognormal", 0.0, 1.0), stub(), 0) == 0.0


@settings(deadline=None)
@given(st.integers(1, 5), st.floats(0.01, 10), st.lists(st.floats(0, 3), max_size=40))
def test_in_no_span_of_the_limit_s_length_are_more_requests_admitted(requests, per, gaps):
    limit, now, admitted = Limit(requests, per), 1000.0, []
    for gap in gaps:
        now += gap
        if replies.wait_of(limit, admitted, now) == 0:
            admitted.append(now)
    assert all(
        later - earlier >= per * (1 - 1e-9) for earlier, later in zip(admitted, admitted[requests:], strict=False)
    )


def test_who_waits_as_long_as_retry_after_says_is_admitted():
    limit, admitted = Limit(2, 1.5), [10.0, 10.9]
    wait = replies.wait_of(limit, admitted, 11.0)
    refusal = replies.refusal(limit, wait)
    assert (refusal.status, dict(refusal.headers)["Retry-After"]) == (429, "1")
    assert wait == pytest.approx(0.5)
    assert replies.wait_of(limit, admitted, 12.0) == 0


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_malformed_body_is_never_json(data):
    given_ = Answer(200, (), json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
    spoilt = replies.spoilt(Effect("malformed"), given_).body.decode("utf-8", "replace")
    with pytest.raises(json.JSONDecodeError):
        json.loads(spoilt)


def test_an_error_status_takes_the_answer_s_place():
    effect = Effect("status", status=503, headers={"Retry-After": "1"})
    assert replies.spoilt(effect, Answer(200, (("X", "y"),), b"body")) == Answer(503, (("Retry-After", "1"),))
    assert replies.spoilt(Effect("slow_body", 1.0), Answer(200, (), b"body")) == Answer(200, (), b"body")
