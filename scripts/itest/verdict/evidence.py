"""What is kept of a suite, green or red, before its stack goes: resolved files, every service's log, the capsule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from itest.errors import ItestError
from itest.stack.stack import Stack
from itest.verdict import atomic
from itest.verdict.mask import Masker

TAIL = 40  # lines of each service's log in failure.txt


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
    logs = {f"{service}{whose}": text for service, text in zip(services, texts, strict=True)}
    (folder / "logs").mkdir(exist_ok=True)
    for service, log in logs.items():
        (folder / "logs" / f"{service}.log").write_text(log, encoding="utf-8")
    return logs


def keep_egress(folder: Path, text: str, masker: Masker) -> None:
    """egress.json: what a sealed stack wanted from outside, JSON already."""
    atomic.write(folder / "egress.json", masker.text(text))


def keep_failure(
    folder: Path, suite: str, error: ItestError, stack: Stack | None, logs: Mapping[str, str], masker: Masker
) -> Path:
    """failure.json and failure.txt: one line that states the cause, then what was seen, then how to see it again."""
    containers = {name: one.summary for name, one in stack.containers.items()} if stack else {}
    reproduce = f"make itest SUITE={suite}" if suite else "make itest"
    capsule = {
        "category": error.category,
        "cause": error.cause,
        "message": error.message,
        "hint": error.hint,
        "evidence": error.evidence.splitlines(),
        "containers": containers,
        "reproduce": reproduce,
    }
    atomic.write(folder / "failure.json", masker.text(json.dumps(capsule, indent=2, ensure_ascii=False) + "\n"))
    lines = [f"{error.category}/{error.cause}: {error.message}", *error.evidence.splitlines()]
    lines += [f"hint: {error.hint}"] if error.hint else []
    lines += ["", *(f"{name}: {state}" for name, state in containers.items())]
    for service, log in logs.items():
        lines += ["", f"--- {service}, last {TAIL} lines", *log.splitlines()[-TAIL:]]
    lines += ["", f"again: {reproduce}", f"by hand: make up SUITE={suite}" if suite else ""]
    atomic.write(folder / "failure.txt", masker.text("\n".join(lines).rstrip() + "\n"))
    return folder / "failure.txt"
