"""Services that died while tests ran, without a test having meant it: the tests that failed for it are not to blame."""

from __future__ import annotations

from pathlib import Path

from itest.containers import Container, logs
from itest.errors import ItestError
from itest.stack.ready import meaning, verdict
from itest.stack.stack import Stack

TAIL = 15  # lines of the log that are shown at once


def died(stack: Stack, announced: Path) -> ItestError | None:
    """The first service that is dead, stores before what depends on them; None when all are as the tests left them.

    announced: what tests did to services, a line `<verb> <service>` each (see compose.Project.act).
    """
    meant = {service: verb for verb, service in (line.split() for line in _lines(announced))}  # the last verb counts
    order = [*stack.suite.stores, *stack.containers]
    for container in (stack.containers[name] for name in dict.fromkeys(order) if name in stack.containers):
        if meant.get(container.service) in ("kill", "stop"):
            continue
        if problem := _problem(container):
            cause, words, hint = problem
            seen = "\n".join(f"log: {line}" for line in logs(container, tail=TAIL, timestamps=False).splitlines())
            whose = f" of worker {stack.slot}" if stack.slot else ""
            message = f"service {container.service}{whose}: {words} during the tests"
            return ItestError("service", message, cause=cause, hint=hint, evidence=seen)
    return None


def cannot_check(container: Container) -> str:
    """Why a container's healthcheck can't even run, "" when it can. Plain `docker compose up --wait` fails for it."""
    entries = (container.state.get("Health") or {}).get("Log") or []
    broken = [entry["Output"].strip() for entry in entries if entry["ExitCode"] in (-1, 126, 127)]
    return broken[-1] if broken else ""


def _problem(container: Container) -> tuple[str, str, str] | None:
    state = container.state
    if state.get("OOMKilled"):
        return verdict(container)
    if state["Status"] in ("exited", "dead"):
        hint = "the log says why; a test that means to end a service calls stack.kill or stack.stop"
        return "exited", f"exited with {meaning(state['ExitCode'])}", hint
    problem = verdict(container)
    return problem if problem and problem[0] in ("oom", "restarting") else None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
