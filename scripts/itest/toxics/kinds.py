"""Faults made of bytes held, cut and closed: what each is called, what it takes, what it does to a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from math import inf, isfinite
from random import Random
from typing import Any, ClassVar, Literal

from itest.toxics.line import Piece, Stage

Direction = Literal["up", "down"]  # what the client sends, what the server sends
BOTH: tuple[Direction, ...] = ("up", "down")
TICK = 0.01  # seconds: what a limited bandwidth lets through at a time


class Plain(Stage):
    """A stage that does nothing; the others say what they do besides."""

    def restart(self, now: float) -> None:
        pass

    def schedule(self, piece: Piece) -> Iterator[Piece]:
        yield piece

    def allowed(self) -> float:
        return inf

    def left(self, size: int) -> None:
        pass


class Toxic:
    """One fault's parameters. directions: where it acts if nobody says otherwise."""

    name: ClassVar[str]
    directions: ClassVar[tuple[Direction, ...]] = BOTH

    def stage(self, random: Random) -> Stage:
        """Its part in one direction of one connection. random: that connection's own."""
        return Plain()

    def ends(self) -> tuple[float, bool] | None:
        """When it ends a connection that it acts on, in seconds, and whether by RST; None if never."""
        return None


@dataclass(frozen=True)
class Latency(Toxic):
    """A round trip takes ms longer, give or take jitter; the same seed gives the same delays again."""

    name = "latency"
    directions = ("up",)
    ms: float
    jitter: float = 0.0
    seed: int = 0

    def stage(self, random: Random) -> Stage:
        return Delayed(self, random)


class Delayed(Plain):
    def __init__(self, toxic: Latency, random: Random) -> None:
        self.toxic, self.random = toxic, random

    def schedule(self, piece: Piece) -> Iterator[Piece]:
        ms = self.toxic.ms + (self.random.uniform(-1, 1) * self.toxic.jitter if self.toxic.jitter else 0.0)
        yield piece.later(piece.due + max(0.0, ms) / 1000)


@dataclass(frozen=True)
class Bandwidth(Toxic):
    """So many thousand bytes a second, in each direction of each connection."""

    name = "bandwidth"
    kb_per_s: float

    def stage(self, random: Random) -> Stage:
        return Bucket(self.kb_per_s * 1000)


class Bucket(Plain):
    """A token bucket that holds what one tick lets through."""

    def __init__(self, rate: float) -> None:
        self.rate, self.free = rate, 0.0  # bytes a second; when all that came has passed

    def restart(self, now: float) -> None:
        self.free = now

    def schedule(self, piece: Piece) -> Iterator[Piece]:
        for cut in cuts(piece, max(1, int(self.rate * TICK))):
            self.free = max(self.free, piece.due) + (len(cut.data) / self.rate if self.rate else inf)
            yield cut.later(self.free)


@dataclass(frozen=True)
class Timeout(Toxic):
    """Nothing gets through any more; after ms the connection is closed, with 0 never."""

    name = "timeout"
    ms: float = 0.0

    def stage(self, random: Random) -> Stage:
        return Held()

    def ends(self) -> tuple[float, bool] | None:
        return (self.ms / 1000, False) if self.ms else None


class Held(Plain):
    def schedule(self, piece: Piece) -> Iterator[Piece]:
        yield piece.later(inf)


@dataclass(frozen=True)
class Reset(Toxic):
    """The connection ends by RST, after_ms from when it or the fault began."""

    name = "reset"
    after_ms: float = 0.0

    def ends(self) -> tuple[float, bool] | None:
        return self.after_ms / 1000, True


@dataclass(frozen=True)
class Slice(Toxic):
    """Data comes in pieces of so many bytes, give or take variation, each delay_ms after the one before."""

    name = "slice"
    bytes: int
    delay_ms: float = 0.0
    variation: int = 0

    def stage(self, random: Random) -> Stage:
        return Sliced(self, random)


class Sliced(Plain):
    def __init__(self, toxic: Slice, random: Random) -> None:
        self.toxic, self.random, self.next = toxic, random, 0.0

    def restart(self, now: float) -> None:
        self.next = 0.0

    def schedule(self, piece: Piece) -> Iterator[Piece]:
        spread = self.toxic.variation
        size = self.toxic.bytes + (self.random.randint(-spread, spread) if spread else 0)
        for cut in cuts(piece, max(1, size)):
            due = max(self.next, piece.due)
            self.next = due + self.toxic.delay_ms / 1000
            yield cut.later(due)


@dataclass(frozen=True)
class LimitData(Toxic):
    """After so many bytes of answers the connection is closed."""

    name = "limit_data"
    directions = ("down",)
    bytes: int

    def stage(self, random: Random) -> Stage:
        return Limited(self.bytes)


class Limited(Plain):
    def __init__(self, size: int) -> None:
        self.remaining = size

    def allowed(self) -> float:
        return self.remaining

    def left(self, size: int) -> None:
        self.remaining -= size


@dataclass(frozen=True)
class SlowClose(Toxic):
    """That one end has closed is known to the other ms later."""

    name = "slow_close"
    ms: float

    def stage(self, random: Random) -> Stage:
        return Closing(self.ms / 1000)


class Closing(Plain):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def schedule(self, piece: Piece) -> Iterator[Piece]:
        yield piece if piece.data else piece.later(piece.due + self.seconds)


KINDS: dict[str, type[Toxic]] = {
    kind.name: kind for kind in (Latency, Bandwidth, Timeout, Reset, Slice, LimitData, SlowClose)
}


def cuts(piece: Piece, size: int) -> Iterator[Piece]:
    """The piece in pieces of at most size bytes; the end of a stream stays one."""
    for at in range(0, len(piece.data) or 1, size):
        yield Piece(piece.arrived, piece.due, piece.data[at : at + size])


def toxic(kind: str, given: Mapping[str, Any]) -> Toxic:
    """A toxic by its name, one of KINDS, and parameters. Raises ValueError that says what is wrong with which."""
    return KINDS[kind](**parameters(KINDS[kind], given))


def parameters(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a fault was given, each checked against its field. Raises ValueError."""
    known, name = {field.name: field for field in fields(kind)}, kind.name
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: {given!r} is no object of parameters")
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{name} takes {', '.join(known)}, not {key}")
        _check(f"{name}: {key}", known[key].type, value)
    missing = [key for key, field in known.items() if field.default is MISSING and key not in given]
    if missing:
        raise ValueError(f"{name}: {', '.join(missing)} is missing")
    return dict(given)


def _check(what: str, wanted: object, value: Any) -> None:
    if wanted == "str":
        if not isinstance(value, str):
            raise ValueError(f"{what} is {value!r}, a word is wanted")
    elif isinstance(value, bool) or not isinstance(value, int if wanted == "int" else (int, float)):
        raise ValueError(f"{what} is {value!r}, a {'whole ' if wanted == 'int' else ''}number is wanted")
    elif not isfinite(value) or value < 0:
        raise ValueError(f"{what} is {value}, which is out of range")
