"""Whatever is recorded is answered on replay, in the same shape, and holds nothing that is masked."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest
import yaml

from itest.mock import stubfile
from itest.mock.scopes import Scopes

NAMES = [
    "id",
    "email",
    "token",
    "a b",
    "my-ref",
    "items",
    "card",
    "number",
    "address",
    "x.y",
    "0",
    "pin",
    "$ref",
    "re{f}",
]
SECRETS = ["ada@inbox.example", "4556737586899855"]
PLAIN = [
    None,
    True,
    "",
    0,
    1.5,
    -3,
    "x",
    "line\nline",
    "{{ x }}",
    "*?[]",
    "a: b # c",
    "'q\" \\",
    "yes",
    "1e3",
    "\t tab ",
]
TARGETS = [
    "/x",
    "/ada@inbox.example?q=1",
    "/a%20b?token=s3cretValue99",
    "/{id}",
    "/a%2Fb?email=ada%40inbox.example&x={y}",
]


def made_up(draw: random.Random, depth: int = 0) -> Any:
    """A JSON value."""
    chance = draw.random()
    if depth < 3 and chance < 0.25:
        return {draw.choice(NAMES): made_up(draw, depth + 1) for _ in range(draw.randint(0, 4))}
    if depth < 3 and chance < 0.4:
        return [made_up(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    return draw.choice([*PLAIN, *SECRETS, 4556737586899855, str(uuid.UUID(int=draw.getrandbits(128)))])


def shape(value: Any) -> Any:
    """What is left of a JSON value without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_recorded_is_answered_in_its_shape_and_holds_no_secret(exchange, recorded, seed) -> None:
    for number in range(40):
        draw = random.Random(f"{seed} {number}")
        answer = [made_up(draw)]
        one = exchange(1, draw.choice(TARGETS), answer, sends=made_up(draw), method="POST")
        _, refused, text = recorded(one)
        scopes = Scopes()
        scopes.set_global(stubfile.from_data(yaml.safe_load(text), "recorded"), 0.0)
        decision = scopes.answer(one.request, 0.0)
        assert (decision.answer.status, decision.entry.problem) == (200, ""), decision.answer.body
        assert shape(json.loads(decision.answer.body)) == shape(answer), text
        assert refused or not [secret for secret in SECRETS if secret in text], text
