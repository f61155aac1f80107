"""WireMock's mappings become stubs that answer the same; what has no counterpart is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itest.errors import ItestError
from itest.mock import stubfile, wiremock
from itest.mock.incoming import Incoming
from itest.mock.scopes import Scopes
from itest.mock.stubs import Delay, Effect, Stub, Value


def one(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None, **rest: Any) -> Stub:
    found, unread = wiremock.from_data({"request": request or {}, "response": response or {}} | rest, "map.json")
    assert unread == ()
    return found[0]


def status(stubs: tuple[Stub, ...], target: str = "/a", method: str = "GET", **rest: Any) -> int:
    scopes = Scopes()
    scopes.set_global(stubs, 0.0)
    return scopes.answer(Incoming.of(method, target, host="h", **rest), 1.0).answer.status


ORDER = b'{"a": {"b": 1, "c": 2}, "d": ["x"]}'
BASIC = {"headers": (("Authorization", "Basic dTpw"),)}
FORM = {"headers": (("Content-Type", "application/x-www-form-urlencoded"),), "body": b"f=1"}


@pytest.mark.parametrize(
    ("request_", "answered", "not_answered"),
    [
        ({"method": "GET"}, {}, {"method": "POST"}),
        ({"method": "ANY"}, {"method": "DELETE"}, None),
        ({"url": "/a?x=1"}, {"target": "/a?x=1"}, {"target": "/a?x=2"}),
        ({"urlPath": "/a{b}"}, {"target": "/a%7Bb%7D?x=1"}, {"target": "/ab"}),
        ({"urlPattern": "/[a-c]+"}, {"target": "/abc"}, {"target": "/abd"}),
        ({"urlPathPattern": "/[a-c]"}, {"target": "/c?x"}, {"target": "/cc"}),
        ({"urlPathTemplate": "/{x}/b"}, {"target": "/a/b"}, {"target": "/a/c"}),
        ({"host": {"equalTo": "h"}}, {}, None),
        ({"queryParameters": {"x": {"equalTo": 1}}}, {"target": "/a?x=1"}, {"target": "/a"}),
        ({"queryParameters": {"x": {"absent": True}}}, {}, {"target": "/a?x=1"}),
        ({"headers": {"X": {"contains": "b"}}}, {"headers": (("x", "abc"),)}, {"headers": (("x", "ac"),)}),
        ({"headers": {"X": {"doesNotMatch": "a.*"}}}, {"headers": (("x", "ba"),)}, {"headers": (("x", "ab"),)}),
        ({"headers": {"X": {"equalTo": "A", "caseInsensitive": True}}}, {"headers": (("x", "a"),)}, {}),
        ({"basicAuthCredentials": {"username": "u", "password": "p"}}, BASIC, {}),
        ({"formParameters": {"f": {"equalTo": "1"}}}, FORM, {}),
        ({"bodyPatterns": [{"equalToJson": ORDER.decode()}]}, {"body": ORDER}, {"body": b'{"a": 1}'}),
        ({"bodyPatterns": [{"equalToJson": {"d": ["x"]}}]}, {"body": b'{"d": ["x"]}'}, {"body": ORDER}),
        (
            {"bodyPatterns": [{"equalToJson": {"a": {"b": 1}}, "ignoreExtraElements": True}]},
            {"body": ORDER},
            {"body": b'{"a": {"c": 2}}'},
        ),
        ({"bodyPatterns": [{"matchesJsonPath": "$.d[?(@ == 'x')]"}]}, {"body": ORDER}, {"body": b"{}"}),
        (
            {
                "bodyPatterns": [
                    {"matchesJsonPath": {"expression": "$.a.b", "equalTo": "1"}},
                    {"matchesJsonPath": "$.d"},
                ]
            },
            {"body": ORDER},
            {"body": b'{"a": {"b": 2}, "d": []}'},
        ),
        ({"bodyPatterns": [{"contains": "x"}]}, {"body": ORDER}, {"body": b""}),
    ],
)
def test_a_request_pattern_answers_what_it_says_and_nothing_else(request_, answered, not_answered):
    stubs = (one(request_),)
    assert status(stubs, **answered) == 200
    assert not_answered is None or status(stubs, **not_answered) == 501


def test_a_response_is_sent_as_it_is_and_its_delays_and_faults_are_read():
    response = {"status": 201, "headers": {"X": ["a", "b"]}, "body": "{{ braces }}", "fixedDelayMilliseconds": 200}
    read = one(response=response).responses[0]
    assert (read.status, read.headers, read.body, read.template) == (201, {"X": "a, b"}, "{{ braces }}", False)
    assert read.delay == Delay("fixed", 0.2)
    spread = {"type": "uniform", "lower": 100, "upper": 300}
    assert one(response={"delayDistribution": spread}).responses[0].delay == Delay("uniform", 0.1, pytest.approx(0.3))
    spread = {"type": "lognormal", "median": 80, "sigma": 0.4}
    assert one(response={"delayDistribution": spread}).responses[0].delay == Delay("lognormal", 0.08, 0.4)
    assert one(response={"jsonBody": [1]}).responses[0].body.value == [1]
    assert one(response={"base64Body": "/w=="}).responses[0].body == b"\xff"
    assert one(response={"fault": "CONNECTION_RESET_BY_PEER"}).faults[0].effect == Effect("reset")
    dribble = {"numberOfChunks": 5, "totalDuration": 1000}
    assert one(response={"chunkedDribbleDelay": dribble}).faults[0].effect == Effect("slow_body", 1.0)


def test_scenarios_priorities_and_names_are_read():
    states = {"scenarioName": "s", "requiredScenarioState": "Started", "newScenarioState": "Paid"}
    read = one(name="mine", priority=1, **states)
    assert (read.scenario.name, read.scenario.when, read.scenario.then) == ("s", "started", "Paid")
    assert (read.name, read.where, read.priority) == ("mine", "map.json mapping 1", 4)
    low, high = one({"url": "/a"}, {"status": 200}, priority=9), one(None, {"status": 202}, priority=2)
    assert status((low, high)) == 202


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({"request": {"cookies": {}}}, "`cookies` of a request"),
        ({"request": {"customMatcher": {}}}, "`customMatcher` of a request"),
        ({"request": {"url": "/a", "urlPath": "/a"}}, "`url` and `urlPath` at once"),
        ({"request": {"urlPathTemplate": "/{a-b}"}}, "`urlPathTemplate: /{a-b}`, which is no path"),
        ({"request": {"urlPathTemplate": "/{a}/{a}"}}, "`urlPathTemplate: /{a}/{a}`, which is no path"),
        ({"request": {"url": "a"}}, "`url: a`, which is no path"),
        ({"request": {"urlPattern": "/a\\?b=.*"}}, "a `urlPattern` that holds a query"),
        ({"request": {"urlPathPattern": "/\\p{Alpha}"}}, "the regular expression `/\\p{Alpha}`"),
        ({"request": {"headers": {"X": {"before": "now"}}}}, "the pattern `before`"),
        ({"request": {"headers": {"X": {"or": []}}}}, "the pattern `or`"),
        ({"request": {"headers": {"X": "y"}}}, "a pattern must be an object"),
        ({"request": {"bodyPatterns": [{"equalToXml": "<a/>"}]}}, "the pattern `equalToXml`"),
        ({"request": {"bodyPatterns": [{"equalToJson": "{"}]}}, "`equalToJson` holds no JSON"),
        ({"request": {"bodyPatterns": [{"equalToJson": [], "ignoreArrayOrder": True}]}}, "`ignoreArrayOrder`"),
        ({"request": {"bodyPatterns": [{"equalToJson": "${json-unit.any-string}"}]}}, "holds no JSON"),
        ({"request": {"bodyPatterns": [{"equalToJson": {"a": "${json-unit.ignore}"}}]}}, "`${json-unit. …}`"),
        ({"request": {"bodyPatterns": [{"matchesJsonPath": "$.a[1:2]"}]}}, "JSONPath"),
        ({"request": {"bodyPatterns": [{"contains": "a"}, {"contains": "b"}]}}, "several body patterns of one kind"),
        ({"response": {"proxyBaseUrl": "x"}}, "`proxyBaseUrl` of a response"),
        ({"response": {"body": "{{ request.url }}", "transformers": ["response-template"]}}, "a Handlebars template"),
        ({"response": {"fault": "NEW"}}, "the fault `NEW`"),
        ({"response": {"bodyFileName": "../secret"}}, "`bodyFileName: ../secret`, which is not in `__files`"),
        ({"response": {"delayDistribution": {"type": "pareto"}}}, "a delay of type `pareto`"),
        ({"postServeActions": []}, "`postServeActions` of a mapping"),
        (7, "a mapping must be an object"),
    ],
)
def test_what_has_no_counterpart_is_said_and_its_mapping_left_out_whole(mapping, why):
    right = {"request": {"url": "/a"}, "response": {}}
    found, unread = wiremock.from_data({"mappings": [right, mapping, right]}, "map.json")
    assert len(found) == 2
    assert len(unread) == 1
    assert unread[0].startswith("map.json mapping 2: ")
    assert why in unread[0]


def test_a_file_with_anything_unread_is_refused_with_all_of_it(tmp_path):
    mappings = [{"request": {"cookies": {}}}, {"request": {}}, {"response": {"fault": "NEW"}}]
    (tmp_path / "map.json").write_text(json.dumps({"mappings": mappings}), encoding="utf-8")
    with pytest.raises(ItestError) as caught:
        wiremock.read(tmp_path, Path("map.json"))
    assert caught.value.message == "map.json mapping 1: `cookies` of a request"
    assert "map.json mapping 3: the fault `NEW`" in caught.value.evidence
    (tmp_path / "map.json").write_text("{", encoding="utf-8")
    with pytest.raises(ItestError, match=r"map\.json: not valid JSON: Expecting"):
        wiremock.read(tmp_path, Path("map.json"))


def test_a_body_file_is_found_next_to_the_mappings_folder(tmp_path):
    for folder in ("mappings", "__files"):
        (tmp_path / folder).mkdir()
    (tmp_path / "__files/a.bin").write_bytes(b"\xff")
    mapping = {"request": {"url": "/a"}, "response": {"bodyFileName": "a.bin"}}
    (tmp_path / "mappings/a.json").write_text(json.dumps(mapping), encoding="utf-8")
    (read,) = stubfile.read_folder(tmp_path, Path("mappings"))
    assert read.responses[0].body == b"\xff"


NAMES = """
    request response url urlPathTemplate method headers X equalTo matches bodyPatterns equalToJson status body jsonBody
    matchesJsonPath expression delayDistribution type uniform lower upper chunkedDribbleDelay host priority fault
"""
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["uniform", "$.a", "(", "/a"]) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(junk | st.builds(lambda left, right: {"request": left, "response": right}, junk, junk))
def test_whatever_a_file_holds_it_is_read_or_said_to_be_unread(data):
    found, unread = wiremock.from_data(data, "map.json")
    assert all(text.startswith("map.json") for text in unread)
    for stub in found:
        assert stubfile.from_data(stub.as_data(), "again")[0].as_data() == stub.as_data()
        assert stub.request.path is None or isinstance(stub.request.path, Value)
