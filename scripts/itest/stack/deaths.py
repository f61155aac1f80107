"""Services that died without a test having meant it, the one that the others died for first: the root of a failure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from itest.containers import Container, logs, moment
from itest.errors import ItestError
from itest.stack.ready import Needed
from itest.stack.stack import Stack
from itest.states import meaning, plain, verdict

TAIL = 15  # lines of the log that are shown at once
TOGETHER = 1.0  # seconds: docker may note the end of whoever died of it before the end of what it died of
REMEMBERED = 5  # health checks that docker keeps of a container
BEFORE, DURING = "while the stack started", "during the tests"
# What is told of everybody's doing, or of the person's: a dead service explains none of it.
NOT_FOR_IT = ("interrupted", "usage", "image")


@dataclass(frozen=True)
class Death:
    """A service that is dead. when: seconds since the epoch; rank: its place in the order in which services start."""

    service: str
    slot: int
    container: Container
    when: float
    rank: int
    cause: str
    words: str
    hint: str

    def __str__(self) -> str:
        return f"service {self.service}{f' of worker {self.slot}' if self.slot else ''}: {self.words}"


def found(stacks: Sequence[Stack], meant: Collection[tuple[str, str]] = ()) -> list[Death]:
    """The dead services of a stack and of its workers, as far as their last `refresh` tells, the root first.

    meant: project and service of those that tests have ended themselves.
    """
    return rooted([death for stack in stacks for death in _deaths(stack, meant)])


def rooted(dead: Sequence[Death]) -> list[Death]:
    """Deaths in the order in which they are told: the root, then the others by time."""
    if not dead:
        return []
    earliest = min(death.when for death in dead)
    # Of those that died together, the one that starts first is what the others need.
    root = min((one for one in dead if one.when - earliest <= TOGETHER), key=lambda one: one.rank)
    return [root, *sorted((one for one in dead if one is not root), key=lambda one: one.when)]


def explained(dead: Sequence[Death], when: str) -> ItestError:
    """The error that the first of them is, with the others as what came of it. when: BEFORE or DURING."""
    root = dead[0]
    seen = "\n".join(f"log: {line}" for line in logs(root.container, tail=TAIL, timestamps=False).splitlines())
    return ItestError(
        "service",
        f"{root} {when}",
        cause=root.cause,
        hint=root.hint,
        evidence=seen,
        service=root.service,
        chain=[f"{one} {when}" for one in dead[1:]],
    )


def blamed(error: ItestError | None, dead: Sequence[Death], when: str) -> ItestError | None:
    """What is to blame where something failed and services are dead: the first of these, unless it is told already.

    A migration that lost its database, a service that waits for one that is gone: they come to the chain.
    """
    if not dead or (error and error.category in NOT_FOR_IT):
        return error
    root = explained(dead, when)
    if error is None:
        return root
    if error.service == root.service:
        return error.followed_by(root.chain)  # it knows more: what its probe said
    others = [line for line in root.chain if not line.startswith(f"service {error.service}:")]
    return root.followed_by([*others, error.message])


def needed(stack: Stack) -> Needed:
    """The services of a stack that are ready, for those that start after them."""

    def refuse(seen: Sequence[Container]) -> None:
        if dead := found([replace(stack, containers={one.service: one for one in seen})]):
            raise explained(dead, BEFORE)

    return Needed([stack.containers[name].id for name in stack.readiness], refuse)


def meant_by(announced: Path) -> set[tuple[str, str]]:
    """Project and service of those that tests have ended and not started again. announced: see compose.Project.act."""
    text = announced.read_text(encoding="utf-8") if announced.exists() else ""
    last = {(project, service): verb for verb, project, service in (line.split() for line in text.splitlines())}
    return {one for one, verb in last.items() if verb in ("kill", "stop")}


def never_healthy(container: Container) -> str:
    """What keeps a healthcheck from ever succeeding, which plain `docker compose up --wait` waits for; "" for nothing.

    Known of one that can't even run, or that has failed as often as docker remembers.
    """
    entries = (container.state.get("Health") or {}).get("Log") or []
    broken = [entry for entry in entries if entry["ExitCode"] in (-1, 126, 127)]
    words = plain((broken or entries or [{"Output": ""}])[-1]["Output"])
    if broken:
        return f"the healthcheck of {container.service} cannot run: {words}"
    if container.running and len(entries) >= REMEMBERED and all(entry["ExitCode"] for entry in entries):
        return f"the healthcheck of {container.service} has not succeeded once{f': {words}' if words else ''}"
    return ""


def _deaths(stack: Stack, meant: Collection[tuple[str, str]]) -> list[Death]:
    order = list(dict.fromkeys([*stack.suite.stores, *stack.suite.services, *stack.containers]))
    unmeant = (one for one in stack.containers.values() if (one.project, one.service) not in meant)
    own = [one for one in unmeant if not _has_done(stack, one)]
    problems = [(one, _problem(one, stack.suite.name)) for one in own]
    return [
        Death(
            one.service,
            stack.slot if one.service in stack.suite.per_worker else 0,
            one,
            _ended(one),
            order.index(one.service),
            *problem,
        )
        for one, problem in problems
        if problem
    ]


def _has_done(stack: Stack, container: Container) -> bool:
    """Whether it is a one-shot that has ended well."""
    service = stack.suite.services.get(container.service)
    return bool(service and service.ends and container.succeeded)


def _problem(container: Container, suite: str) -> tuple[str, str, str] | None:
    problem = verdict(container, suite)
    if problem and problem[0] == "exited":
        hint = f"{problem[2]}; a test that means to end a service calls stack.kill or stack.stop"
        return "exited", f"exited with {meaning(container.state['ExitCode'])}", hint
    return problem if problem and problem[0] in ("oom", "restarting") else None


def _ended(container: Container) -> float:
    """When it ended. One that still runs, and lost a process for want of memory, may be the reason of any other end."""
    return 0.0 if container.running else moment(container.state["FinishedAt"])
