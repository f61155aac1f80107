"""The mock's process: mitmproxy as a library, with no more of it than answering takes.

`python -O -m itest.mock.server` in the container, see compose/layers/mock.yaml. Of mitmproxy's thirty add-ons four
stay, and ours: against `mitmdump` that halves the time of a request, and saves a fifth of the memory.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from itest.errors import ItestError, run_verb
from itest.mock import stubfile
from itest.mock.detail import Detail
from itest.mock.stubs import Stub

ADMIN = 1080
PLAIN = ("regular@8080", "regular@80")  # by URL or as a proxy; by a name that leads here
# As if in front of a server: the only way in which mitmproxy lets a client that didn't ask for a proxy have HTTP/2. The
# name is nobody's (RFC 6761), and nothing connects to it.
TLS = "reverse:http://nowhere.invalid@443"


def main() -> None:
    """Serve until SIGTERM. Raises ItestError for a stub that can't be read."""
    logging.basicConfig(level=logging.WARNING)
    modes = os.environ.get("MOCK_MODES", " ".join((*PLAIN, TLS))).split()
    stubs = read_stubs(Path(os.environ.get("MOCK_ROOT", "/")), os.environ.get("MOCK_STUBS", ""))
    asyncio.run(serve(stubs, modes, int(os.environ.get("MOCK_ADMIN", ADMIN)), Detail.of(os.environ)))


def read_stubs(root: Path, folders: str) -> tuple[Stub, ...]:
    """The stubs of every scope. folders: below root, by spaces. Raises ItestError (usage) for one that isn't there."""
    for folder in folders.split():
        if not (root / folder).is_dir():
            hint = "MOCK_STUBS in the suite's .env names folders, from the repository's root: fixtures/<set>/stubs"
            raise ItestError("usage", f"mock: there is no folder {folder}", hint=hint, cause="config")
    return tuple(stub for folder in folders.split() for stub in stubfile.read_folder(root, Path(folder)))


async def serve(stubs: Sequence[Stub], modes: Sequence[str], admin: int, detail: Detail) -> None:
    """Answer. modes: mitmproxy's, `regular@8080`; admin: the port where the mock is told what to do."""
    without_unused_addons()
    from mitmproxy.addons import core, errorcheck, next_layer, proxyserver, tlsconfig
    from mitmproxy.master import Master
    from mitmproxy.options import Options

    from itest.mock import authority
    from itest.mock.addon import Mock

    master = Master(Options())
    mock = Mock(stubs, authority.make(Path(os.environ.get("MOCK_CA", "/ca"))), list(modes), admin, detail)
    theirs = (core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), tlsconfig.TlsConfig())
    master.addons.add(*theirs, errorcheck.ErrorCheck(), mock)
    master.addons.handle_lifecycle = dispatch((*theirs, mock))
    mock.configure_master(master)
    # What is there now stays, so the collector need not look at it again while clients wait.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 50)  # the journal grows, and going through it all takes 30 ms each time
    await master.run()


def without_unused_addons() -> None:
    """Keep the import of one of mitmproxy's add-ons from importing all: a web framework, LDAP, a browser."""
    found = importlib.util.find_spec("mitmproxy.addons")
    assert found is not None
    package = ModuleType("mitmproxy.addons")
    package.__path__ = list(found.submodule_search_locations or ())
    sys.modules["mitmproxy.addons"] = package


def dispatch(addons: Sequence[object]) -> Callable[[Any], Awaitable[None]]:
    """Calls the add-ons' methods for an event, as mitmproxy does, but looks for them only once."""
    from mitmproxy.addonmanager import safecall

    listeners: dict[str, list[Callable[..., Awaitable[None] | None]]] = {}

    async def handle(event: Any) -> None:
        if event.name not in listeners:
            found = (getattr(addon, event.name, None) for addon in addons)
            listeners[event.name] = [listener for listener in found if listener]
        if not listeners[event.name]:  # half of them; to find out an event's arguments is not cheap either
            return
        arguments = event.args()
        for listener in listeners[event.name]:
            with safecall():  # a bug is logged with its traceback, and the next connection is served
                if (waiting := listener(*arguments)) is not None:
                    await waiting

    return handle


if __name__ == "__main__":
    run_verb(main)
