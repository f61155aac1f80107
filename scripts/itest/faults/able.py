"""Which faults are possible on a stack, here and now, and why the others are not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from itest import containers
from itest.containers import Container
from itest.errors import ItestError
from itest.faults import sidecar
from itest.faults.book import Book
from itest.faults.clock import is_prepared
from itest.faults.filling import FillDisk
from itest.faults.session import Session
from itest.stack.stack import Stack

YES = "yes"
PACKETS = ("partition", "loss")  # the rest needs nothing of the kernel


def able(stack: Stack, kinds: Iterable[str]) -> dict[str, str]:
    """For each kind `yes`, the services that it is possible for, or `no: why`."""
    raw = _inspected(stack)
    limited = [name for name, one in raw.items() if one["HostConfig"]["Memory"]]
    disks = _disks(stack, [(name, path) for name, one in raw.items() for path in _limited_tmpfs(one)])
    clocks = [name for name in raw if is_prepared(stack.containers[name])]
    some = {
        "oom": ", ".join(limited) or "no: no service has a mem_limit",
        "fill_disk": disks or "no: no service has a tmpfs with a size=",
        "clock": ", ".join(clocks) or "no: no service extends compose/clocked.yaml",
    }
    return {kind: YES for kind in kinds} | _between(stack) | some


def placed(stack: Stack) -> dict[str, Container]:
    """The sidecars that are there: client -> sidecar."""
    return {client: one for client, one in sidecar.of(stack.name).items() if one.running}


def _between(stack: Stack) -> dict[str, str]:
    """What the first sidecar that is there says; nothing of what is not known: to place one would change the stack."""
    for client, one in placed(stack).items():
        session = Session(one.id, client)
        try:
            return {kind: f"no: {why}" for kind, why in session.can.items() if isinstance(why, str) and why}
        finally:
            session.close()
    return {kind: "yes, if the kernel can: it is tried when it is asked for" for kind in PACKETS}


def _disks(stack: Stack, limited: Iterable[tuple[str, str]]) -> str:
    """Those that can be filled, by service and path; where none can, why."""
    can, why = [], []
    for service, path in limited:
        try:
            FillDisk(Book(stack), service, path).refuse()
            can.append(f"{service} {path}")
        except ItestError as error:
            why.append(error.message.removeprefix("fault fill_disk "))
    return ", ".join(can) or (f"no: {'; '.join(why)}" if why else "")


def _inspected(stack: Stack) -> dict[str, dict[str, Any]]:
    """What docker knows of each service's container."""
    stack.refresh()
    ids = {name: one.id for name, one in stack.containers.items() if name in stack.suite.services}
    return dict(zip(ids, json.loads(containers.docker("container", "inspect", *ids.values())), strict=True))


def _limited_tmpfs(raw: Mapping[str, Any]) -> list[str]:
    tmpfs: Mapping[str, str] = raw["HostConfig"].get("Tmpfs") or {}
    return sorted(path for path, options in tmpfs.items() if "size=" in options)
