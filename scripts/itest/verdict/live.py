"""Take secrets out of what is shown while it is being written: pytest's output on a terminal, and in its log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from itest.verdict.mask import Masker

COLOURS = re.compile(rb"\x1b\[[0-9;]*m")  # https://ecma-international.org/publications-and-standards/standards/ecma-48/
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;]*)?$")


class LiveMask:
    """Masks output as it comes, without holding it back: an incomplete line waits only while it may end in a secret.

    Colours in the middle of a secret don't hide it (pytest paints escapes in a string): its line then loses them.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""

    def through(self, stream: IO[bytes]) -> Iterator[bytes]:
        """All that a stream gives until its end, masked, as it comes."""
        while chunk := stream.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader, typed as IO
            yield self.feed(chunk)
        yield self.rest()

    def feed(self, chunk: bytes) -> bytes:
        """What may be shown by now."""
        *lines, last = (self._held + chunk).split(b"\n")
        self._held = last if self._masker.may_end_in_a_part(_UNFINISHED.sub(b"", COLOURS.sub(b"", last))) else b""
        shown = [*map(self._line, lines), b"" if self._held else self._line(last)]
        return b"\n".join(shown)

    def rest(self) -> bytes:
        """What was held back, when no more comes."""
        held, self._held = self._held, b""
        return self._line(held)

    def _line(self, line: bytes) -> bytes:
        plain = COLOURS.sub(b"", line)
        masked = self._masker.raw(line)
        return masked if self._masker.raw(plain) == COLOURS.sub(b"", masked) else self._masker.raw(plain)
