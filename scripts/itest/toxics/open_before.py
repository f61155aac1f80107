"""Connections of the client's that were open before the redirect: it does not know them, so they are closed, once."""

from __future__ import annotations

from dataclasses import dataclass

from itest.toxics import commands


@dataclass(frozen=True)
class Closed:
    """How many there were; why_not: what kept them from being closed, "" if they are."""

    number: int
    why_not: str = ""


async def close() -> Closed:
    """Close those that the client opened, by RST at both ends; its own clients' and loopback's stay."""
    found = await _outgoing()
    if not found:
        return Closed(0)
    each = " or ".join(f"( src {local} and dst {remote} )" for local, remote in found)
    refused = (await commands.run("ss", "-K", "-H", "-t", "-n", each)).refused
    left = set(await _outgoing()) & set(found)
    return Closed(len(found), (refused or "the kernel cannot close other programs' sockets") if left else "")


async def _outgoing() -> list[tuple[str, str]]:
    """Local and remote address of each; none where `ss` cannot say."""
    listening = await commands.run("ss", "-H", "-l", "-t", "-n")
    established = await commands.run("ss", "-H", "-t", "-n", "state", "established")
    return outgoing(listening.printed, established.printed)


def outgoing(listening: str, established: str) -> list[tuple[str, str]]:
    """What `ss -H` shows of both, reduced to local and remote address of those that were opened here, to elsewhere.

    A connection whose other end is here as well is one that the redirect has brought already.
    """
    served = {_port(local) for local, _ in _addresses(listening)}
    pairs = _addresses(established)
    clients = {_plain(remote) for local, remote in pairs if _port(local) in served}
    return [
        (local, remote)
        for local, remote in pairs
        if _port(local) not in served
        and _plain(local) not in clients
        and not _plain(remote).startswith(("127.", "[::1]:"))
    ]


def _addresses(printed: str) -> list[tuple[str, str]]:
    """The two columns that are addresses, among whatever else it shows."""
    lines = ([word for word in line.split() if ":" in word] for line in printed.splitlines())
    return [(words[0], words[1]) for words in lines if len(words) > 1]


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _plain(address: str) -> str:
    """An IPv4 address as such, also where a socket for IPv6 has it."""
    host, _, port = address.rpartition(":")
    return f"{host.removeprefix('[::ffff:').rstrip(']')}:{port}" if host.startswith("[::ffff:") else address
