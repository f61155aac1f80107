"""What is written of an exchange: nothing secret, the same placeholder for the same secret, and what replays."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from itest.mock import stubfile
from itest.mock.incoming import Incoming
from itest.mock.scopes import Scopes
from itest.recording import masking, stubs
from itest.recording.ledger import Ledger

TOKEN = "h7Kq2Zt9Lw4Xc8Vb1Nm6Rp3D"
CARD = "4556737586899855"


def stub_of(asked, number: int = 0):
    return asked[number].as_data()


def replayed(text: str, *incoming: Incoming) -> list[tuple[int, object]]:
    """What the written stubs answer, through YAML as the mock reads it."""
    scopes = Scopes()
    scopes.set_global(stubfile.from_data(yaml.safe_load(text), "recorded"), 0.0)
    answers = [scopes.answer(one, 0.0).answer for one in incoming]
    return [(answer.status, json.loads(answer.body) if answer.body else None) for answer in answers]


def test_secrets_known_by_name_are_masked_wherever_they_stand(exchange, recorded) -> None:
    asked, refused, text = recorded(
        exchange(
            1,
            f"/v1/me?api_key={TOKEN}",
            {"apiKey": TOKEN, "note": f"key {TOKEN} is yours", "email": "ada@mail.example", "pin": 4711},
            headers=(("Cookie", "sid=cookie-Canary-77; theme=dark"),),
            says=(
                ("Content-Type", "application/json"),
                ("Set-Cookie", "sid=cookie-Canary-77; Path=/"),
                ("X-Echo", TOKEN),
            ),
        )
    )
    assert refused == []
    assert stub_of(asked)["response"] == {
        "status": 200,
        "headers": {"Content-Type": "application/json", "Set-Cookie": "sid=masked-cookie-1; Path=/"},
        "json": {
            "apiKey": '{{ request.query["api_key"] }}',
            "note": 'key {{ request.query["api_key"] }} is yours',
            "email": "masked-1@example.com",
            "pin": 1,
        },
    }
    assert stub_of(asked)["request"]["query"] == {"api_key": {"regex": ".+"}}
    assert not [raw for raw in (TOKEN, "Canary", "ada@", "4711") if raw in text]


def test_what_was_issued_is_matched_by_its_placeholder_and_what_the_client_brings_by_its_form(
    exchange, recorded
) -> None:
    _, refused, text = recorded(
        exchange(
            1, "/sessions", {"token": TOKEN, "user": {"id": "u1"}}, sends={"password": "hunter2!", "n": [1, None]}
        ),
        exchange(
            2, f"/orders/{TOKEN}/lines", {"ok": True}, sends={"token": TOKEN, "lines": [{"pan": CARD, "sku": "MUG"}]}
        ),
    )
    assert refused == []
    assert not [raw for raw in (TOKEN, CARD, "hunter2") if raw in text]

    def asks(target: str, body: object) -> Incoming:
        kind = (("Content-Type", "application/json"),)
        return Incoming.of("POST", target, host="pay.example.com", headers=kind, body=json.dumps(body).encode())

    session, order, none = replayed(
        text,
        asks("/sessions", {"password": "another", "n": [1, None]}),
        asks(
            "/orders/masked-token-1/lines",
            {"token": "masked-token-1", "lines": [{"pan": "4000056655665556", "sku": "MUG"}]},
        ),
        asks(
            "/orders/masked-token-1/lines", {"token": "another", "lines": [{"pan": "4000056655665556", "sku": "MUG"}]}
        ),
    )
    assert session == (200, {"token": "masked-token-1", "user": {"id": "u1"}})
    assert order == (200, {"ok": True})
    assert none[0] == 501


def test_a_uuid_that_the_client_makes_up_may_be_any_and_comes_back(exchange, recorded) -> None:
    one = "0b5a1f2e-93c4-4d5e-8f60-718293a4b5c6"
    asked, refused, text = recorded(
        exchange(1, "/v1/pay", {"ref": one, "at": "now"}, sends={"ref": one, "list": [one, "x"]})
    )
    assert refused == []
    assert stub_of(asked)["request"]["jsonpath"]["$.list[1]"] == "x"
    other = "ffffffff-93c4-4d5e-8f60-718293a4b5c6"
    kind = (("Content-Type", "application/json"),)
    sent = json.dumps({"ref": other, "list": [other, "x"]}).encode()
    assert replayed(text, Incoming.of("POST", "/v1/pay", host="pay.example.com", headers=kind, body=sent)) == [
        (200, {"ref": other, "at": "now"})
    ]


def test_rules_mask_keep_and_vary_what_names_do_not_tell(exchange, recorded) -> None:
    given = exchange(
        1, f"/people/ada@mail.example/{TOKEN}?n=7", {"id": TOKEN, "people": [{"who": "Ada Canary"}]}, sends={"when": 17}
    )
    rules = """
