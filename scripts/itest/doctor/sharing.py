"""What keeps two runs from sharing a machine, beyond what a run refuses anyway: ports and addresses that are fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from itest.doctor.finding import Finding
from itest.doctor.subject import Subject
from itest.suite.resolved import fixed_ports

ONE_AT_A_TIME = "two runs at a time can't both start it"


def examine(subject: Subject) -> Iterator[Finding]:
    """What is fixed by the files. A profile that fixes ports is somebody's choice."""
    if len(subject.suite.env_files) == 1:
        yield from _ports(subject)
    yield from _subnets(subject)
    yield from _addresses(subject)


def _ports(subject: Subject) -> Iterator[Finding]:
    fixed = list(fixed_ports(subject.config))
    times = Counter(port for _, _, port in fixed)
    for name, address, (port, protocol) in fixed:
        if times[port, protocol] > 1:
            continue  # `shared-port` says worse of it
        variable = f"{name.upper().replace('-', '_')}_PORT"
        what = f"`{name}` publishes the fixed port {port}"
        mend = f'"{address or "127.0.0.1"}:${{{variable}:-}}:…": any free one, unless a profile sets {variable}'
        yield subject.finding("warning", "fixed-port", subject.at_service(name, "ports"), what, ONE_AT_A_TIME, mend)


def _subnets(subject: Subject) -> Iterator[Finding]:
    for name, network in (subject.config.get("networks") or {}).items():
        if any(pool.get("subnet") for pool in ((network or {}).get("ipam") or {}).get("config") or []):
            place = subject.at("networks", name, "ipam")
            what = f"network `{name}` has a fixed subnet"
            mend = "remove `ipam`: the engine then takes a free one of its pools"
            yield subject.finding("warning", "fixed-subnet", place, what, ONE_AT_A_TIME, mend)


def _addresses(subject: Subject) -> Iterator[Finding]:
    for name, service in subject.services:
        for network, one in (service.get("networks") or {}).items():
            if {"ipv4_address", "ipv6_address"} & (one or {}).keys():
                place = subject.at("services", name, "networks", network)
                what = f"`{name}` has a fixed address in network `{network}`"
                mend = f"remove it: other services reach it as `{name}`"
                why = "it needs a subnet that no other run, and no VPN, has"
                yield subject.finding("warning", "fixed-address", place, what, why, mend)
