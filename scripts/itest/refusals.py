"""What docker's refusals mean: category, cause and what mends it, from the words that it said."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from itest import holders
from itest.errors import Category, ItestError
from itest.holders import Holder

if TYPE_CHECKING:
    from python_on_whales.exceptions import DockerException

KNOWN: tuple[tuple[str, Category, str, str], ...] = (  # phrase, category, cause, hint
    ("no space left on device", "engine", "disk", "docker system df; docker system prune"),
    ("Cannot connect to the Docker daemon", "engine", "unreachable", "make engine"),
    ("No such image", "image", "missing", "make images"),
    ("is missing a value", "usage", "config", "set the variable that the message names"),
)
TAKEN = ("port is already allocated", "address already in use")  # by a container; by a process of the host
POOL = ("address pools have been fully subnetted", "non-overlapping IPv4 address pool among the defaults")
ADDRESS = re.compile(r"(?:Bind for|listen tcp4?|bind host port(?: for)?) ((?:\d+\.){3}\d+:\d+)")


def explain(
    error: DockerException,
    category: Category,
    cause: str,
    what: str,
    *,
    profile: str,
    port: Callable[[int], Holder] = holders.of_port,
    networks: Callable[[], Holder] = holders.of_networks,
) -> ItestError:
    """The error that a person sees for a docker command that failed.

    category, cause: where docker's words are none that are known. profile: what the stack was started with, if any.
    port, networks: say who has one, and them.
    """
    words = _last_words(error.stderr or error.stdout or "")
    if error.return_code == 130:  # the terminal sent Ctrl-C to docker too
        return ItestError("interrupted", f"{what}: interrupted", cause="interrupted")
    if any(phrase in words for phrase in TAKEN):
        return _taken(words, what, profile, port)
    if any(phrase in words for phrase in POOL):
        having = networks()
        problem = f"{what}: the engine has no address left for a network: there are {having.name}"
        return ItestError("engine", problem, hint=having.hint, cause="pool")
    for phrase, its_category, its_cause, hint in KNOWN:
        if phrase in words:
            return ItestError(its_category, f"{what}: {words}", hint=hint, cause=its_cause)
    return ItestError(category, f"{what}: {words}", cause=cause)


def _taken(words: str, what: str, profile: str, port: Callable[[int], Holder]) -> ItestError:
    """A port that something else has: which, by whom, and how to get at it or around it."""
    found = ADDRESS.search(words)
    address = found[1] if found else ""
    owner = port(int(address.rpartition(":")[2])) if address else Holder()
    problem = f"{address} is taken" if address else words
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
