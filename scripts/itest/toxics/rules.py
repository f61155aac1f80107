"""What the packet filter of the client's network namespace does for us, in chains of our own.

Taken away as a whole; nothing that others put there is touched. docs: iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itest.errors import ItestError
from itest.toxics import commands
from itest.toxics.connection import MARK
from itest.toxics.kinds import parameters

REDIRECT, OUT, IN = "itest-redirect", "itest-out", "itest-in"
# Before addresses are translated, so that what is lost is what the client itself sends and receives: no answer, no
# acknowledgement, as if the wire were cut.
HOOKS = {"nat": {REDIRECT: "OUTPUT"}, "mangle": {OUT: "OUTPUT", IN: "INPUT"}}
EMPTY = [f":{chain} - [0:0]" for chain in HOOKS["mangle"]]


@dataclass(frozen=True)
class Family:
    """A version of IP. command: of its packet filter; listener: where redirected connections arrive.

    nobody: an address for documentation alone, RFC 5737 and 3849.
    """

    command: str
    loopback: str
    listener: str
    nobody: str


IPV4 = Family("iptables", "127.0.0.0/8", "127.0.0.1", "192.0.2.1")
IPV6 = Family("ip6tables", "::1/128", "::1", "2001:db8::1")
FAMILIES = (IPV4, IPV6)


@dataclass(frozen=True)
class Rule:
    """A line for the packet filter of an address's family."""

    address: str
    line: str


@dataclass(frozen=True)
class Partition:
    """Packets are lost: the client's, the answers, or (one_way "") both."""

    name = "partition"
    one_way: str = ""

    def rules(self, address: str) -> Iterable[Rule]:
        if self.one_way != "in":
            yield Rule(address, f"-A {OUT} -d {address} -j DROP")
        if self.one_way != "out":
            yield Rule(address, f"-A {IN} -s {address} -j DROP")


@dataclass(frozen=True)
class Loss:
    """So many packets in a hundred are lost, in each direction."""

    name = "loss"
    percent: float

    def rules(self, address: str) -> Iterable[Rule]:
        chance = f"-m statistic --mode random --probability {self.percent / 100:.6f} -j DROP"
        # Once only: between the client and us, and not again between us and the server.
        yield Rule(address, f"-A {OUT} -d {address} -m mark ! --mark {MARK} {chance}")
        yield Rule(address, f"-A {IN} -s {address} -p tcp -i lo {chance}")
        yield Rule(address, f"-A {IN} -s {address} ! -p tcp {chance}")


Packets = Partition | Loss
PACKETS: dict[str, type[Packets]] = {"partition": Partition, "loss": Loss}


def packets(kind: str, given: Mapping[str, Any]) -> Packets:
    """A fault of packets by its name and parameters. Raises ValueError."""
    found = PACKETS[kind](**parameters(PACKETS[kind], given))
    if isinstance(found, Partition) and found.one_way not in ("", "in", "out"):
        raise ValueError(f'partition: one_way is {found.one_way!r}; it is "", "out" or "in"')
    if isinstance(found, Loss) and found.percent > 100:
        raise ValueError(f"loss: percent is {found.percent}, which is out of range")
    return found


def family_of(address: str) -> Family:
    return IPV6 if ":" in address else IPV4


def families(interfaces: str) -> tuple[Family, ...]:
    """Those that reach others. interfaces: /proc/net/if_inet6, whose fourth column is the scope: 00 for global."""
    return FAMILIES if any(line.split()[3] == "00" for line in interfaces.splitlines()) else (IPV4,)


async def place(ports: Mapping[Family, int]) -> None:
    """Redirect all outgoing TCP but loopback's and our own to a port each. Raises ItestError, and nothing is placed."""
    await take_away()
    for family, port in ports.items():
        lines = [
            f":{REDIRECT} - [0:0]",
            f"-A {REDIRECT} -m mark --mark {MARK} -j RETURN",
            f"-A {REDIRECT} -p tcp ! -d {family.loopback} -j REDIRECT --to-ports {port}",
            f"-I OUTPUT -j {REDIRECT}",
        ]
        if said := await _restore(family, "nat", lines):
            await take_away()
            raise ItestError(
                "engine",
                f"cannot redirect connections: {said}",
                hint="the container needs NET_ADMIN, and the kernel nf_tables with nat and REDIRECT",
                cause="faults",
            )


async def take_away() -> None:
    """Remove all that is ours, also what one left that was killed. Raises ItestError."""
    for family in FAMILIES:
        there = (await commands.run(f"{family.command}-save")).printed.splitlines()
        for table, chains in HOOKS.items():
            jumps = [f"-A {hook} -j {chain}" for chain, hook in chains.items()]
            ours = [chain for chain in chains if any(line.startswith(f":{chain} ") for line in there)]
            lines = [line.replace("-A", "-D", 1) for line in there if line in jumps]
            lines += [f"{option} {chain}" for option in ("-F", "-X") for chain in ours]
            if lines and (said := await _restore(family, table, lines)):
                hint = "start the service again: it gets a new network namespace"
                raise ItestError(
                    "engine", f"cannot remove rules of {family.command}: {said}", hint=hint, cause="faults"
                )


async def hook_up(families: Sequence[Family]) -> dict[str, str]:
    """Let packets be lost, and try whether they can be. Returns by kind why not, "" if they can."""
    hooks = [f"-I {hook} -j {chain}" for chain, hook in HOOKS["mangle"].items()]
    if said := await _each(families, {family: [*EMPTY, *hooks] for family in FAMILIES}):
        return dict.fromkeys(PACKETS, said)
    harmless = [rule for family in families for rule in Loss(percent=0).rules(family.nobody)]
    loss = await lose(families, harmless)
    await lose(families, [])
    return {"partition": "", "loss": loss}


async def lose(families: Iterable[Family], rules: Sequence[Rule]) -> str:
    """These packets are lost from now on, and no others. Returns why not, "" if they are."""
    of_each = {family: [one.line for one in rules if family_of(one.address) is family] for family in FAMILIES}
    return await _each(families, {family: [*EMPTY, *lines] for family, lines in of_each.items()})


async def _each(families: Iterable[Family], lines: Mapping[Family, Sequence[str]]) -> str:
    return "; ".join([said for family in families if (said := await _restore(family, "mangle", lines[family]))])


async def _restore(family: Family, table: str, lines: Sequence[str]) -> str:
    """All lines or none of them."""
    text = "\n".join([f"*{table}", *lines, "COMMIT", ""])
    return (await commands.run(f"{family.command}-restore", "--noflush", "--wait", given=text)).refused
