"""The sidecar's process: placed between a client and all that it calls, until SIGTERM takes it away again.

`python -m itest.toxics.server` in a container with the client's network namespace and NET_ADMIN: compose/faults.yaml.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from itest.errors import ItestError, run_verb
from itest.toxics import api, open_before, orphaned, rules, toxiproxy
from itest.toxics.connection import Destination
from itest.toxics.control import Control
from itest.toxics.faults import Faults
from itest.toxics.kinds import KINDS
from itest.toxics.relay import Relay, listen, original
from itest.toxics.session import SOCKET


def main() -> None:
    """Be there until SIGTERM. Raises ItestError where the machine cannot do it; then nothing is changed."""
    asyncio.run(serve())


async def serve() -> None:
    """Place the redirect, be told what to do, take all of it away."""
    relay = Relay()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    interfaces = Path("/proc/net/if_inet6")  # which is not there where the kernel has no IPv6
    faults = Faults(relay, rules.families(interfaces.read_text("ascii") if interfaces.exists() else ""))
    alone, following_client = _alone(), orphaned.watch(stopped.set)
    await _listen(int(os.environ.get("FAULTS_PORT", toxiproxy.PORT)), faults)
    try:
        faults.can = await _place(relay, faults.families)
        Path(SOCKET).unlink(missing_ok=True)
        await Control(faults).serve(SOCKET)
        following = asyncio.create_task(faults.follow())
        await stopped.wait()
        following.cancel()
    finally:
        await rules.take_away()
        alone.close()
        following_client.close()


def _alone() -> socket.socket:
    """Holds the name, for all of this network namespace, by which another sidecar knows that there is one already."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind("\0itest-faults")
    except OSError:
        raise ItestError("usage", "there is a sidecar in this network namespace already", cause="faults") from None
    return lock


async def _listen(port: int, faults: Faults) -> None:
    try:
        await api.serve("0.0.0.0", port, toxiproxy.Toxiproxy(faults).handle)
    except OSError as error:
        raise ItestError(
            "engine",
            f"cannot listen at port {port} of this network namespace: {os.strerror(error.errno or 0)}",
            hint="set FAULTS_PORT to one that the service does not use",
            cause="faults",
        ) from None


async def _place(relay: Relay, families: Sequence[rules.Family]) -> dict[str, str]:
    """Get in between. Returns by kind why this machine cannot, "" if it can."""
    listeners = {one: listen(one.listener, 0) for one in families}
    await rules.place({one: listener.getsockname()[1] for one, listener in listeners.items()})
    before = await open_before.close()  # until then what is redirected waits, or ours would be among them
    for listener in listeners.values():
        relay.accept(listener, _where)
    if before.number:
        print(f"connections that were open before: {before.number}, {before.why_not or 'closed'}", flush=True)
    packets = await rules.hook_up(families)
    return {"redirect": "", "open_before": before.why_not, **dict.fromkeys(KINDS, ""), **packets}


def _where(client: socket.socket) -> Destination | None:
    try:
        to = original(client)
    except OSError:
        return None
    return None if (to.host, to.port) == client.getsockname()[:2] else to  # it came here of its own accord


if __name__ == "__main__":
    run_verb(main)
