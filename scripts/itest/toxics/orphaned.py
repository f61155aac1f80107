"""The end of the service that the sidecar stands beside: its network namespace has lost what led out of it.

A service that is started again has another namespace, in which this one's rules are not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

RTMGRP_LINK = 1  # changes of interfaces, see rtnetlink(7)
DOCKERS = "eth"  # how interfaces begin that docker makes in a container


def watch(orphaned: Callable[[], None]) -> socket.socket:
    """Call when the last of docker's interfaces goes. Returns what to close when that is of no interest any more."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    link.setblocking(False)
    link.bind((0, RTMGRP_LINK))

    def look() -> None:
        with suppress(OSError):  # more at a time than fits: something has changed all the same
            link.recv(1 << 16)
        if not any(name.startswith(DOCKERS) for _, name in socket.if_nameindex()):
            orphaned()

    asyncio.get_running_loop().add_reader(link, look)
    return link
