"""A stub file is checked in full before anything starts: each test makes one mistake, and reads where it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itest.errors import ItestError
from itest.mock import stubfile
from itest.mock.stubs import (
    Delay,
    Effect,
    Fault,
    Json,
    Limit,
    Request,
    Response,
    Scenario,
    Stub,
    Value,
)

ROOT = Path(__file__).parents[4]
FULL = """\
- name: a payment that is accepted
  request:
    method: [POST, put]
    host: payments.example
    path: "/v1/payments/{id}"
    query: {expand: true, page: 2}
    headers: {Idempotency-Key: {regex: .+}, X-Debug: {absent: true}}
    json: {amount: 1200}
    jsonpath: {"$.items[0].sku": MUG}
  responses:
    - {status: 201, headers: {X: y}, json: {id: "{{ uuid }}"}, delay: 200ms}
    - {body: later, delay: {lognormal: {median: 200ms, sigma: 0.4}}}
  scenario: {name: payment, when: started, then: paid}
  fault: [{first: 2, status: 503, headers: {Retry-After: 1}}, {probability: 0.3, seed: 7, reset: true}]
  limit: {requests: 5, per: 1s}
  priority: 3
  scope_key: $.metadata.scope
- request: {path: {glob: "/static/**"}, form: {a: {contains: b}}, body: {regex: "x.*"}}
  fault: {between: [1s, 1.5m], slow_body: 2s}