mask: {path: ["/people/{who}/{token}"], json: ["$.people[*].who"]}
keep: {json: [$.id]}
vary: {json: [$.when], query: [n]}
"""
    asked, refused, text = recorded(given, rules=rules)
    assert [finding.place for finding in refused] == []
    request = stub_of(asked)["request"]
    assert request["path"] == {"regex": r"/people/(?P<segment2>[^@\s]+@[^@\s]+)/(?P<segment3>[^/]+)"}
    assert request["jsonpath"] == {"$.when": {"regex": r"[\s\S]+"}}
    assert request["query"] == {"n": {"regex": r"[\s\S]+"}}
    assert "Ada" not in text


@pytest.mark.parametrize(
    ("answer", "place", "kind"),
    [
        ({"note": TOKEN}, "answer, json $.note", "random token"),
        ({"a": ["x", "reach ada@mail.example"]}, "answer, json $.a[1]", "e-mail address"),
        ({"digits": int(CARD)}, "answer, json $.digits", "card number"),
        ({"text": f"{CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}"}, "answer, json $.text", "card number"),
        ({"call": "+49 170 1234567"}, "answer, json $.call", "phone number"),
        ({"say": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}, "answer, json $.say", "JSON web token"),
        ({"pem": "-----BEGIN PRIVATE KEY-----\nMIIE"}, "answer, json $.pem", "private key"),
        ({"hex": "9f86d081884c7d659a2feaa0c55ad015"}, "answer, json $.hex", "random token"),
        ({"b": base64.b64encode(b"to ada@mail.example").decode()}, "answer, json $.b", "e-mail address, as base64"),
        ({"next": "https://x.example/?mail=ada%40mail.example"}, "answer, json $.next", "e-mail address"),
        ({"a": {"ada@mail.example": None}}, "answer, the name of a field", "a secret as a name, which no rule masks"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_outside_of_a_mask_is_refused_by_place_and_kind_never_by_value(
    exchange, recorded, answer, place, kind
) -> None:
    _, refused, _ = recorded(exchange(1, "/v1/x", answer))
    assert (place, kind) in {(finding.place, finding.kind) for finding in refused}
    assert not [
        raw for raw in (TOKEN, "ada@mail", CARD, "1234567") if raw in "".join(f"{one}{one.rule}" for one in refused)
    ]


def test_a_refusal_does_not_tell_a_secret_that_is_a_name_either(exchange, recorded) -> None:
    _, refused, _ = recorded(exchange(1, "/ada@mail.example", {"ada@inbox.example": {"x": TOKEN}}))
    assert {finding.place for finding in refused} == {
        "request, path 1",
        'answer, json $["***"].x',
        "answer, the name of a field",
    }
    assert "ada@" not in "".join(f"{one}{one.rule}" for one in refused)


def test_the_rule_that_a_refusal_names_is_one_that_covers_it(exchange, recorded) -> None:
    given = exchange(1, f"/x/{TOKEN}?q={TOKEN[::-1]}", {"a b": {"c": [TOKEN.lower() + "Q"]}})
    _, refused, _ = recorded(given)
    mask: dict[str, list[str]] = {}
    for finding in refused:
        for part, names in yaml.safe_load(finding.rule)["mask"].items():
            mask.setdefault(part, []).extend(names)
    assert mask == {"path": ["/x/{value}"], "query": ["q"], "json": ['$["a b"].c[0]']}
    assert recorded(given, rules=yaml.safe_dump({"mask": mask}))[1] == []


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "ch_17", "created": 1700000000123, "ref": "0b5a1f2e-93c4-4d5e-8f60-718293a4b5c6"},
        {"at": "2026-11-20T19:00:01.123456Z", "total": 123456.789},
        {"slug": "a-mug-with-a-rather-long-name-2024", "sku": "MUG-2024-BLUE-LARGE", "url": "https://x.example/v1/items/17"},
        {"words": "supercalifragilisticexpialidocious", "class": "com_example_payments_v1_ChargeCreated"},
    ],
)  # fmt: skip
def test_what_is_plainly_no_secret_needs_no_rule(exchange, recorded, answer) -> None:
    assert recorded(exchange(1, "/v1/x", answer))[1] == []


def test_a_masked_value_in_another_notation_is_refused(exchange, recorded) -> None:
    _, refused, _ = recorded(
        exchange(1, "/v1/x", {"next": "/x?p=correct%20horse%20battery"}, sends={"password": "correct horse battery"})
    )
    assert [finding.kind for finding in refused] == ["a masked value, written otherwise"]


def test_what_shell_and_compose_files_say_is_secret_is_masked_without_a_rule(exchange, recorded) -> None:
    _, refused, text = recorded(
        exchange(1, "/v1/x", {"motto": "correct-horse-77 wins"}), known=frozenset({"correct-horse-77"})
    )
    assert refused == []
    assert "masked-secret-1 wins" in text


@pytest.mark.parametrize(
    ("body", "headers", "problem"),
    [
        (b"\x89PNG....", (("Content-Type", "image/png"),), "body: 8 bytes of image/png"),
        (b"{broken", (("Content-Type", "application/json"),), "body: 7 bytes of application/json that can't be parsed"),
        (b"\x1f\x8b", (("Content-Encoding", "gzip"),), "answer, body: it is compressed (gzip)"),
        (b"secret", (), "body: 6 bytes of no content type"),
    ],
)  # fmt: skip
def test_a_body_that_nobody_can_look_into_is_refused(exchange, recorded, body, headers, problem) -> None:
    asked, refused, _ = recorded(exchange(1, "/v1/x", body, says=headers))
    assert (asked, [finding.place for finding in refused]) == ([], [problem])


def test_requests_that_only_a_masked_value_tells_apart_are_refused(exchange, recorded) -> None:
    good, bad = (exchange(n, "/pay", {}, sends={"pan": pan}, status=status, test=f"test_{n}")
                 for n, pan, status in ((1, CARD, 201), (2, "4000056655665556", 402)))  # fmt: skip
    _, refused, _ = recorded(good, bad)
    assert [finding.kind for finding in refused] == ["only a masked value tells these requests apart"]
    asked, refused, _ = recorded(good, bad, rules="keep: {json: [$.pan]}")
    assert (len(asked), refused) == (2, [])


def test_answers_to_the_same_request_are_a_sequence_and_one_that_repeats_is_written_once(exchange, recorded) -> None:
    polls = [exchange(n, "/job", {"state": state}) for n, state in enumerate(["new", "new", "done", "done"])]
    other = exchange(9, "/job", {"state": "new"}, test="test_b")
    asked, _, _ = recorded(*polls, other)
    assert [answer["json"]["state"] for answer in stub_of(asked)["responses"]] == ["new", "new", "done"]


def test_the_files_are_the_same_whatever_the_secrets_were_and_whichever_test_came_first(exchange, recorded) -> None:
    one, two = exchange(1, "/b", {"token": TOKEN}), exchange(2, "/a", {"x": 1})
    again = exchange(2, "/b", {"token": TOKEN[::-1]}), exchange(1, "/a", {"x": 1})
    assert recorded(one, two)[2] == recorded(*again)[2]


def test_braces_of_an_answer_stay_braces(exchange, recorded) -> None:
    _, _, text = recorded(exchange(1, "/x", {"how": "{{ request.path }}"}))
    assert replayed(text, Incoming.of("GET", "/x", host="pay.example.com")) == [(200, {"how": "{{ request.path }}"})]


def test_a_cookie_keeps_its_name_and_its_attributes(exchange, recorded) -> None:
    says = (("Content-Type", "application/json"), ("Set-Cookie", "s1=7; Max-Age=700"))
    asked, _, _ = recorded(
        exchange(1, "/x", {}, says=says), exchange(2, "/y", {}, says=(("Set-Cookie", "s1=; Path=/"), *says[:1]))
    )
    assert [stub_of(asked, n)["response"]["headers"]["Set-Cookie"] for n in (0, 1)] == [
        "s1=1; Max-Age=700",
        "s1=; Path=/",
    ]


def test_what_replay_cannot_give_is_told(exchange, ruled) -> None:
    twice = (("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    given = exchange(1, "/x", {}, says=twice), exchange(2, "/y", {}), exchange(3, "/y", {}, status=404, test="test_b")
    said, ledger = ruled(), Ledger()
    taken, _ = masking.take(given, said, ledger)
    assert stubs.notes(stubs.made(taken, said, ledger)[0], taken, said) == [
        "GET /y: 200 in test_a, 404 in test_b; every test gets 200, unless it stubs its own",
        "GET /x: of 2 headers set-cookie a stub gives the last",
    ]


def test_a_name_that_a_template_can_not_say_with_a_dot_comes_back_too(exchange, recorded) -> None:
    one, other = "0b5a1f2e-93c4-4d5e-8f60-718293a4b5c6", "ffffffff-93c4-4d5e-8f60-718293a4b5c6"
    _, _, text = recorded(exchange(1, "/x", {"id": one}, sends={"my-ref": [one]}))
    kind = (("Content-Type", "application/json"),)
    sent = Incoming.of(
        "POST", "/x", host="pay.example.com", headers=kind, body=json.dumps({"my-ref": [other]}).encode()
    )
    assert replayed(text, sent) == [(200, {"id": other})]


def test_an_answer_that_is_a_form_is_masked(exchange, recorded) -> None:
    says = (("Content-Type", "application/x-www-form-urlencoded"),)
    asked, refused, _ = recorded(exchange(1, "/token", b"access_token=a+b%2Fc&scope=read", says=says))
    assert refused == []
    assert stub_of(asked)["response"]["body"] == "access_token=masked-access-token-1&scope=read"


def test_a_form_and_a_text_are_recorded_too(exchange, recorded, tmp_path: Path) -> None:
    kind = (("Content-Type", "application/x-www-form-urlencoded"),)
    given = exchange(1, "/f", b"thanks, Ada Canary", sends=b"card_number=4556737586899855&qty=2", headers=kind,
                     says=(("Content-Type", "text/plain"),))  # fmt: skip
    asked, refused, _ = recorded(given, rules='mask: {body: ["thanks, (.+)"]}')
    assert refused == []
    assert stub_of(asked)["request"]["form"] == {"card_number": {"regex": r"[\d -]{12,23}"}, "qty": "2"}
    assert stub_of(asked)["response"]["body"] == "thanks, masked-text-1"
