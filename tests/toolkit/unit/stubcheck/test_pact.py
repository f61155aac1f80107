"""Stubs against a pact: what it promises for a request is what the stub for it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

BODY = {"id": "pay_1", "paid": True, "lines": [{"sku": "MUG", "count": 1}]}


def pact(*interactions: dict[str, Any]) -> str:
    return json.dumps({"interactions": interactions, "metadata": {}}, indent="\t")


def interaction(response: dict[str, Any], **request: Any) -> dict[str, Any]:
    return {"description": "paying", "request": {"method": "POST", "path": "/pay"} | request, "response": response}


def stub(body: Any = BODY, **more: Any) -> str:
    return json.dumps([{"request": {"path": "/pay"}, "response": {"json": body}, **more}])


RULES = {
    "$.id": {"matchers": [{"match": "regex", "regex": "^pay_"}]},
    "$.paid": {"matchers": [{"match": "boolean"}]},
    "$.lines": {"matchers": [{"match": "type", "min": 1}]},
    "$.lines[*].count": {"matchers": [{"match": "integer"}]},
}
V2 = {
    "$.body.id": {"match": "regex", "regex": "^pay_"},
    "$.body.paid": {"match": "type"},
    "$.body.lines": {"min": 1},
    "$.headers.Location": {"match": "regex", "regex": "^/"},
}


@pytest.mark.parametrize("rules", [{"body": RULES}, V2])
def test_rules_say_how_much_of_the_promise_is_meant_to_the_letter(check, rules) -> None:
    promise = pact(interaction({"status": 200, "body": BODY, "matchingRules": rules}))
    other = {"id": "pay_2", "paid": False, "lines": [{"sku": "CUP", "count": 7}] * 2, "more": 1}
    assert check(stub(other), pay_example=promise) == []
    assert check(stub(other), pay_example=pact(interaction({"body": BODY}))) != []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BODY | {"id": "x"}, "$.id: what `^pay_` finds is promised, not x (pay.example.json:11)"),
        (BODY | {"paid": 1}, "$.paid: boolean is promised, not 1 (pay.example.json:12)"),
        (
            BODY | {"lines": []},
            '$.lines: something like [{"sku": "MUG", "count": 1}] is promised, not [] (pay.example.json:13)',
        ),
        (
            BODY | {"lines": [{"sku": 1, "count": 1}]},
            "$.lines[0].sku: something like MUG is promised, not 1 (pay.example.json:15)",
        ),
        (
            BODY | {"lines": [{"sku": "A", "count": 1.5}]},
            "$.lines[0].count: integer is promised, not 1.5 (pay.example.json:16)",
        ),
        (
            {"id": "pay_1", "paid": True},
            '$.lines: [{"sku": "MUG", "count": 1}] is promised, nothing is there (pay.example.json:13)',
        ),
    ],
)
def test_a_body_that_is_not_as_promised_is_told_with_both_places(check, body, said) -> None:
    promise = pact(interaction({"body": BODY, "matchingRules": {"body": RULES}}))
    assert check(stub(body), pay_example=promise)[0] == f'stubs.yaml:1: interaction "paying": {said}'


def test_status_and_headers_are_promised_too(check) -> None:
    promise = pact(interaction({"status": 201, "headers": {"Location": "/pay/1", "Content-Type": "application/json"}}))
    said = check("- request: {path: /pay}\n  response: {status: 200, json: 1}", pay_example=promise)
    assert [line.strip() for line in said[:2]] == [
        'stubs.yaml:2: interaction "paying": status 201 is promised, not 200 (pay.example.json:10)',
        'stubs.yaml:2: interaction "paying": the header Location is promised, and missing (pay.example.json:12)',
    ]
    header = "- request: {path: /pay}\n  response: {status: 201, headers: {location: /other}, json: 1}"
    assert "header Location: /pay/1 is promised, not /other" in check(header, pay_example=promise)[0]


def test_a_content_type_is_kept_whatever_the_charset(check) -> None:
    promise = pact(interaction({"headers": {"Content-Type": "Application/JSON; charset=utf-8"}}))
    assert check(stub(1), pay_example=promise) == []


def test_the_most_particular_rule_counts_and_speaks_for_all_below_unless_it_is_about_types(check) -> None:
    letters = {"$.a": "not-empty", "$.b[*]": "integer", "$.b[0]": "boolean"}
    rules = {path: {"matchers": [{"match": word}]} for path, word in letters.items()}
    promise = pact(interaction({"body": {"a": [{"x": 1}], "b": [True, 1]}, "matchingRules": {"body": rules}}))
    assert check(stub({"a": [{"y": 2}], "b": [False, 2]}), pay_example=promise) == []
    assert "$.b[0]: boolean is promised" in check(stub({"a": [1], "b": [1, 2]}), pay_example=promise)[0]


@pytest.mark.parametrize(
    "rules",
    [
        {"header": {"location": {"matchers": [{"match": "regex", "regex": "^/"}]}}},
        {"$.headers['Location']": V2["$.headers.Location"]},
    ],
)
def test_a_header_has_rules_too(check, rules) -> None:
    promise = pact(interaction({"headers": {"Location": "/pay/1"}, "matchingRules": rules}))
    answered = "- request: {path: /pay}\n  response: {headers: {location: %s}}"
    assert check(answered % "/pay/2", pay_example=promise) == []
    assert "header Location: what `^/` finds is promised, not no" in check(answered % "nowhere", pay_example=promise)[0]


def test_templates_are_rendered_with_the_pact_s_own_request(check) -> None:
    promise = pact(interaction({"body": {"order": 7, "from": "a b"}}, body={"order": 7}, query={"from": ["a b"]}))
    echo = {"order": "{{ request.json.order }}", "from": "{{ request.query['from'] }}"}
    assert check(stub(echo), pay_example=promise) == []
    assert "has no attribute 'nobody'" in check(stub({"order": "{{ request.query.nobody }}"}), pay_example=promise)[0]


def test_of_several_stubs_and_answers_one_has_to_keep_the_promise(check) -> None:
    """Two states of the provider, two stubs of a scenario."""
    promise = pact(interaction({"status": 200}), interaction({"status": 402}))
    two = "- {request: {path: /pay}}\n- {request: {path: /pay, method: POST}, responses: [{}, {status: 402}]}"
    assert check(two, pay_example=promise) == []
    assert "status 402 is promised" in check("- {request: {path: /pay}}", pay_example=promise)[0]


def test_version_4_wraps_bodies_and_has_messages_that_no_stub_answers(check) -> None:
    wrapped = interaction({"body": {"content": {"a": 1}, "contentType": "application/json", "encoded": False}})
    encoded = interaction({"body": {"content": "eyJhIjogMX0=", "contentType": "application/json", "encoded": "base64"}})
    message = {"type": "Asynchronous/Messages", "description": "an event"}
    promise = pact(wrapped | {"type": "Synchronous/HTTP"}, encoded, message)
    assert check(stub({"a": 1}), pay_example=promise) == []
    assert len(check(stub({"a": 2}), pay_example=promise)) == 3


def test_a_pact_that_can_not_be_kept_or_read_is_refused(check) -> None:
    unanswered = check("- {request: {path: /other, host: pay.example}}", pay_example=pact(interaction({})))
    assert unanswered[0] == "pay.example.json:2: the stubs for pay.example answer no interaction of this pact"
    strange = pact(
        interaction({"body": {"a": 1}, "matchingRules": {"body": {"$.a": {"matchers": [{"match": "arrayContains"}]}}}})
    )
    assert "no matcher called `arrayContains` is known" in check(stub({"a": 1}), pay_example=strange)[0]
