"""What a test may ask of `faults`, and what `x-itest: faults` may say: checked before anything happens."""

from __future__ import annotations

import pytest

from itest.containers import Container
from itest.errors import ItestError
from itest.faults.book import Book
from itest.faults.faults import Faults
from itest.faults.network import Sidecars
from itest.stack.stack import Stack


@pytest.fixture
def faults(repo) -> Faults:
    return made(repo)


def made(repo, sharers: int = 1) -> Faults:
    suite = repo.load()
    stack = Stack(suite, suite.project("p"), sharers=lambda: sharers)
    return Faults(Book(stack), Sidecars(stack, print))


def words(value: object) -> str | None:
    """Of an example, its words are its name."""
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda faults: faults.latency("app", "store", ms=200, jitter=50), "latency app -> store 200 ms ± 50"),
        (lambda faults: faults.latency("app", "store", ms=1.5), "latency app -> store 1.5 ms"),
        (lambda faults: faults.bandwidth("app", "store", kb_per_s=10), "bandwidth app -> store 10 kB/s"),
        (lambda faults: faults.timeout("app", "store"), "timeout app -> store for good"),
        (lambda faults: faults.timeout("app", "store", ms=100), "timeout app -> store after 100 ms"),
        (lambda faults: faults.reset("app", "store"), "reset app -> store after 0 ms"),
        (lambda faults: faults.slice("app", "store", bytes=1, delay_ms=5), "slice app -> store 1 bytes every 5 ms"),
        (lambda faults: faults.limit_data("app", "store", bytes=100), "limit_data app -> store 100 bytes"),
        (lambda faults: faults.partition("app", "store"), "partition app -> store both ways"),
        (lambda faults: faults.partition("app", "store", one_way=True), "partition app -> store one way"),
        (lambda faults: faults.loss("app", "store", percent=5), "loss app -> store 5 %"),
        (lambda faults: faults.pause("store"), "pause store"),
    ],
    ids=words,
)
def test_a_fault_says_what_it_is(faults, call, words) -> None:
    assert call(faults).describe() == words


@pytest.mark.parametrize(
    ("call", "problem", "hint"),
    [
        (
            lambda faults: faults.latency("ap", "store", ms=1),
            "faults.latency('ap', 'store'): suite api has no service ap",
            "did you mean `app`?",
        ),
        (lambda faults: faults.kill("nobody"), "faults.kill('nobody'): suite api has no service nobody", "app, store"),
        (
            lambda faults: faults.partition("app", "app"),
            "faults.partition('app', 'app'): app does not reach itself by network",
            "name who connects, then what it connects to",
        ),
        (
            lambda faults: faults.latency("app", "store", ms=-1),
            "faults.latency('app', 'store'): ms=-1 must be 0 or more",
            "such as ms=100",
        ),
        (
            lambda faults: faults.latency("app", "store", ms="200"),
            "faults.latency('app', 'store'): ms='200' is text, not a number",
            "such as ms=100",
        ),
        (
            lambda faults: faults.bandwidth("app", "store", kb_per_s=0),
            "faults.bandwidth('app', 'store'): kb_per_s=0 must be more than 0",
            "such as kb_per_s=100",
        ),
        (
            lambda faults: faults.loss("app", "store", percent=101),
            "faults.loss('app', 'store'): percent=101 must be more than 0, at most 100",
            "such as percent=100",
        ),
    ],
    ids=words,
)
def test_what_can_not_be_is_refused_when_it_is_asked_for(faults, call, problem, hint) -> None:
    with pytest.raises(ItestError) as caught:
        call(faults)
    assert (caught.value.category, caught.value.message) == ("usage", problem)
    assert hint in caught.value.hint


def test_another_name_of_a_service_is_told_with_the_service(repo) -> None:
    faults = made(repo)
    names = {"default": ["store-1", "payments.example.com"]}
    store = Container("c0ffee", "p", "store", "x", {}, {}, {"Status": "running"}, 0, aliases=names)
    faults._book.stack.containers = {"store": store}
    with pytest.raises(ItestError) as caught:
        faults.latency("app", "payments.example.com", ms=1)
    assert caught.value.message.endswith(": suite api knows payments.example.com as another name of service store")
    assert caught.value.hint == "name the service: store"


def test_what_several_workers_share_is_left_alone_but_who_reaches_it_may_be_a_worker_s_own(repo) -> None:
    with pytest.raises(ItestError, match=r"faults.latency\('app', 'store'\): 2 workers share service app") as caught:
        made(repo, sharers=2).latency("app", "store", ms=1)
    assert "add app to per_worker in compose/suites/api.yaml" in caught.value.hint

    repo.edit("compose/suites/api.yaml", "tags: [blocking]", "per_worker: [app]")
    assert made(repo, sharers=2).latency("app", "store", ms=1)
    with pytest.raises(ItestError, match="2 workers share service store"):
        made(repo, sharers=2).pause("store")


def test_sidecars_from_the_start_are_of_services_that_there_are(repo) -> None:
    repo.edit("compose/suites/api.yaml", "tags: [blocking]", "faults: [ap]")
    assert repo.refusal() == (
        "compose/suites/api.yaml:6: `faults` names `ap`, which is no service of this suite\nhint: did you mean `app`?"
    )
    repo.edit("compose/suites/api.yaml", "tags: [blocking]", "faults: app")
    assert repo.load().faults == ("app",)
