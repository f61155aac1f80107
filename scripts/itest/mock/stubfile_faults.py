"""`fault:` and `limit:` of a stub file."""

from __future__ import annotations

from typing import Any, get_args

from itest.mock import stubfile_values as read_value
from itest.mock.stubs import Effect, Effects, Fault, Limit
from itest.suite.schema import described, integer, wrong
from itest.suite.yamlfile import Keys, YamlFile

EFFECTS: tuple[Effects, ...] = get_args(Effects)
WHEN = ("first", "between", "probability", "seed")
SLOW = ("slow_headers", "slow_body", "delay")
HALF = 0.5  # of a body arrives where `truncated: true` says no share
MANY = 1_000_000_000


def faults(file: YamlFile, keys: Keys, value: Any) -> tuple[Fault, ...]:
    """One fault, or a list of them of which the first that applies counts."""
    if isinstance(value, list):
        return tuple(_fault(file, (*keys, index), one) for index, one in enumerate(value))
    return (_fault(file, keys, value),)


def limit(file: YamlFile, keys: Keys, value: Any) -> Limit:
    """`{requests: 5, per: 1s}`, and the status if it isn't 429."""
    given = read_value.known(file, keys, value, "a limit", ("requests", "per", "status"))
    requests = integer(file, (*keys, "requests"), given.get("requests"), 1, MANY)
    per = read_value.seconds(file, (*keys, "per"), given.get("per"))
    return Limit(requests, per, integer(file, (*keys, "status"), given.get("status", 429), 400, 599))


def _fault(file: YamlFile, keys: Keys, value: Any) -> Fault:
    if isinstance(value, dict) and "refused" in value:
        problem = "a connection that brings a request is accepted already, so nothing can refuse it"
        raise wrong(file, (*keys, "refused"), problem, "reset: true; or in a test `with mock.refused():`")
    given = read_value.known(file, keys, value, "a fault", (*WHEN, *EFFECTS, "headers"))
    names = [name for name in EFFECTS if name in given]
    if len(names) != 1:
        problem = f"a fault has one effect, not {' and '.join(names) if names else 'none'}"
        raise wrong(file, keys, problem, f"one of: {', '.join(EFFECTS)}")
    if "headers" in given and names != ["status"]:
        raise wrong(file, (*keys, "headers"), f"`headers` go with `status`, not with `{names[0]}`")
    if "seed" in given and "probability" not in given:
        raise wrong(file, (*keys, "seed"), "`seed` without `probability` decides nothing", "probability: 0.3")
    first, between, chance = (given.get(name) for name in ("first", "between", "probability"))
    return Fault(
        _effect(file, keys, names[0], given),
        integer(file, (*keys, "first"), first, 1, MANY) if first is not None else None,
        read_value.span(file, (*keys, "between"), between) if between is not None else None,
        _share(file, (*keys, "probability"), chance) if chance is not None else None,
        integer(file, (*keys, "seed"), given.get("seed", 0), -MANY, MANY),
    )


def _effect(file: YamlFile, keys: Keys, what: Effects, given: dict[str, Any]) -> Effect:
    place, value = (*keys, what), given[what]
    if what == "status":
        headers = read_value.headers(file, (*keys, "headers"), given.get("headers", {}))
        return Effect(what, status=integer(file, place, value, 200, 599), headers=headers)
    if what in SLOW:
        return Effect(what, read_value.seconds(file, place, value))
    if what == "truncated" and value is not True:
        return Effect(what, _share(file, place, value))
    if value is not True:
        raise wrong(file, place, f"`{what}` must be true, not {described(value)}", f"{what}: true, or no such line")
    return Effect(what, HALF if what == "truncated" else 0.0)


def _share(file: YamlFile, keys: Keys, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise wrong(file, keys, f"`{read_value.named(keys)}` must be a number from 0 to 1, not {described(value)}")
    return float(value)
