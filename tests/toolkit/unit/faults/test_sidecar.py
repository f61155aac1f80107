"""Whether a sidecar is of use to the client that runs now, or has left it without a network."""

from __future__ import annotations

import pytest

from itest.containers import Container
from itest.faults import sidecar


def container(status: str, minute: int) -> Container:
    state = {
        "Status": status,
        "Running": status in ("running", "paused"),
        "StartedAt": f"2026-01-09T10:{minute:02}:00Z",
    }
    return Container("c0ffee", "p", "shop", "x", {}, {}, state, 0)


@pytest.mark.parametrize(
    ("beside", "client", "serves", "left"),
    [
        (("running", 2), ("running", 1), True, False),
        (("running", 2), ("paused", 1), True, False),
        (("exited", 2), ("running", 1), False, True),  # killed: all that the client sends is still led to it
        (("exited", 2), ("paused", 1), False, True),
        (("exited", 2), ("exited", 1), False, False),  # it has gone with its client
        (("exited", 2), ("running", 3), False, False),  # and the client came back, with another network
    ],
)
def test_one_that_has_ended_before_its_client_has_cut_it_off(beside, client, serves, left):
    found = container(*beside), container(*client)
    assert (sidecar.serves(*found), sidecar.left(*found)) == (serves, left)
