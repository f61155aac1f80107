"""Which requests a stub answers, what is said where it doesn't, and which of several goes first."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itest.mock import jsonpath, matching, stubfile
from itest.mock.incoming import Incoming
from itest.mock.stubs import Stub, Value

ORDER = {"amount": 1200, "currency": "EUR", "items": [{"sku": "MUG", "n": 2}, {"sku": "CAP", "n": 1}], "gift": None}


def stub(**request: Any) -> Stub:
    return stubfile.from_data({"request": request}, "test")[0]


def request(method: str = "POST", target: str = "/v1/orders/7?expand=true&tag=a&tag=b", **rest: Any) -> Incoming:
    given = {
        "host": "shop.example",
        "port": 8080,
        "headers": (("Accept", "text/html"), ("accept", "text/plain"), ("Idempotency-Key", "k-1")),
        "body": json.dumps(ORDER).encode(),
    }
    return Incoming.of(method, target, **(given | rest))


def said(incoming: Incoming, **wanted: Any) -> list[str]:
    return [str(one) for one in matching.differences(stub(**wanted).request, incoming)]


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"method": "post"},
        {"method": ["GET", "POST"]},
        {"host": "Shop.Example"},
        {"host": "shop.example:8080"},
        {"host": {"glob": "*.example"}},
        {"path": "/v1/orders/7"},
        {"path": "/v1/{what}/{id}"},
        {"path": {"glob": "/v1/*/?"}},
        {"path": {"glob": "/**/7"}},
        {"path": {"regex": r"/v1/(?P<what>\w+)/\d+"}},
        {"path": {"contains": "orders"}},
        {"query": {"expand": True}},
        {"query": {"tag": "b", "none": {"absent": True}}},
        {"headers": {"ACCEPT": "text/plain", "idempotency-key": {"regex": "k-.*"}, "X": {"absent": True}}},
        {"headers": {"Accept": {"absent": False}}},
        {"body": {"contains": "1200"}},
        {"json": {"amount": 1200.0}},
        {"json": {"gift": None, "items": [{"sku": "MUG"}, {}]}},
        {"json_exact": ORDER},
        {"jsonpath": {"$.items[*].sku": "CAP", "$.items[1].n": 1, "$.gift": None, "$.none": {"absent": True}}},
        {"jsonpath": {"$..n": {"regex": "[12]"}, "$.items": {"absent": False}}},
    ],
)
def test_a_request_that_fulfils_all_that_is_said_is_answered(wanted):
    assert said(request(), **wanted) == []


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        ({"method": ["GET", "PUT"]}, "method: expected GET or PUT, got POST"),
        ({"host": "other.example"}, "host: expected other.example, got shop.example"),
        ({"host": "shop.example:80"}, "host: expected shop.example:80, got shop.example"),
        ({"path": "/v1/orders"}, "path: expected /v1/orders, got /v1/orders/7"),
        ({"path": "/v1/{id}"}, "path: expected /v1/{id}, got /v1/orders/7"),
        ({"path": {"glob": "/v1/*"}}, "path: expected glob /v1/*, got /v1/orders/7"),
        ({"path": {"regex": "/v1"}}, "path: expected regex /v1, got /v1/orders/7"),
        ({"query": {"expand": "false"}}, "query expand: expected false, got true"),
        ({"query": {"tag": "c"}}, "query tag: expected c, got a and b"),
        ({"query": {"page": {"absent": False}}}, "query page: expected any, got none"),
        ({"query": {"tag": {"absent": True}}}, "query tag: expected none, got a and b"),
        ({"headers": {"X": "y"}}, "header X: expected y, got none"),
        ({"form": {"a": "b"}}, "form field a: expected b, got none"),
        ({"json": {"amount": True}}, "JSON $.amount: expected true, got 1200"),
        ({"json": {"items": [{"sku": "MUG"}]}}, 'JSON $.items: expected [{"sku": "MUG"}], got '),
        ({"json": {"items": [{"n": 2}, {"n": 2}]}}, "JSON $.items[1].n: expected 2, got 1"),
        ({"json": {"vat": 1}}, "JSON $.vat: expected 1, got none"),
        ({"json_exact": {"amount": 1200}}, "JSON $.currency: expected none, got EUR"),
        (
            {"json_exact": ORDER | {"items": [{"sku": "MUG", "n": 2}, {"sku": "CAP"}]}},
            "JSON $.items[1].n: expected none, got 1",
        ),
        ({"headers": {"Idempotency-Key": {"regex": "k"}}}, "header Idempotency-Key: expected regex k, got k-1"),
        ({"headers": {"Idempotency-Key": {"glob": "?"}}}, "header Idempotency-Key: expected glob ?, got k-1"),
        ({"jsonpath": {"$.items[2].sku": "MUG"}}, "JSON $.items[2].sku: expected MUG, got none"),
        ({"jsonpath": {"$.amount": "1200"}}, "JSON $.amount: expected 1200, got 1200"),
    ],
)
def test_what_keeps_a_stub_from_answering_is_said(wanted, difference):
    (line,) = said(request(), **wanted)
    assert line.startswith(difference)


def test_a_body_that_is_no_json_is_said_to_be_none():
    assert said(request(body=b"{"), json={"a": 1}) == ['body: expected JSON {"a": 1}, got no JSON']
    assert said(request(body=b"\xff"), jsonpath={"$.a": 1}) == ["JSON $.a: expected 1, got none"]
    assert said(request(body=b"null"), json=None) == []


def test_what_is_large_is_shown_in_short():
    (line,) = said(request(body=json.dumps({"a": ["x" * 300] * 9}).encode()), jsonpath={"$.a[*]": 1})
    assert line == "JSON $.a[*]: expected 1, got " + " and ".join([*["x" * 98 + " …"] * 3, "6 more"])
    assert len(said(request(body=json.dumps([[1, "\n"]] * 999).encode()), json={})[0]) < 200


def test_a_form_s_fields_are_read_by_its_content_type():
    form = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)
    assert said(request(headers=form, body=b"a=b%26c&a=d"), form={"a": "b&c"}) == []
    assert said(request(headers=(), body=b"a=b"), form={"a": "b"}) == ["form field a: expected b, got none"]


def test_an_escaped_slash_is_part_of_what_is_captured():
    incoming = request(target="/v1/a%2Fb/c%20d.json")
    assert matching.captures(Value("template", "/v1/{one}/{two}.json"), incoming) == {"one": "a/b", "two": "c d"}
    assert matching.captures(Value("regex", "/v1/(?P<all>.*)"), incoming) == {"all": "a/b/c d.json"}


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
@example(["a\nb", "%2F/"])
def test_every_segment_is_captured_as_it_was_before_it_was_escaped(parts):
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    template = "/" + "/".join(f"{{p{index}}}" for index in range(len(parts)))
    found = matching.captures(Value("template", template), Incoming("GET", path))
    assert found == {f"p{index}": part for index, part in enumerate(parts)}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(ANY_JSON, st.data())
def test_json_fits_itself_and_whatever_holds_more(value, data):
    def more(inner: Any) -> Any:
        if isinstance(inner, dict):
            extra = data.draw(st.dictionaries(st.text(min_size=4), st.integers(), max_size=1))
            return extra | {key: more(one) for key, one in inner.items()}
        return [more(one) for one in inner] if isinstance(inner, list) else inner

    assert said(request(body=json.dumps(value).encode()), json_exact=value) == []
    assert said(request(body=json.dumps(more(value)).encode()), json=value) == []


@settings(deadline=None)
@given(ANY_JSON, ANY_JSON)
@example(1, True)
@example({"a": [0]}, {"a": [False]})
@example(1, 1.0)
def test_json_is_the_same_only_where_its_text_is(left, right):
    def canonical(value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        if isinstance(value, dict):
            return f"{{{sorted((key, canonical(one)) for key, one in value.items())}}}"
        return str([canonical(one) for one in value]) if isinstance(value, list) else json.dumps(value)

    assert matching.same(left, right) == (canonical(left) == canonical(right))


@settings(deadline=None)
@given(st.text(max_size=12), st.text(alphabet="*?a/.", max_size=8))
def test_a_glob_of_two_stars_around_it_fits_whatever_holds_it(text, pattern):
    assert matching.fits(Value("glob", f"**{text.replace('*', '?')}**"), f"x{text}y")
    assert matching.fits(Value("glob", pattern), pattern)  # each sign stands for itself, too


PRECEDENCE = [  # each goes before those below
    {"path": "/a/b", "method": "GET", "json": {"x": 1, "y": 2}},
    {"path": "/a/b", "method": "GET", "query": {"x": 1}},
    {"path": "/a/b", "method": "GET", "query": {"x": {"regex": ".*"}}},
    {"path": "/a/b", "method": "GET"},
    {"path": "/a/b"},
    {"path": "/a/{b}"},
    {"path": "/{a}/{b}", "method": "GET"},
    {"path": {"glob": "/a/*"}},
    {"path": {"regex": "/.*"}},
    {"host": "h", "method": "GET"},
    {"method": "GET"},
    {},
]


def test_the_more_a_stub_asks_for_the_sooner_it_goes():
    ranks = [matching.precedence(stub(**one), 1) for one in PRECEDENCE]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


def test_a_scenario_s_state_counts_recency_decides_what_is_equal_and_priority_beats_all():
    def rank(number: int, **more: Any) -> Any:
        return matching.precedence(stubfile.from_data({"request": {"path": "/a"}} | more, "test")[0], number)

    assert rank(1, scenario={"name": "s", "when": "paid"}) > rank(2, scenario={"name": "s"})
    assert rank(2) > rank(1)
    assert rank(1, priority=1) > matching.precedence(stub(**PRECEDENCE[0]), 9)
    assert rank(1, priority=-1) < matching.precedence(stub(), 1)


DOCUMENT = {"store": {"book": [{"t": "A", "p": 8}, {"t": "B", "p": 12, "x y": {"t": "C"}}], "n": 0}, "t": "'q'"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [DOCUMENT]),
        ("$.store.book[0].t", ["A"]),
        ("$['store'][\"n\"]", [0]),
        ("$.store.book[-1].p", [12]),
        ("$.store.book[*].t", ["A", "B"]),
        ("$.store.book.*.p", [8, 12]),
        ("$.store.book[1]['x y'].t", ["C"]),
        ("$..t", ["'q'", "A", "B", "C"]),
        ("$..['x y']", [{"t": "C"}]),
        ("$.store.book[?(@.p > 10)].t", ["B"]),
        ("$.store.book[?(@.t == 'A')].p", [8]),
        ('$.store.book[?@.t != "A"].p', [12]),
        ("$.store.book[?(@['x y'])].t", ["B"]),
        ("$.store.book[?(@.t < 3)]", []),
        ("$.store.book[7]", []),
        ("$.none.t", []),
        ("$.store.book.t", []),
    ],
)
def test_a_json_path_leads_to_what_it_names(path, found):
    assert jsonpath.find(path, DOCUMENT) == found


@pytest.mark.parametrize(
    "path", ["", "a", "$.", "$a", "$[", "$[x]", "$[1:2]", "$.a[?(@.b == c)]", "$.a b", "$.a[?(@.)]"]
)
def test_what_is_no_json_path_is_refused(path):
    with pytest.raises(jsonpath.JsonPathError, match="`"):
        jsonpath.steps(path)


@settings(deadline=None)
@given(st.text(alphabet="$.[]*'\"?(@)=<>ab1- ", max_size=14))
def test_every_text_is_a_json_path_or_refused(text):
    try:
        found = jsonpath.find(f"${text}", DOCUMENT)
    except jsonpath.JsonPathError:
        return
    assert isinstance(found, list)
