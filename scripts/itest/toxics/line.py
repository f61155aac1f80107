"""What waits on its way from one end of a connection to the other, in order, each piece until it is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

NOW = 1e-5  # seconds: what is due so soon goes at once; a timer takes up to a millisecond more


@dataclass(frozen=True)
class Piece:
    """Bytes, none of them where the sender has ended. arrived, due: seconds of the loop's clock; inf: held."""

    arrived: float
    due: float
    data: bytes

    def later(self, due: float) -> Piece:
        return replace(self, due=due)


class Stage(Protocol):
    """One fault's part in the delays of one direction of one connection."""

    def restart(self, now: float) -> None:
        """Forget what was scheduled: everything that waits comes again."""

    def schedule(self, piece: Piece) -> Iterator[Piece]:
        """The piece, or what it is cut into, with new due times."""

    def allowed(self) -> float:
        """How many bytes may still leave; inf for no limit."""

    def left(self, size: int) -> None:
        """So many bytes have left."""


class Line:
    """A delay line: as many pieces as fit are under way together, so a delay costs time and no throughput."""

    def __init__(self) -> None:
        self.stages: Sequence[Stage] = ()
        self.pieces: deque[Piece] = deque()
        self.size = 0  # bytes
        self._last = 0.0

    def put(self, data: bytes, now: float) -> None:
        """What has just arrived; b"" says that no more will."""
        self.size += len(data)
        self._schedule(Piece(now, now, data))

    def change(self, stages: Sequence[Stage], now: float) -> None:
        """Other faults apply, to what waits as well: it is due as if they had applied when it came."""
        waiting, self.pieces, self._last, self.stages = self.pieces, deque(), 0.0, stages
        for stage in stages:
            stage.restart(now)
        for piece in waiting:
            self._schedule(piece.later(piece.arrived))

    def head(self, now: float) -> bytes | None:
        """What may leave now, b"" for the end; None for nothing."""
        if not self.pieces or self.pieces[0].due > now + NOW:
            return None
        data = self.pieces[0].data
        allowed = min((stage.allowed() for stage in self.stages), default=inf)
        return data if len(data) <= allowed else data[: int(allowed)]

    def left(self, size: int) -> None:
        """So many bytes of the head have left; 0 for the end."""
        piece = self.pieces.popleft()
        self.size -= size
        if size < len(piece.data):
            self.pieces.appendleft(replace(piece, data=piece.data[size:]))
        for stage in self.stages:
            stage.left(size)

    def _schedule(self, piece: Piece) -> None:
        pieces = [piece]
        for stage in self.stages:
            pieces = [cut for one in pieces for cut in stage.schedule(one)]
        for one in pieces:
            self._last = max(self._last, one.due)  # nothing overtakes
            self.pieces.append(one.later(self._last))
