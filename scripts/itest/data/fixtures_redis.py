"""Fixtures for Redis: JSON in, commands out, so that the same commands seed a stack and reset it between tests.

{"greeting": "hello", "visits": 7,
 "session:1": {"hash": {"user": "ada", "role": "admin"}, "ttl": 3600},
 "queue": {"list": ["a", "b"]}, "tags": {"set": ["x"]}, "board": {"zset": {"ada": 10}}, "note": {"string": "…"}}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from itest.data.datafile import DataFile
from itest.data.fixtures_json import Twice, parse
from itest.errors import ItestError
from itest.suite.schema import nearest

if TYPE_CHECKING:
    from redis import Redis

Command = tuple[str, ...]

TYPES = ("string", "hash", "list", "set", "zset")


def commands(file: DataFile) -> tuple[Command, ...]:
    """The commands that store what a file holds. A key is deleted first, so that seeding twice doesn't append.

    Raises ItestError (data) that names file and key.
    """
    whole = parse(file)
    if isinstance(whole, Twice):
        raise file.error(f"key {whole.key} stands in it twice", hint="keep one of the two")
    return tuple(command for key, value in whole.items() for command in _commands(file, key, value))


def load(url: str, seed: Sequence[Command]) -> int:
    """Run the commands in one transaction and one round trip. Returns how many keys they store.

    Raises ItestError: service where Redis doesn't answer, data where it refuses a command.
    """
    import redis

    try:
        with redis.Redis.from_url(url) as client:
            run(client, seed)
    except redis.ConnectionError as error:
        place = url.rpartition("@")[2]
        raise ItestError(
            "service", f"redis {place}: {error}", hint="make ps shows what runs", cause="connect"
        ) from error
    except redis.RedisError as error:
        hint = "make logs shows what Redis says"
        raise ItestError("data", f"fixtures of redis: {error}", hint=hint, cause="fixture") from error
    return len({command[1] for command in seed})


def reset(client: Redis, seed: Iterable[Command]) -> None:
    """Empty the client's own database, never its neighbours', and seed it again: one transaction, one round trip."""
    run(client, seed, ("FLUSHDB",))


def run(client: Redis, seed: Iterable[Command], *before: Command) -> None:
    """Run commands, all in one transaction and one round trip; `before` are the first."""
    with client.pipeline(transaction=True) as pipeline:
        for command in (*before, *seed):
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        pipeline.execute()


def _commands(file: DataFile, key: str, value: Any) -> list[Command]:
    if isinstance(value, str):
        return [("SET", key, value)]
    if not isinstance(value, dict):
        raise _wrong(file, key, 'must be a string, a number or an object such as {"hash": {…}, "ttl": 60}')
    if isinstance(value, Twice):
        raise _wrong(file, key, f"names {value.key} twice")
    unknown = next((name for name in value if name not in (*TYPES, "ttl")), None)
    if unknown is not None:
        raise _wrong(file, key, f"`{unknown}` is no type", nearest(unknown, (*TYPES, "ttl")))
    kinds = [name for name in TYPES if name in value]
    if len(kinds) != 1:
        raise _wrong(file, key, f"must name one of {', '.join(TYPES)}, not {len(kinds)}")
    stored = _store(file, key, kinds[0], value[kinds[0]])
    return [("DEL", key), stored, *_expiry(file, key, value)]


def _store(file: DataFile, key: str, kind: str, content: Any) -> Command:
    if kind == "string":
        return ("SET", key, *_words(file, key, kind, [content]))
    if kind in ("list", "set"):
        if not isinstance(content, list) or not content:
            raise _wrong(file, key, f"`{kind}` must be a list, not an empty one: Redis keeps no empty {kind}")
        return ("RPUSH" if kind == "list" else "SADD", key, *_words(file, key, kind, content))
    if not isinstance(content, dict) or not content:
        raise _wrong(file, key, f"`{kind}` must be an object, not an empty one: Redis keeps no empty {kind}")
    if isinstance(content, Twice):
        raise _wrong(file, key, f"`{kind}` names {content.key} twice")
    if kind == "hash":
        return ("HSET", key, *_words(file, key, kind, (word for pair in content.items() for word in pair)))
    for score in content.values():
        _number(file, key, "a score", score)
    return ("ZADD", key, *(word for member, score in content.items() for word in (score, member)))


def _words(file: DataFile, key: str, kind: str, words: Iterable[Any]) -> list[str]:
    """The words as they are, numbers as written in the file. Raises ItestError (data) for anything that is neither."""
    found = list(words)
    if not all(isinstance(word, str) for word in found):
        raise _wrong(file, key, f"`{kind}` may hold strings and numbers only")
    return found


def _expiry(file: DataFile, key: str, value: dict[str, Any]) -> list[Command]:
    if "ttl" not in value:
        return []
    seconds = _number(file, key, "`ttl`", value["ttl"])
    if not 0.001 <= seconds < math.inf:
        raise _wrong(file, key, "`ttl` must be a positive number of seconds")
    return [("PEXPIRE", key, f"{seconds * 1000:.0f}")]


def _number(file: DataFile, key: str, what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise _wrong(file, key, f"{what} must be a number, not `{value}`")
    return number


def _wrong(file: DataFile, key: str, problem: str, hint: str = "") -> ItestError:
    return file.error(f"key {key}: {problem}", hint=hint or f"correct {key} in {file.path}")
