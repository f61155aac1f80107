"""By how much a clock is moved, in a person's words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from itest.errors import ItestError
from itest.faults.clock import seconds


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("+2h", 7200),
        ("-30m", -1800),
        ("1.5d", 129600),
        ("90s", 90),
        ("-5", -5),
        (0.25, 0.25),
        (-3600, -3600),
        (timedelta(days=-1, hours=1), -82800),
    ],
)
def test_an_offset_is_words_seconds_or_a_timedelta(offset, expected):
    assert seconds(offset) == expected


@pytest.mark.parametrize("offset", ["", "soon", "2 h", "+2w", "1h30m", "nan", float("inf")])
def test_what_is_no_offset_is_refused(offset):
    with pytest.raises(ItestError, match="is no offset"):
        seconds(offset)
