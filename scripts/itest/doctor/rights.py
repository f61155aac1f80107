"""Where a service may do more than those of this repository: rights, limits, and who reaches it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itest.doctor.finding import Finding, Severity
from itest.doctor.subject import Config, Subject
from itest.doors import DOOR

DEFAULTS = "extends: {file: defaults.yaml, service: defaults}"  # which has this, and what the others here are about
NO_NEW = re.compile(r"no-new-privileges(?:[:=]true)?")
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


@dataclass(frozen=True)
class Rule:
    """key: of the service, where it stands or would; looser: of a resolved service, whether it breaks the rule."""

    severity: Severity
    id: str
    key: str
    looser: Callable[[Config], bool]
    what: str
    why: str
    mend: str


def _limit(service: Config, kind: str) -> Any:
    return (((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}).get(kind)


def _published_to_all(service: Config) -> bool:
    return any(port.get("host_ip") in ("0.0.0.0", "::") for port in service.get("ports") or [])


def _shares_the_host(service: Config) -> bool:
    return "host" in (service.get("network_mode"), service.get("pid"), service.get("ipc"))


def _has_the_socket(service: Config) -> bool:
    mounts = service.get("volumes") or []
    return any(str(mount.get("source", "")).endswith(("/docker.sock", "/containerd.sock")) for mount in mounts)


RULES = (
    Rule(
        "warning",
        "privileged",
        "privileged",
        lambda one: bool(one.get("privileged")),
        "is privileged",
        "it may do on the engine's machine whatever root may",
        "remove `privileged`, and name in `cap_add` what it needs",
    ),
    Rule(
        "warning",
        "host-namespace",
        "network_mode",
        _shares_the_host,
        "shares the network, the processes or the memory of the host",
        "it reaches everything on this machine, and its ports are fixed",
        "remove `network_mode`, `pid` and `ipc`, and publish its ports on 127.0.0.1",
    ),
    Rule(
        "warning",
        "docker-socket",
        "volumes",
        _has_the_socket,
        "is given the engine's socket",
        "whoever has it is root on the engine's machine, and can remove other runs' stacks",
        "remove the mount; what the test needs from the engine, do in the test",
    ),
    Rule(
        "warning",
        "published-to-all",
        "ports",
        _published_to_all,
        "publishes a port on every address of this machine",
        "everybody on the network reaches a test service with a known password",
        'begin the port with 127.0.0.1: "127.0.0.1::5432"',
    ),
    Rule(
        "warning",
        "no-memory-limit",
        "mem_limit",
        lambda one: not (one.get("mem_limit") or _limit(one, "memory")),
        "has no memory limit",
        "a leak in it takes the whole machine, and the kernel kills whom it likes",
        "mem_limit: 512m",
    ),
    Rule(
        "note",
        "capabilities",
        "cap_drop",
        lambda one: not one.get("privileged") and "ALL" not in [str(cap).upper() for cap in one.get("cap_drop") or []],
        "keeps the capabilities that the engine gives",
        "among them raw sockets, which a service hardly ever needs",
        f"{DEFAULTS}, or cap_drop: [ALL] and in `cap_add` what it needs",
    ),
    Rule(
        "note",
        "new-privileges",
        "security_opt",
        lambda one: not any(NO_NEW.fullmatch(option) for option in one.get("security_opt") or []),
        "may gain rights by setuid programs",
        "a hole in it then leads to root in its container",
        f'{DEFAULTS}, or security_opt: ["no-new-privileges:true"]',
    ),
    Rule(
        "note",
        "writable-root",
        "read_only",
        lambda one: not one.get("read_only"),
        "may write to its own root file system",
        "that is slower than memory, and hides where it keeps data that a test should see clean",
        f"{DEFAULTS}, or read_only: true; and `tmpfs:` for the folders that it writes to",
    ),
    Rule(
        "note",
        "no-pids-limit",
        "pids_limit",
        lambda one: int(one.get("pids_limit") or _limit(one, "pids") or 0) <= 0,
        "may start any number of processes",
        "a loop that forks stops the whole machine",
        f"{DEFAULTS}, or pids_limit: 200",
    ),
    Rule(
        "note",
        "unbounded-log",
        "logging",
        lambda one: "max-size" not in ((one.get("logging") or {}).get("options") or {}),
        "may log without end",
        "the engine keeps its log on disk for as long as the stack is kept",
        f'{DEFAULTS}, or logging: {{driver: json-file, options: {{max-size: 10m, max-file: "2"}}}}',
    ),
)


def examine(subject: Subject) -> Iterator[Finding]:
    """Where the services of a suite, or its networks, are looser than they need be."""
    for name, service in subject.services:
        for rule in RULES:
            if rule.looser(service):
                place = subject.at_service(name, rule.key)
                yield subject.finding(rule.severity, rule.id, place, f"`{name}` {rule.what}", rule.why, rule.mend)
        yield from _root(subject, name, service)
    yield from _outside(subject)


def _root(subject: Subject, name: str, service: Config) -> Iterator[Finding]:
    user = _user(subject, service)
    if user is not None and user.partition(":")[0] in ("", "0", "root"):
        what = f"`{name}` runs as root"
        why = "a hole in it has root's rights, and what it writes into mounts is root's"
        mend = 'user: "999:999", or USER in its Dockerfile'
        yield subject.finding("warning", "root-user", subject.at_service(name, "user"), what, why, mend)


def _user(subject: Subject, service: Config) -> str | None:
    """Whom a service runs as; None where only an image tells that is not here yet."""
    if "user" in service:
        return str(service["user"])
    if (image := subject.image(service)) is not None:
        return str(image.get("User") or "")
    build = service.get("build") or {}
    dockerfile = Path(build.get("context", ""), build.get("dockerfile", "Dockerfile"))
    said = re.findall(r"(?mi)^USER\s+(\S+)", dockerfile.read_text(errors="replace")) if dockerfile.is_file() else []
    return said[-1] if said and "$" not in said[-1] else None


def _outside(subject: Subject) -> Iterator[Finding]:
    # The door of a sealed stack is there to lead outside, to what a suite lets out.
    others = (service for name, service in subject.services if name != DOOR)
    used = {network for service in others for network in service.get("networks") or {}}
    for name, network in (subject.config.get("networks") or {}).items():
        options = (network or {}).get("driver_opts") or {}
        if name in used and not (network or {}).get("internal") and options.get(MASQUERADE) != "false":
            what = f"the outside answers services in network `{name}`"
            why = "a test can call a third party by mistake, and be red when that is down"
            mend = f'driver_opts: {{{MASQUERADE}: "false"}}, as in compose/base.yaml, or no network of its own'
            yield subject.finding("warning", "open-network", subject.at("networks", name), what, why, mend)
