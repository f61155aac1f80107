"""Faults in a person's words: what each takes, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from itest.errors import ItestError
from itest.faults import byhand

SERVICES = {"CLIENT": "shop", "SERVER": "postgres", "SERVICE": "redis", "PATH": "/data", "OFFSET": "+2h"}


def test_how_a_fault_is_asked_for_is_read_from_its_method():
    assert byhand.usage("latency") == "latency CLIENT SERVER ms=… [jitter=0] [seed=0]"
    assert byhand.usage("partition") == "partition CLIENT SERVER [one_way=no]"
    assert byhand.usage("pause") == "pause SERVICE"
    assert "timeline" not in byhand.kinds()


@pytest.mark.parametrize("kind", byhand.kinds())
def test_every_fault_can_be_said_as_its_usage_shows_it(kind):
    words = [SERVICES.get(word, word.strip("[]").replace("…", "1")) for word in byhand.usage(kind).split()[1:]]
    positional, named = byhand._read(kind, words)
    assert len(positional) + len(named) == len(byhand.kinds()[kind])


def test_words_become_what_the_method_takes():
    given = byhand._read("latency", ["shop", "postgres", "ms=2.5", "seed=7"])
    assert given == (["shop", "postgres"], {"ms": 2.5, "seed": 7})
    assert byhand._read("partition", ["a", "b", "one_way=yes"])[1] == {"one_way": True}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", True),
        ("latency", True),
        ("latency shop", True),
        ("shop postgres", True),
        ("latency shop postgres ms=200", True),
        ("latency ms=200", True),
        ("latency postgres", False),
        ("latency postgres shop", False),
        ("latency shop ms=100", False),
        ("latency shop postgres redis", False),
    ],
)
def test_a_fault_is_told_by_names_in_their_order(words, told):
    assert byhand.tells(words.split(), "latency shop postgres ms=200 jitter=5") is told


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        ("puase redis", "no fault is called puase", "did you mean `pause`?"),
        ("hael", "no fault is called hael", "did you mean `heal`?"),
        ("pause", "fault pause: it takes service, not nothing", "ARGS='pause SERVICE'"),
        ("latency shop ms=2", "fault latency: it takes client and server, not shop", "ARGS='latency CLIENT SERVER ms="),
        ("latency a b", "fault latency: ms=… is missing", "ARGS='latency CLIENT"),
        ("latency a b msec=3", "fault latency: it has no msec, did you mean `ms`?", "ARGS='latency CLIENT"),
        ("latency a b ms=fast", "fault latency: ms=fast is no number", "ARGS='latency CLIENT"),
        ("partition a b one_way=maybe", "fault partition: one_way=maybe is no yes or no", "ARGS='partition CLIENT"),
        ("pause rdis", "fault pause rdis: suite api has no service rdis", "known: app, store"),
        ("pause redis service=redis", "fault pause: it has no service", "ARGS='pause SERVICE'"),
    ],
)
def test_wrong_words_are_told_with_the_nearest_right_ones(repo, words, problem, hint):
    from itest.stack.stack import Stack

    suite = repo.load()
    with pytest.raises(ItestError) as raised:
        byhand.inject(Stack(suite, suite.project("p")), words.split())
    assert raised.value.category == "usage"
    assert raised.value.message.startswith(problem)
    assert raised.value.hint.startswith(hint)
