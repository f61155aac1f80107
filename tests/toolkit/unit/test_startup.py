"""The critical path of a start-up, from times to words: no engine, no clock."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itest.containers import Container
from itest.runs import Run
from itest.stack import startup
from itest.stack.startup import Batch, Begun, Course, Leg, Startup

HEALTHY, STARTED = {"condition": "service_healthy"}, {"condition": "service_started"}


def config(**depends_on: dict[str, dict[str, str]]) -> dict[str, object]:
    """A resolved compose file, as far as it matters: which service depends on which."""
    return {"services": {name: {"depends_on": others} if others else {} for name, others in depends_on.items()}}


def legs(course: Course, resolved: dict[str, object]) -> list[tuple[str, float, float]]:
    return [(leg.what, round(leg.seconds, 3), round(leg.waiting, 3)) for leg in startup.walked(course, resolved).path]


def test_the_application_came_last_after_the_data_after_the_slower_of_two_stores() -> None:
    stores = Batch(0.0, 1.0, {"postgres": Begun(0.4, 1.0), "redis": Begun(0.3, 0.6)})
    rest = Batch(1.3, 2.5, {"shop": Begun(1.7, 2.5)})
    resolved = config(postgres={}, redis={}, shop={"postgres": HEALTHY, "redis": HEALTHY})
    assert legs(Course([stores, rest], 2.5), resolved) == [
        ("compose", 0.4, 0),
        ("postgres", 0.6, 0),
        ("data", 0.3, 0),
        ("compose", 0.4, 0),
        ("shop", 0.8, 0),
    ]


def test_what_compose_waited_for_within_one_up_is_on_the_path_until_its_check_succeeded() -> None:
    services = {
        "rabbitmq": Begun(0.1, 2.3, at_once=True, fit=2.0, unseen=1.1),
        "shop": Begun(2.1, 4.1),
        "fast": Begun(0.1, 2.3, at_once=True, fit=0.5),
    }
    resolved = config(rabbitmq={}, fast={}, shop={"rabbitmq": HEALTHY, "fast": HEALTHY})
    course = Course([Batch(0.0, 4.1, services)], 4.1)
    assert legs(course, resolved) == [
        ("compose", 0.1, 0),
        ("rabbitmq", 1.9, 1.1),
        ("compose", 0.1, 0),
        ("shop", 2.0, 0),
    ]
    line = startup.walked(course, resolved).line
    assert line == "4.1 s: shop 2.0 s after rabbitmq 1.9 s, of which 1.1 s waiting for its health interval"


def test_a_dependency_that_only_has_to_be_started_passes_on_what_that_one_had_waited_for() -> None:
    services = {"store": Begun(0.1, 1.6, fit=1.0), "worker": Begun(1.1, 1.6), "shop": Begun(1.2, 2.0)}
    resolved = config(store={}, worker={"store": HEALTHY}, shop={"worker": STARTED})
    path = legs(Course([Batch(0.0, 2.0, services)], 2.0), resolved)
    assert path == [("compose", 0.1, 0), ("store", 0.9, 0), ("compose", 0.2, 0), ("shop", 0.8, 0)]


def test_the_wait_for_a_check_counts_only_where_somebody_waited_for_the_check() -> None:
    one = Begun(0.1, 1.0, fit=1.0, unseen=0.7)
    probed = Course([Batch(0.0, 1.0, {"thing": one})], 1.0)
    by_health = Course([Batch(0.0, 1.0, {"thing": Begun(0.1, 1.0, fit=1.0, unseen=0.7, by_health=True)})], 1.0)
    assert legs(probed, config(thing={}))[-1] == ("thing", 0.9, 0)
    assert legs(by_health, config(thing={}))[-1] == ("thing", 0.9, 0.7)


def test_of_services_that_were_ready_when_compose_returned_the_one_that_started_last_kept_it() -> None:
    services = {"second": Begun(1.5, 2.01, at_once=True), "first": Begun(0.5, 2.02, at_once=True)}
    resolved = config(first={}, second={})
    assert legs(Course([Batch(0.0, 2.02, services)], 2.02), resolved)[-1][0] == "second"
    tried = services | {"first": Begun(0.5, 2.02)}
    assert legs(Course([Batch(0.0, 2.02, tried)], 2.02), resolved)[-1][0] == "first"


NAMES = ("a", "b", "c", "d", "e")
TIMES = st.floats(-5, 20, allow_nan=False)
SERVICES = st.builds(
    Begun, TIMES, TIMES, st.booleans(), st.none() | TIMES, st.floats(0, 20, allow_nan=False), st.booleans()
)


@st.composite
def courses(draw: st.DrawFn) -> tuple[Course, dict[str, object]]:
    """Any start-up, even one whose clocks disagree, of services that each depend on earlier ones only."""
    depends_on = {
        name: draw(st.dictionaries(st.sampled_from(NAMES[:at]), st.sampled_from([HEALTHY, STARTED]))) if at else {}
        for at, name in enumerate(NAMES)
    }
    split = draw(st.integers(1, len(NAMES)))
    moments = sorted(draw(st.lists(st.floats(0, 10, allow_nan=False), min_size=5, max_size=5)))
    members = [part for part in (NAMES[:split], NAMES[split:]) if part]
    batches = [
        Batch(moments[2 * at], moments[2 * at + 1], {name: draw(SERVICES) for name in part})
        for at, part in enumerate(members)
    ]
    return Course(batches, moments[4]), config(**depends_on)


@given(courses())
def test_a_path_has_no_gap_and_no_leg_that_lasts_less_than_nothing_whatever_the_clocks_say(given_course) -> None:
    course, resolved = given_course
    found = startup.walked(course, resolved)
    assert found.seconds == pytest.approx(course.ended - course.batches[0].began, abs=0.01)
    assert all(0 <= leg.waiting <= leg.seconds for leg in found.path)
    named = [leg.what for leg in found.path if leg.what not in (startup.DATA, startup.COMPOSE)]
    assert all(earlier < later for earlier, later in pairwise(named)), "it goes from what is needed to what needs it"
    assert found.line.startswith(f"{found.seconds:.1f} s: ") or not found.path


def look(begin: float, end: float, code: int) -> dict[str, object]:
    return {
        "Start": f"2026-11-20T12:00:{begin:012.9f}Z",
        "End": f"2026-11-20T13:00:{end:012.9f}+01:00",
        "ExitCode": code,
    }


@pytest.mark.parametrize(
    ("looks", "healthy", "unseen"),
    [
        ([], None, 0),
        ([look(11, 11.2, 1)], None, 0),
        ([look(11, 11.2, 0), look(12, 12.2, 0)], 11.2, 1),
        ([look(11, 11.2, 1), look(12, 12.3, 1), look(13, 13.1, 0), look(14, 14.1, 0)], 13.1, 0.7),
        ([look(5, 5.1, 0), look(12, 12.1, 0)], 12.1, 2),  # the first is of a life before
        ([look(at, at + 0.1, 0) for at in (20, 21, 22, 23, 24)], None, 0),  # five are kept: it was healthy before, too
    ],
)
def test_when_the_engine_first_saw_it_healthy_and_how_long_it_had_not_looked(looks, healthy, unseen) -> None:
    state = {"Status": "running", "StartedAt": "2026-11-20T12:00:10.000000001Z", "Health": {"Log": looks}}
    found, gap = startup.first_fit(Container("c0ffee", "p", "thing", "thing:1", {}, {}, state, 0))
    midnight = 1795176000.0  # 2026-11-20T12:00:00Z
    assert (found and found - midnight) == pytest.approx(healthy)
    assert gap == pytest.approx(unseen)


def test_a_one_shot_is_what_others_wait_for_when_it_has_ended_well() -> None:
    state = {
        "Status": "exited",
        "ExitCode": 0,
        "StartedAt": "1970-01-01T00:00:10Z",
        "FinishedAt": "1970-01-01T00:00:12.5Z",
    }
    assert startup.first_fit(Container("c0ffee", "p", "job", "job:1", {}, {}, state, 0)) == (12.5, 0)
    services = {"job": Begun(0.1, 2.3, at_once=True, fit=2.0), "shop": Begun(2.1, 3.0)}
    resolved = config(job={}, shop={"job": {"condition": "service_completed_successfully"}})
    path = legs(Course([Batch(0.0, 3.0, services)], 3.0), resolved)
    assert path == [("compose", 0.1, 0), ("job", 1.9, 0), ("compose", 0.1, 0), ("shop", 0.9, 0)]


def of(**seconds: float) -> Startup:
    return Startup(tuple(Leg(what, one) for what, one in seconds.items()))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((Leg("compose", 0.4), Leg("postgres", 0.3)), "0.7 s: postgres 0.3 s, and compose 0.4 s"),
        ((Leg("compose", 0.09), Leg("postgres", 0.3)), "0.4 s: postgres 0.3 s"),
        ((Leg("compose", 0.4), Leg("rabbitmq", 9)), "9.4 s: rabbitmq 9.0 s"),  # compose: not a tenth of it
        ((Leg("a", 1, 0.5), Leg("data", 0.04), Leg("b", 1)), "2.0 s: b 1.0 s after a 1.0 s, of which 0.5 s waiting "
         "for its health interval"),
        ((Leg("a", 1), Leg("b", 1, 0.5), Leg("c", 1, 0.09)), "3.0 s: c 1.0 s after b 1.0 s, of which 0.5 s waiting "
         "for its health interval, after a 1.0 s"),
        ((Leg("compose", 0.5), Leg("cache", 0.01)), "0.5 s: cache 0.0 s, and compose 0.5 s"),
        ((Leg("compose", 0.01),), "0.0 s: compose 0.0 s"),
    ],
)  # fmt: skip
def test_the_line_tells_what_matters_last_first(path, line) -> None:
    assert Startup(path).line == line


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        (of(postgres=1.0), of(postgres=0.91), ""),  # less than 0.1 s
        (of(rabbitmq=10.9), of(rabbitmq=10.0), ""),  # less than a tenth
        (of(store=1.0, shop=1.0), of(store=0.7, shop=0.8), "0.5 s slower than before: store +0.3 s, shop +0.2 s"),
        (of(postgres=0.5), of(postgres=1.0), "0.5 s faster than before: postgres -0.5 s"),
        (of(rabbitmq=1.5), of(redis=0.3), "1.2 s slower than before: rabbitmq +1.5 s"),
        (of(a=1.3, b=1.4, c=1.2, d=0.5), of(a=1, b=1, c=1, d=1), "0.4 s slower than before: b +0.4 s, a +0.3 s"),
        (of(a=0.36, b=0.36), of(a=0.3, b=0.3), "0.1 s slower than before"),
    ],
)  # fmt: skip
def test_the_difference_is_told_with_what_made_it_where_there_is_one(now, before, words) -> None:
    assert startup.change(now, before) == words


def kept(tmp_path, name: str, content: object) -> None:
    (tmp_path / name).mkdir()
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name / "summary.json").write_text(text, encoding="utf-8")


def test_the_run_before_is_the_newest_earlier_one_in_which_this_suite_got_ready(tmp_path) -> None:
    older, newer = of(postgres=1.0), of(postgres=2.0)
    kept(tmp_path, "20261120-100000-aaaa", {"suites": {"api": {"startup": older.as_json()}}})
    kept(tmp_path, "20261120-100001-aaaa", {"suites": {"api": {"startup": newer.as_json()}}})
    kept(tmp_path, "20261120-100002-aaaa", {"suites": {"api": {"startup": None}}})
    kept(tmp_path, "20261120-100003-aaaa", {"suites": {"database": {"startup": older.as_json()}}})
    kept(tmp_path, "20261120-100004-aaaa", None)  # under way
    kept(tmp_path, "20261120-100005-aaaa", '{"suites": {"ap')
    kept(tmp_path, "20261120-100006-aaaa", {"suites": {"api": {"startup": {"path": [{"what": "a"}]}}}})
    kept(tmp_path, "20261120-100009-aaaa", {"suites": {"api": {"startup": older.as_json()}}})  # began later
    run = Run("20261120-100007-aaaa", tmp_path / "20261120-100007-aaaa")
    assert startup.previous(run, "api") == newer
    assert startup.previous(run, "messaging") is None