"""
ONE = "- name: one\n  request: {method: GET, path: /one}\n  response: {status: 200, body: one}\n"


def read(tmp_path: Path, text: str) -> tuple[Stub, ...]:
    (tmp_path / "stubs").mkdir(exist_ok=True)
    (tmp_path / "stubs/pay.yaml").write_text(text, encoding="utf-8")
    return stubfile.read(tmp_path, Path("stubs/pay.yaml"))


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ItestError) as caught:
        read(tmp_path, text)
    assert (caught.value.category, caught.value.cause) == ("usage", "config")
    return str(caught.value).removeprefix("itest: error: ")


def test_a_stub_is_read_with_all_that_its_file_says(tmp_path):
    full, small = read(tmp_path, FULL)
    assert full == Stub(
        "a payment that is accepted",
        Request(
            ("POST", "PUT"),
            Value("equals", "payments.example"),
            Value("template", "/v1/payments/{id}"),
            {"expand": Value("equals", "true"), "page": Value("equals", "2")},
            {"Idempotency-Key": Value("regex", ".+"), "X-Debug": Value("absent")},
            Json({"amount": 1200}),
            {"$.items[0].sku": Value("equals", "MUG")},
        ),
        (
            Response(201, {"X": "y"}, Json({"id": "{{ uuid }}"}), Delay("fixed", 0.2)),
            Response(200, {}, "later", Delay("lognormal", 0.2, 0.4)),
        ),
        Scenario("payment", "started", "paid"),
        (
            Fault(Effect("status", status=503, headers={"Retry-After": "1"}), first=2),
            Fault(Effect("reset"), probability=0.3, seed=7),
        ),
        Limit(5, 1.0),
        3,
        "$.metadata.scope",
        "stubs/pay.yaml:1",
    )
    assert small.name == small.where == "stubs/pay.yaml:18"
    assert small.request.path == Value("glob", "/static/**")
    assert small.faults == (Fault(Effect("slow_body", 2.0), between=(1.0, 90.0)),)
    assert small.responses == (Response(),)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("request:", "requets:", "pay.yaml:2: unknown key `requets` in a stub\nhint: did you mean `request`?"),
        ("path: /one", "pth: /one", "pay.yaml:2: unknown key `pth` in a request\nhint: did you mean `path`?"),
        ("path: /one", "path: one", "pay.yaml:2: `path: one` must begin with `/`"),
        ("path: /one", "path: /one?a=b", "pay.yaml:2: `path: /one?a=b` holds a query"),
        ("path: /one", 'path: "/{id}/{id}"', "pay.yaml:2: `path: /{id}/{id}` has the name `id` twice"),
        ("path: /one", 'path: "/{1}"', "pay.yaml:2: `path: /{1}` has a brace that holds no name"),
        ("path: /one", "path: {regex: '('}", "pay.yaml:2: `(` is no regular expression: missing )"),
        ("path: /one", "path: {glib: a}", "pay.yaml:2: `glib: glib` is not known\nhint: did you mean `glob`?"),
        ("path: /one", "path: {glob: a, regex: b}", "`path` must have exactly one key, not 2: equals or regex or glob"),
        ("path: /one", "headers: {X: [1]}", "pay.yaml:2: `X` must be a text or a pattern, not a list"),
        ("path: /one", "headers: {X: {absent: 1}}", "pay.yaml:2: `absent` must be true or false, not `1`"),
        ("path: /one", "query: x", 'pay.yaml:2: `query` must be a mapping of names, not "x"'),
        ("path: /one", "jsonpath: {items: 1}", "pay.yaml:2: no JSONPath: `items` must begin with `$`"),
        ("path: /one", "json: {a: {yes: 1}}", "pay.yaml:2: the key `True` is no text for JSON"),
        ("path: /one", "json: 1, json_exact: 1", "pay.yaml:2: `json` and `json_exact` can't both be"),
        ("status: 200", "status: 99", "pay.yaml:3: `status` must be a whole number from 200 to 599, not `99`"),
        ("body: one", "body: 1", "pay.yaml:3: `body` must be a text, not `1`"),
        ("body: one", "body: a, json: 1", "pay.yaml:3: `json` and `body` can't both be"),
        ("body: one", "base64: '?'", "pay.yaml:3: `base64` can't be decoded"),
        ("body: one", "file: ../../etc/passwd", "`file: ../../etc/passwd` leads out of the stubs' folder"),
        ("body: one", "file: none.txt", "`file: none.txt` is not there\nhint: its place is stubs/none.txt"),
        ("body: one", "body: '{{ uuid'", "pay.yaml:3: no template: `{{ uuid`: unexpected end of template"),
        (
            "body: one",
            "body: '{{ reqest.json.id }}'",
            "pay.yaml:3: no template: `{{ reqest.json.id }}`: there is no `reqest`",
        ),
        ("body: one", "headers: {X: '{% x %}'}", "pay.yaml:3: no template: `{% x %}`"),
        ("body: one", 'headers: {X: "a\\r\\nb"}', "pay.yaml:3: the header `X` can't be sent: it holds a line break"),
        ("body: one", "headers: {'X Y': a}", "pay.yaml:3: `X Y` is no name of a header"),
        ("body: one", "json: [.nan]", "pay.yaml:3: `json` can't be written as JSON: nan"),
        ("body: one", "delay: 200", "pay.yaml:3: `delay` must be a duration with its unit, not `200`"),
        ("body: one", "delay: {uniform: [3s, 1s]}", "pay.yaml:3: `uniform` ends before it begins"),
        ("body: one", "delay: {normal: [3s, 1s]}", "pay.yaml:3: `normal: normal` is not known"),
        ("body: one", "delay: {lognormal: {median: 1s}}", "`sigma` must be a positive number, not nothing"),
        ("response:", "responses:", "pay.yaml:3: `responses` must be a list of responses, not a mapping"),
        ("response:", "fault: {first: 1}\n  response:", "pay.yaml:3: a fault has one effect, not none"),
        ("response:", "fault: {first: 0, reset: true}\n  response:", "pay.yaml:3: `first` must be a whole number"),
        ("response:", "fault: {reset: yes, status: 500}\n  response:", "one effect, not status and reset"),
        ("response:", "fault: {reset: 1s}\n  response:", 'pay.yaml:3: `reset` must be true, not "1s"'),
        ("response:", "fault: {seed: 1, reset: true}\n  response:", "`seed` without `probability` decides nothing"),
        ("response:", "fault: {probability: 2, reset: true}\n  response:", "must be a number from 0 to 1, not `2`"),
        ("response:", "fault: {reset: true, headers: {}}\n  response:", "`headers` go with `status`, not with `reset`"),
        ("response:", "limit: {requests: 5}\n  response:", "`per` must be a duration with its unit, not nothing"),
        ("response:", "scenario: {when: a}\n  response:", "pay.yaml:3: `name` must be a string, not nothing"),
        ("response:", "priority: high\n  response:", "pay.yaml:3: `priority` must be a whole number"),
        ("response:", "scope_key: $[\n  response:", "pay.yaml:3: no JSONPath: `$[` can't be read from `[` on"),
        (ONE, "request: {}", "stubs/pay.yaml: a list of stubs is expected, not a mapping"),
        (ONE, "- name: x", "stubs/pay.yaml:1: a stub without `request:` answers nothing"),
        (ONE, "- one", 'stubs/pay.yaml:1: a stub must be a mapping, not "one"'),
        (ONE, "- request: {\n", "pay.yaml:2: not valid YAML"),
    ],
)
def test_a_mistake_names_its_line_and_what_was_meant(tmp_path, old, new, complaint):
    assert ONE.count(old) == 1
    assert complaint in refusal(tmp_path, ONE.replace(old, new))


def test_a_file_is_a_body_with_the_content_type_of_its_name_and_no_template_unless_it_says_so(tmp_path):
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs/logo.svg").write_text("{{ uuid }}", encoding="utf-8")
    plain, filled = read(
        tmp_path, "".join(ONE.replace("body: one", f"file: logo.svg{more}") for more in ("", ", template: true"))
    )
    assert plain.responses == (Response(200, {"Content-Type": "image/svg+xml"}, b"{{ uuid }}", template=False),)
    assert filled.responses == (Response(200, {"Content-Type": "image/svg+xml"}, "{{ uuid }}"),)


def test_the_example_of_the_documentation_is_read(tmp_path):
    text = (ROOT / "fixtures/README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    payment, mail = read(tmp_path, example)
    assert (payment.name, payment.request.path.how) == ("a payment that is accepted", "template")
    assert (len(mail.responses), mail.faults[0].effect.headers) == (2, {"Retry-After": "1"})


def test_a_link_out_of_the_folder_is_no_body(tmp_path):
    (tmp_path / "stubs").mkdir()
    (tmp_path / "secret").write_text("s", encoding="utf-8")
    (tmp_path / "stubs/link").symlink_to(tmp_path / "secret")
    assert "leads out of the stubs' folder" in refusal(tmp_path, ONE.replace("body: one", "file: link"))


def test_braces_are_just_braces_where_there_is_no_template(tmp_path):
    (one,) = read(tmp_path, ONE.replace("body: one", "body: '{{ {% ', template: false"))
    assert one.responses[0].body == "{{ {% "


@pytest.mark.parametrize(
    ("said", "effect"),
    [
        ("status: 503", Effect("status", status=503)),
        ("delay: 2s", Effect("delay", 2.0)),
        ("slow_headers: 2s", Effect("slow_headers", 2.0)),
        ("slow_body: 2s", Effect("slow_body", 2.0)),
        ("truncated: true", Effect("truncated", 0.5)),
        ("truncated: 0.1", Effect("truncated", 0.1)),
        ("malformed: true", Effect("malformed")),
        ("reset: true", Effect("reset")),
        ("never_answers: true", Effect("never_answers")),
    ],
)
def test_a_fault_has_one_of_these_effects_on_every_request_unless_it_says_which(tmp_path, said, effect):
    (one,) = read(tmp_path, f"- request: {{}}\n  fault: {{{said}}}\n")
    assert one.faults == (Fault(effect),)


def test_a_folder_s_files_are_read_by_name_and_one_that_is_not_there_has_none(tmp_path):
    for name in ("b.yaml", "a.yml", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).write_text(ONE.replace("name: one", f"name: {name}"), encoding="utf-8")
    (tmp_path / "c.yaml").write_text("# nothing yet\n", encoding="utf-8")
    (tmp_path / "d.json").write_text('{"request": {"url": "/d"}, "response": {}}', encoding="utf-8")
    assert [one.name for one in stubfile.read_folder(tmp_path, Path())] == ["a.yml", "b.yaml", "d.json mapping 1"]
    assert stubfile.read_folder(tmp_path, Path("none")) == ()


def test_json_is_read_like_yaml_and_its_complaints_name_the_stub():
    data = [{"request": {"path": "/"}}, {"request": {"path": "/", "methd": "GET"}}]
    with pytest.raises(ItestError, match=re.escape("POST /stubs stub 2: unknown key `methd` in a request")):
        stubfile.from_data(data, "POST /stubs")
    assert stubfile.from_data(data[0], "POST /stubs")[0].name == "POST /stubs"
    with pytest.raises(ItestError, match="`file` is for stub files alone"):
        stubfile.from_data({"request": {}, "response": {"file": "a"}}, "POST /stubs")


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
lines = st.text(st.characters(codec="utf-8", exclude_characters="{}\r\n\0"), max_size=8)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
lengths = st.floats(0, 1e6)
patterns = st.builds(Value, st.sampled_from(["glob", "contains"]), words) | st.sampled_from(
    [Value("absent"), Value("present"), Value("regex", "a+(?P<x>.)")]
)
text_values = st.builds(Value, st.just("equals"), words) | patterns
json_values = st.builds(Value, st.just("equals"), plain_json) | patterns
named = st.dictionaries(words, text_values, max_size=2)
paths = st.sampled_from(
    [
        Value("equals", "/a"),
        Value("equals", "/{a}"),
        Value("equals", "/?"),
        Value("template", "/a/{b}.{c}"),
        Value("glob", "/**"),
    ]
)
requests = st.builds(
    Request,
    methods=st.sampled_from([(), ("GET",), ("GET", "POST")]),
    host=st.none() | text_values,
    path=st.none() | paths,
    query=named,
    headers=named,
    json=st.none() | st.builds(Json, plain_json, st.booleans()),
    jsonpath=st.dictionaries(st.sampled_from(["$.a", "$..b[0]"]), json_values, max_size=2),
    form=named,
    body=st.none() | text_values,
)
spans = st.tuples(lengths, lengths).map(sorted).map(tuple)
delays = (
    st.builds(Delay, st.just("fixed"), lengths)
    | spans.map(lambda span: Delay("uniform", *span))
    | st.builds(Delay, st.just("lognormal"), lengths, st.floats(0.01, 3))
)
responses = st.builds(
    Response,
    status=st.integers(200, 599),
    headers=st.dictionaries(st.sampled_from(["X", "Set-Cookie"]), lines, max_size=2),
    body=st.builds(Json, plain_json) | words | st.binary(max_size=9),
    delay=st.none() | delays,
    template=st.booleans(),
)
effects = (
    st.builds(Effect, st.sampled_from(["slow_headers", "slow_body", "delay"]), lengths)
    | st.builds(Effect, st.sampled_from(["malformed", "reset", "never_answers"]))
    | st.builds(Effect, st.just("truncated"), st.floats(0, 1))
    | st.builds(
        Effect,
        st.just("status"),
        status=st.integers(200, 599),
        headers=st.dictionaries(st.just("X"), lines, max_size=1),
    )
)
faults = st.builds(
    Fault, effects, st.none() | st.integers(1, 99), st.none() | spans, st.none() | st.floats(0, 1), st.just(0)
)
stubs = st.builds(
    Stub,
    name=words,
    request=requests,
    responses=st.lists(responses, min_size=1, max_size=2).map(tuple),
    scenario=st.none() | st.builds(Scenario, words, st.none() | words, st.none() | words),
    faults=st.lists(faults, max_size=2).map(tuple),
    limit=st.none() | st.builds(Limit, st.integers(1, 99), lengths, st.integers(400, 599)),
    priority=st.none() | st.integers(-9, 9),
    scope_key=st.sampled_from(["", "$.a", "field"]),
    where=words,
)


@settings(deadline=None)
@given(st.lists(stubs, max_size=2))
def test_every_stub_comes_back_from_its_own_language_through_json(several):
    data: Any = json.loads(json.dumps([stub.as_data() for stub in several]))
    assert stubfile.from_data(data, "again") == tuple(several)


WORDS = (
    "request path json headers regex glob absent response responses delay fault reset first status limit scenario name"
)
KEYS = [*WORDS.split(), "uniform", "body", "jsonpath", "a"]
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(junk | st.builds(lambda one, two: {"request": one, "response": two}, junk, junk))
def test_whatever_is_sent_it_is_read_or_refused_in_words(data):
    try:
        read_back = stubfile.from_data(data, "POST /stubs")
    except ItestError as error:
        assert error.message.startswith("POST /stubs")  # noqa: PT017  # it may also be right
    else:
        assert all(isinstance(stub, Stub) for stub in read_back)
