"""What docker's refusals mean: category, cause and what mends it, from the words that it said and the containers that
they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from itest import holders, states
from itest.containers import Container, logs
from itest.errors import Category, ItestError
from itest.holders import Holder
from itest.machine import disk

if TYPE_CHECKING:
    from python_on_whales.exceptions import DockerException

KNOWN: tuple[tuple[str, Category, str, str], ...] = (  # phrase, category, cause, hint
    ("Cannot connect to the Docker daemon", "engine", "unreachable", "make engine"),
    ("No such image", "image", "missing", "make images"),
    ("is missing a value", "usage", "config", "set the variable that the message names"),
)
TAKEN = ("port is already allocated", "address already in use")  # by a container; by a process of the host
POOL = ("address pools have been fully subnetted", "non-overlapping IPv4 address pool among the defaults")
TAIL = 15  # lines of the log of the service that is to blame
# The service that others waited for in vain, by its name or by that of its container.
AWAITED = re.compile(r'(?:^service "|dependency failed to start: container )([\w.-]+)')
PROGRESS = re.compile(r"^ *Container (\S+) +(\w+)", re.MULTILINE)
ADDRESS = re.compile(r"(?:Bind for|listen tcp4?|bind host port(?: for)?) ((?:\d+\.){3}\d+:\d+)")


def explain(
    error: DockerException,
    category: Category,
    cause: str,
    what: str,
    *,
    profile: str,
    project: str = "",
    among: Callable[[], Mapping[str, Container]] = dict,
    suite: str = "…",
    port: Callable[[int], Holder] = holders.of_port,
    networks: Callable[[], Holder] = holders.of_networks,
) -> ItestError:
    """The error that a person sees for a docker command that failed.

    category, cause: where docker's words are none that are known. profile: what the stack was started with, if any.
    project, among: the compose project, and what gets its containers by service: one of them may be to blame.
    suite: the one that a hint tells to start by hand.
    port, networks: say who has one, and them.
    """
    output = error.stderr or error.stdout or ""
    words = _last_words(output)
    if error.return_code == 130:  # the terminal sent Ctrl-C to docker too
        return ItestError("interrupted", f"{what}: interrupted", hint="run it again", cause="interrupted")
    if any(phrase in words for phrase in TAKEN):
        return _taken(words, what, profile, port)
    if any(phrase in words for phrase in POOL):
        having = networks()
        problem = f"{what}: the engine has no address left for a network: there are {having.name}"
        return ItestError("engine", problem, hint=having.hint, cause="pool")
    if disk.NO_SPACE in words:
        return disk.full(what, words)
    for phrase, its_category, its_cause, hint in KNOWN:
        if phrase in words:
            return ItestError(its_category, f"{what}: {states.plain(words)}", hint=hint, cause=its_cause)
    hint = "" if category == "usage" else "make doctor looks for what is wrong here"
    if category == "service" and (blamed := _blamed(words, output, project, among(), suite)):
        return blamed
    return ItestError(category, f"{what}: {states.plain(words)}", hint=hint, cause=cause)


def _blamed(words: str, output: str, project: str, among: Mapping[str, Container], suite: str) -> ItestError | None:
    """The service that could not start, or that another one waited for in vain; None where that can't be told."""
    if awaited := AWAITED.search(words):
        one = next((one for one in among.values() if awaited[1] in (one.service, one.name)), None)
        if one and (problem := states.verdict(one, suite)):
            cause, told, hint = problem
            told = told.removesuffix(" before it was ready")
            return _at_fault(one, cause, f"{told}, and what depends on it was not started", hint)
    for one in among.values():
        if one.state.get("Error"):
            return _at_fault(one, "start", *states.refused(one.state["Error"], one.service, one.image))
    reached = dict(PROGRESS.findall(output))  # each container with the last that was said of it
    uncreated = [name for name, word in reached.items() if word == "Creating"]
    if project and len(uncreated) == 1:
        service = uncreated[0].removeprefix(f"{project}-").rpartition("-")[0]
        told, hint = states.refused(words, service)
        return ItestError("service", f"service {service}: {told}", hint=hint, cause="start", service=service)
    return None


def _at_fault(one: Container, cause: str, told: str, hint: str) -> ItestError:
    seen = "\n".join(f"log: {line}" for line in logs(one, tail=TAIL, timestamps=False).splitlines())
    message = f"service {one.service}: {told}"
    return ItestError("service", message, cause=cause, hint=hint, evidence=seen, service=one.service)


def _taken(words: str, what: str, profile: str, port: Callable[[int], Holder]) -> ItestError:
    """A port that something else has: which, by whom, and how to get at it or around it."""
    found = ADDRESS.search(words)
    address = found[1] if found else ""
    owner = port(int(address.rpartition(":")[2])) if address else Holder()
    problem = f"{address} is taken" if address else states.plain(words)
    who = "docker ps shows by whom" if TAKEN[0] in words else "ss -ltnp shows by whom"
    if owner.name:
        problem, who = f"{problem} by {owner.name}", owner.hint
    hint = f"{who}; or leave out PROFILE={profile}" if profile else who
    return ItestError("engine", f"{what}: {problem}", hint=hint, cause="port")


def _last_words(output: str) -> str:
    """The last line that says something, without compose's progress lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and " level=warning " not in line]
    progress = ("Container ", "Network ", "Volume ", "Image ")
    said = [line for line in lines if not line.startswith(progress)] or lines
    return said[-1] if said else "docker said nothing"
