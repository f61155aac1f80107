"""Real services that can't be recorded from, which is said before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from itest.errors import ItestError
from itest.recording import upstreams
from itest.recording.rules import Named, Rules


@pytest.fixture
def swallowing() -> Iterator[int]:
    """A port whose queue is full, so that the kernel drops who else wants to connect."""
    with ExitStack() as held:
        server = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(("port", "why"), [("closed", "Connection refused"), ("swallowing", "timed out")])
def test_a_service_out_of_reach_is_told_at_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, port: str, why: str
) -> None:
    monkeypatch.setattr(upstreams, "CONNECTS_WITHIN", 0.2)
    url = f"http://127.0.0.1:{request.getfixturevalue(port)}"
    rules = Rules(Path("fixtures/paid/record.yaml"), (Named("pay.example.com", url),))
    with pytest.raises(ItestError) as caught:
        upstreams.resolved(rules, Path())
    told = f"fixtures/paid/record.yaml: upstream pay.example.com: {url} can't be reached: {why}"
    assert (caught.value.message, caught.value.cause) == (told, "unreachable")
