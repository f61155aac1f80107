"""What came to the mock, as a test asks for it: counts, order, gaps, concurrency, and the words where it differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itest import suite
from itest.errors import ItestError
from itest.mock.detail import Detail
from itest.mock.incoming import Incoming
from itest.mock.scopes import DEFAULT, Scopes
from itest.mock.stubfile import from_data
from itest.mocking import Mock, Received, told
from itest.mocking.admin import Journal
from itest.mocking.call import Call, call_of
from itest.mocking.wanted import step, wanted
from itest.suite import workers
from itest.suite.kinds import SCOPE

JSON = (("content-type", "application/json"),)


class Here:
    """A mock without a wire: requests go straight to what decides on them."""

    def __init__(self, *stubs: dict[str, Any], **rest: Any) -> None:
        self.scopes = Scopes(**rest)
        self.scopes.set_global(from_data(list(stubs), "test"), 0.0)
        self.scopes.begin(SCOPE, 0.0, "test_it")

    def ask(self, title: str, at: float = 0.0, takes: float | None = 0.1, body: bytes = b"") -> None:
        method, _, target = title.partition(" ")
        number = self.scopes.answer(Incoming.of(method, target, host="mock", headers=JSON, body=body), at).entry.number
        if takes is not None:
            self.scopes.completed(number, at + takes)

    def calls(self) -> list[Call]:
        return [call_of(entry.as_data()) for entry in self.scopes.journal(SCOPE)]

    def received(self, *words: Any, **matchers: Any) -> Received:
        return Received(self.calls(), wanted(*words, **matchers))

    # What the fixture's object asks of the admin port.

    def journal(self, scope: str) -> Journal:
        return Journal([entry.as_data() for entry in self.scopes.journal(scope)], self.scopes.verify(scope, 0.0).lost)

    def add(self, scope: str, stubs: list[dict[str, Any]]) -> list[int]:
        return self.scopes.add(scope, from_data(stubs, "POST"), 0.0)

    def remove(self, scope: str, number: int) -> None:
        self.scopes.remove(scope, number)

    def mock(self) -> Mock:
        return Mock(self, SCOPE, "http://127.0.0.1:8080", Path(__file__).parent, Path)  # type: ignore[arg-type]


ANY: dict[str, Any] = {"request": {}, "name": "any"}


def test_it_is_a_list_of_what_fits_in_the_order_of_arrival():
    here = Here(ANY)
    for title in ("POST /v1/payments/7?x=1", "GET /v1/payments/7", "POST /v1/payments/8"):
        here.ask(title, body=b'{"amount": 1200, "more": true}')
    found = here.received("POST", "/v1/payments/{id}", json={"amount": 1200})
    assert [call.path for call in found] == ["/v1/payments/7", "/v1/payments/8"]
    assert found.bodies == [{"amount": 1200, "more": True}] * 2
    assert (len(found), found.count, found[1], list(found)[-1] in found) == (2, 2, found[-1], True)
    assert here.received("POST", {"glob": "/v1/*/7"}, query={"x": "1"}).once().query == {"x": "1"}
    assert here.received("DELETE").never().count == 0
    assert not here.received("DELETE")


def test_gaps_are_between_arrivals_and_pauses_from_an_end_to_the_next_arrival():
    here = Here(ANY)
    for at, takes in ((1.0, 0.5), (2.0, 0.25), (4.0, None)):
        here.ask("GET /", at, takes)
    assert here.received().gaps == [1.0, 2.0]
    assert here.received().pauses == [0.5, 1.75]
    assert [call.number for call in here.received().in_flight] == [3]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=12))
def test_concurrency_is_the_most_that_were_under_way_at_one_moment(spans):
    here = Here(ANY)
    for at, takes in spans:
        here.ask("GET /", float(at), float(takes))
    moments = range(71)
    most = max(sum(at <= moment < at + takes for at, takes in spans) for moment in moments)
    assert here.received().concurrency == most


def test_what_never_came_is_told_with_what_came_nearest():
    here = Here(ANY)
    here.ask("GET /else")
    here.ask("POST /v1/payment", body=b'{"a": 1}')
    with pytest.raises(AssertionError) as caught:
        here.received("POST", "/v1/payments").once()
    said = str(caught.value).splitlines()
    assert said[0] == "POST /v1/payments: expected once, never came"
    assert said[1].startswith('nearest: #2 +0.000 s  POST /v1/payment {"a": 1} → 200, 100 ms (any, attempt 2)')
    assert said[2] == "    path: expected /v1/payments, got /v1/payment"


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (lambda found: found.once(), "expected once, came twice"),
        (lambda found: found.times(3), "expected 3 times, came twice"),
        (lambda found: found.at_least(3), "expected 3 times or more, came twice"),
        (lambda found: found.never(), "expected none, came twice"),
    ],
)
def test_what_came_too_often_or_too_rarely_is_listed(expect, words):
    here = Here(ANY)
    here.ask("GET /a")
    here.ask("GET /a", 0.25)
    with pytest.raises(AssertionError) as caught:
        expect(here.received("GET", "/a"))
    assert words in str(caught.value)
    assert "#2 +0.250 s  GET /a" in str(caught.value)


def test_where_nothing_came_that_is_said():
    with pytest.raises(AssertionError, match="nothing at all came to the mock"):
        Here().received("GET", "/a").once()


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=4))
def test_an_order_holds_as_for_subsequences_and_strictly_as_for_equal_lists(came, asked):
    here = Here(ANY)
    for name in came:
        here.ask(f"GET /{name}")
    rest = iter(came)
    for strict, holds in ((False, all(name in rest for name in asked)), (True, came == asked)):
        steps = [f"/{name}" for name in asked]
        if holds:
            here.received().in_order(*steps, strict=strict)
        else:
            with pytest.raises(AssertionError, match="expected in this order"):
                here.received().in_order(*steps, strict=strict)


@pytest.mark.parametrize(
    ("steps", "strict", "words"),
    [
        (["/b", "GET /a"], False, "✗ GET /a   not after #2: it came as #1"),
        (["/a", "/c"], False, "✗ /c   it never came"),
        (["/b"], True, "✗ /b   instead came #1"),
        (["/a"], True, "✗ and no more, but then came #2"),
    ],
)
def test_a_wrong_order_says_which_step_is_missing_and_why(steps, strict, words):
    here = Here(ANY)
    here.ask("GET /a")
    here.ask("GET /b")
    with pytest.raises(AssertionError) as caught:
        here.received().in_order(*steps, strict=strict)
    assert words in str(caught.value)


def test_a_step_may_say_all_that_a_stub_s_request_may():
    assert step({"method": "POST", "json": {"a": 1}}).title == 'POST JSON {"a": 1}'
    with pytest.raises(ItestError, match="did you mean `path`"):
        step({"pth": "/"})
    with pytest.raises(ItestError, match="`post it` is no request"):
        step("post it")


def test_a_stub_of_a_test_is_named_after_its_line():
    here = Here()
    here.mock().stub("GET", "/x", json=None, status=203)
    here.ask("GET /x")
    (call,) = here.calls()
    assert (call.status, call.answer.strip()) == (203, "null")
    assert call.stub == call.where
    assert call.where.startswith("test_received.py:")


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ({"path": "/x", "jsn": {}}, "mock.stub: unknown argument `jsn`", "did you mean `json`?"),
        (
            {"path": "https://rates.example:8443/v1/rates?of=EUR"},
            "is a URL",
            "host: rates.example:8443, path: /v1/rates",
        ),
        ({"path": "/x", "status": "good"}, ": mock.stub: ", ""),
    ],
)
def test_a_stub_that_can_t_be_is_told_with_the_line_of_the_test(arguments, said, hint):
    with pytest.raises(ItestError) as caught:
        Here().mock().stub("GET", **arguments)
    assert caught.value.message.startswith("test_received.py:")
    assert said in caught.value.message
    assert "stub 1" not in caught.value.message
    assert hint in caught.value.hint


def test_stubs_fail_as_often_as_asked_and_answer_as_before_then():
    here = Here({"request": {"path": "/rates/{of}"}, "response": {"json": "{{ request.path.of }}"}}, ANY)
    mock = here.mock()
    mock.stub("GET", "/rates/{of}", responses=[{"status": 201}, {"status": 202}])
    mock.fail("GET", "/rates/EUR", first=2, status=503)
    for of in ("EUR", "USD", "EUR", "EUR"):
        here.ask(f"GET /rates/{of}")
    assert [call.status for call in mock.received()] == [503, 201, 503, 202]
    assert [call.effect for call in mock.received()] == ["status", "", "status", ""]


def test_what_no_stub_answers_fails_as_asked_and_is_unmatched_when_it_does_not():
    here = Here()
    here.mock().fail("GET", "/x", first=1, status=500)
    here.mock().fail("GET", "/slow", slow_body="1s")  # needs an answer that could be slow
    for title in ("GET /x", "GET /x", "GET /slow"):
        here.ask(title)
    assert [call.status for call in here.calls()] == [500, 501, 501]
    assert here.calls()[1].nearest == ""  # what only fails is no stub to have been meant


def test_a_fault_of_the_files_lies_over_stubs_of_a_test():
    here = Here({"name": "down", "request": {}, "fault": {"status": 503, "first": 1}, "overlay": True})
    here.mock().stub("GET", "/x")
    here.ask("GET /x")
    here.ask("GET /x")
    assert [call.status for call in here.calls()] == [503, 200]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fault": {"reset": True}, "response": {}}, "an overlay has no `response`"),
        ({}, "an overlay without `fault:` changes nothing"),
    ],
)
def test_an_overlay_has_faults_alone(given, words):
    with pytest.raises(ItestError, match=words):
        from_data({"request": {}, "overlay": True} | given, "test")


def verdict(here: Here) -> dict[str, Any]:
    return here.scopes.verify(SCOPE, 0.0).as_data()


def test_a_request_that_nothing_answered_is_told_with_the_nearest_stub():
    here = Here({"name": "a payment", "request": {"path": "/v1/payments"}})
    here.ask("POST /v1/payment")
    error = told.blamed("mock", verdict(here), strict=False)
    assert error is not None
    assert (error.category, error.cause, error.message) == (
        "test",
        "unmatched",
        "mock: no stub answers POST /v1/payment",
    )
    assert error.evidence.splitlines()[1] == "  path: expected /v1/payments, got /v1/payment"
    assert error.hint.startswith('mock.stub("POST", "/v1/payment", status=…')


def test_a_test_that_failed_by_itself_has_on_one_line_what_had_no_answer():
    here = Here({"request": {"path": "/v1/payments"}, "response": {"body": "{{ request.json.amount + 1 }}"}})
    assert told.in_short("mock", verdict(here)) == ""
    here.ask("GET /v1/payments")
    assert told.in_short("mock", verdict(here)).startswith("mock: stub test stub 1: ")
    for _ in range(2):
        here.ask("POST /v1/payment")
    words = "mock: 2 requests that no stub answered: path: expected /v1/payments, got /v1/payment"
    assert told.in_short("mock", verdict(here)) == words


def test_a_stub_that_answered_nothing_fails_a_strict_test_only():
    here = Here(ANY)
    here.mock().stub("GET", "/x", name="mine")
    assert told.blamed("mock", verdict(here), strict=False) is None
    error = told.blamed("mock", verdict(here), strict=True)
    assert error is not None
    assert error.cause == "unused"
    assert "stub mine (test_received.py:" in error.message
    here.ask("GET /x")
    assert told.blamed("mock", verdict(here), strict=True) is None


def test_the_readable_journal_goes_test_by_test_with_what_was_missed():
    here = Here({"name": "a payment", "request": {"path": "/v1/payments"}})
    here.ask("GET /v1/payments")
    here.scopes.begin(SCOPE, 0.0, "test_other")
    here.ask("GET /v1/payment", takes=None)
    text = told.text([entry.as_data() for entry in here.scopes.since(0)])
    assert text.splitlines()[0] == "2 requests, 1 that no stub answered, 1 in flight"
    assert text.index("test_it   [default]") < text.index("#1") < text.index("test_other") < text.index("#2")
    assert "nearest is a payment" in text


def test_a_number_that_the_journal_had_no_room_for_is_no_number():
    here = Here(ANY, limit=2)
    for _ in range(3):
        here.ask("POST /pay")
    found = here.mock().received("POST", "/pay")
    assert (found.count, found.lost, found.at_least(2).count) == (2, 1, 2)
    lost = "nobody can tell: the mock's journal had no room for the one request of the test that came first"
    for claim in (lambda: found.times(2), lambda: here.mock().received("GET").never()):
        with pytest.raises(AssertionError, match=lost):
            claim()
    assert found.in_order("POST /pay", "POST /pay").count == 2
    with pytest.raises(AssertionError, match=lost):
        found.in_order("POST /pay", "POST /pay", strict=True)
    assert "1 more came before these" in told.text([entry.as_data() for entry in here.scopes.since(0)], 1)


@pytest.mark.parametrize(
    ("detail", "missing", "hint"),
    [
        (Detail(keep=4), "all of its body, but for 4 of 12 bytes", "MOCK_KEEP=1k"),
        (Detail("headers"), "its body", "MOCK_DETAIL=full"),
    ],
)
def test_a_body_that_was_not_kept_is_said_wherever_it_is_asked_for(detail, missing, hint):
    here = Here(ANY | {"response": {"body": "a long answer"}}, detail=detail)
    here.ask("POST /pay", body=b'{"amount":1}')
    mock = here.mock()
    call = mock.received("POST", "/pay").once()
    assert (call.size, call.answered, call.headers) == (12, 13, dict(JSON))
    assert "(12 bytes)" in call.line(0.0)
    assert mock.received("GET", json={"amount": 1}).count == 0
    for ask in (lambda: call.body, lambda: mock.received("POST", json={"amount": 1})):
        with pytest.raises(ItestError, match=f"journal did not keep {missing}") as caught:
            ask()
        assert "MOCK_" in caught.value.hint
    with pytest.raises(ItestError, match="answer's body") as caught:
        _ = call.answer
    assert caught.value.hint == f"{hint} in the suite's .env"


def test_headers_that_were_not_kept_are_said_where_they_are_asked_for():
    here = Here(ANY, detail=Detail("line"))
    here.ask("GET /pay?x=1")
    call = here.mock().received("GET", query={"x": "1"}).once()
    for ask in (lambda: call.headers, lambda: here.mock().received("GET", headers={"X": "1"})):
        with pytest.raises(ItestError, match="did not keep its headers"):
            ask()


def test_an_answer_is_whole_or_not_told():
    here = Here({"request": {}, "response": {"body": "said"}})
    here.ask("GET /")
    assert here.mock().journal[0].answer == "said"


def test_a_stub_and_a_fault_go_when_they_are_removed_or_their_block_ends():
    here = Here(ANY)
    mock = here.mock()
    stub = mock.stub("GET", "/x", status=201, name="mine")
    with mock.fail("GET", "/x", status=503) as fault:
        here.ask("GET /x")
    here.ask("GET /x")
    stub.remove()
    stub.remove()
    here.ask("GET /x")
    assert [call.status for call in here.calls()] == [503, 201, 200]
    assert (repr(stub), fault.where.startswith("test_received.py:")) == ("<mine>", True)


def test_nothing_refuses_one_request_alone_and_that_is_said():
    with pytest.raises(ItestError, match="nothing can refuse it") as caught:
        Here(ANY).mock().fail("GET", refused=True)
    assert "mock.refused()" in caught.value.hint


def test_a_port_is_not_closed_while_others_need_it():
    here = Here(ANY)
    mock = Mock(here, SCOPE, "http://127.0.0.1:8080", Path(), Path, "other workers use it")  # type: ignore[arg-type]
    with pytest.raises(ItestError, match="closed for everybody, and other workers use it"), mock.refused():
        pass


def test_a_request_that_was_turned_away_fails_its_test_with_the_reason():
    here = Here(ANY)
    asked = Incoming.of("POST", "/upload", host="mock")
    here.scopes.turn_away(asked, 0.0, 413, "its body has more than the 10 bytes that MOCK_LIMIT allows")
    error = told.blamed("mock", verdict(here), strict=False)
    assert error is not None
    assert "POST /upload: its body has more than the 10 bytes" in error.message
    assert "MOCK_LIMIT" in error.hint


def test_of_very_many_unanswered_requests_the_rest_is_counted():
    here = Here()
    for _ in range(101):
        here.ask("GET /x")
    error = told.blamed("mock", verdict(here), strict=False)
    assert error is not None
    assert error.evidence.endswith("and 1 more that no stub answers")


def test_the_same_files_said_again_take_nothing_back():
    here = Here({"request": {}, "responses": [{"status": 201}, {"status": 202}]})
    here.ask("GET /")
    assert not here.scopes.set_global(
        from_data([{"request": {}, "responses": [{"status": 201}, {"status": 202}]}], "test"), 1.0
    )
    here.ask("GET /")
    assert [call.status for call in here.calls()] == [201, 202]


def test_both_sides_mean_the_same_scope_by_none():
    assert SCOPE == DEFAULT


def test_a_mock_has_no_scope_for_each_worker_where_they_share_what_calls_it(tmp_path):
    layer = "services:\n  mock: {image: mock:1, x-itest: {kind: mock}}\n  app: {image: app:1%s}\n"
    files = "compose/layers/a.yaml:compose/suites/a.yaml"
    for said, more, silent in (
        ("isolation: delete", "", ["app"]),
        ("isolation: delete, per_worker: [app]", "", []),
        ("isolation: delete", ", x-itest: {baggage: true}", []),
    ):
        for path, text in {
            "compose/layers/a.yaml": layer % more,
            "compose/suites/a.yaml": f"x-itest: {{{said}}}\n",
            "compose/suites/a.env": f"COMPOSE_PROJECT_NAME=itest-a\nCOMPOSE_FILE={files}\n",
            "tests/a/test_a.py": "",
        }.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        one = suite.load(tmp_path, "a")
        assert workers.silent(one) == silent
        assert workers.scoped(one) == (not silent)
        assert one.services["mock"].port == 8080
        assert one.stores == ("mock",)  # so that it answers before an application starts
