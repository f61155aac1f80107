"""What is kept of a suite, green or red, before its stack goes: resolved files, every service's log, its egress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from itest.containers import logs
from itest.errors import ItestError
from itest.faults import sidecar
from itest.stack.probes import Unpublished
from itest.stack.stack import Stack
from itest.stack.watch import Happened
from itest.verdict import atomic
from itest.verdict.mask import Masker


def keep_config(folder: Path, config: Mapping[str, Any], masker: Masker) -> None:
    """compose.yaml: what compose resolved the layers to, secrets masked."""
    import yaml

    text = yaml.safe_dump(masker.config(config), sort_keys=False, allow_unicode=True)
    atomic.write(folder / "compose.yaml", text)


def keep_logs(folder: Path, stack: Stack, masker: Masker) -> dict[str, str]:
    """logs/<service>.log of every service that has a container, of a worker's own <service>.worker<slot>.log.

    Returns them too, by the file's name without its end.
    """
    services = sorted(stack.containers)
    if not services:
        return {}
    with ThreadPoolExecutor(len(services)) as pool:
        texts = [masker.text(log) for log in pool.map(stack.logs, services)]
    whose = f".worker{stack.slot}" if stack.slot else ""
    kept = {f"{service}{whose}": text for service, text in zip(services, texts, strict=True)}
    (folder / "logs").mkdir(exist_ok=True)
    for service, log in kept.items():
        (folder / "logs" / f"{service}.log").write_text(log, encoding="utf-8")
    return kept


def keep_sidecars(folder: Path, stack: Stack, masker: Masker) -> None:
    """logs/faults.<client>.log of what stood between a client and its servers, where it said anything."""
    whose = f".worker{stack.slot}" if stack.slot else ""
    for client, one in sidecar.of(stack.own.name if stack.own else stack.name).items():
        if log := logs(one):
            atomic.write(folder / "logs" / f"faults.{client}{whose}.log", masker.text(log))


def keep_mocks(folder: Path, stack: Stack, masker: Masker) -> None:
    """mock.json and mock.txt: the journal of a mock, as data and for reading; of a worker's own mock.worker<slot>.*.

    One that can't be reached any more leaves none; its log says why.
    """
    whose = f".worker{stack.slot}" if stack.slot else ""
    for name, service in stack.suite.services.items():
        if service.kind != "mock" or name not in stack.containers:
            continue
        from itest.mocking import told
        from itest.mocking.admin import Admin

        with suppress(ItestError, Unpublished), Admin(stack.admin(name)) as admin:
            journal = admin.journal()
            text = json.dumps(journal.entries, indent=1, ensure_ascii=False)
            atomic.write(folder / f"{name}{whose}.json", masker.text(f"{text}\n"))
            atomic.write(folder / f"{name}{whose}.txt", masker.text(told.text(journal.entries, journal.lost)))


def keep_faults(folder: Path, injected: Path, masker: Masker) -> list[Happened]:
    """faults.json: what tests injected, when and for how long. injected: a line each; see faults/book.py.

    Returns it too, by its beginning.
    """
    if not injected.exists():
        return []
    noted = [json.loads(line) for line in injected.read_text(encoding="utf-8").splitlines()]
    # Of one, a line when it began and a line when it ended.
    latest = {(one["fault"], one["owner"], one["began"]): one for one in noted}
    periods = sorted(latest.values(), key=lambda one: one["began"])
    atomic.write(folder / "faults.json", masker.text(f"{json.dumps(periods, indent=1, ensure_ascii=False)}\n"))
    return [Happened(one["began"], "", "faults", "", "fault", _injected(one)) for one in periods]


def _injected(period: Mapping[str, Any]) -> str:
    """A fault and how long it was there, of one that could not be healed that it still is."""
    begun, ended = period["began"], period["ended"]
    return f"{period['fault']}, {'still there' if ended is None else f'for {ended - begun:.2f} s'}"


def keep_egress(folder: Path, text: str, standins: str, masker: Masker) -> None:
    """egress.json: what a sealed stack wanted from outside, JSON already. egress.yaml: how the mock answers instead."""
    atomic.write(folder / "egress.json", masker.text(text))
    if standins:
        atomic.write(folder / "egress.yaml", masker.text(standins))
