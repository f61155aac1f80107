"""What is wrong with a container, told from the state that docker keeps of it: cause, words, and what mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from itest.containers import Container

LOOK = "the log says why; `make up SUITE={suite}` starts the same stack and leaves it, to look around"
ENOUGH = 256  # MiB for most services, to find out what one needs
SAID = 60  # characters of what a healthcheck said in a message, which has one line; the evidence has all of it
COMMAND = "correct `command` or `entrypoint` of {service} in its layer, or the image {image}"


@dataclass(frozen=True)
class Exit:
    """What an exit code means. hint: what to do about it, where that is not told by the log alone."""

    meaning: str
    hint: str = LOOK


EXITS = {
    0: Exit(
        "",
        "it came to its end by itself: a service needs a command that stays in the foreground; for one that is to end, "
        "others wait by `condition: service_completed_successfully`",
    ),
    125: Exit("docker could not run it"),
    126: Exit("its command is not executable", f"the log names it; chmod +x it in the image, or {COMMAND}"),
    127: Exit("its command was not found in the image", f"the log names it; {COMMAND}"),
    134: Exit("aborted, SIGABRT"),
    137: Exit(
        "killed, SIGKILL",
        "somebody killed it, or the machine ran out of memory (`sudo dmesg | grep -i oom` tells): JOBS=1 needs less",
    ),
    139: Exit(
        "segmentation fault, SIGSEGV",
        "a bug of the program, or an image for another processor: "
        "docker image inspect --format '{{{{.Architecture}}}}' {image}",
    ),
    143: Exit("asked to stop, SIGTERM", "somebody stopped it, as `docker stop` and `make down` do: run it again"),
}

# What docker puts before and behind the words that matter: which of its parts handed them on.
NOISE = re.compile(
    r"Error response from daemon: |failed to create (?:task for container|shim task): |OCI runtime \w+ failed: "
    r"|runc (?:create|run) failed: |exec failed: |unable to start container process: |error during container init: "
    r"|: unknown$"
)
LONG_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")

# Why docker could not start a container: its words, ours, and what mends it.
REFUSED = (
    (
        r'exec: "(?P<it>[^"]+)": (?:executable file not found|stat .*no such file)',
        'its command "{it}" was not found in image {image} (code 127)',
        "correct `command` or `entrypoint` of {service} in its layer, or name an image that has it",
    ),
    (
        r'exec: "(?P<it>[^"]+)": permission denied',
        'its command "{it}" is not executable in image {image} (code 126)',
        "chmod +x {it} in the image, or correct `command` or `entrypoint` of {service} in its layer",
    ),
    (
        r"unable to find (?P<it>user|group) (?P<name>[^:\s]+)",
        'there is no {it} "{name}" in image {image}',
        'correct `user` of {service} in its layer; a number, such as user: "999:999", needs no name in the image',
    ),
)


def verdict(container: Container, suite: str = "…") -> tuple[str, str, str] | None:
    """Cause, words and hint for a container that is in no state to serve; None when it may yet.

    suite: the one that a hint tells to start by hand.
    """
    state, service = container.state, container.service
    look = LOOK.format(suite=suite)
    if state.get("OOMKilled"):
        return _out_of_memory(container)
    if container.restarts or state["Status"] == "restarting":
        code = "" if container.running else f" with {meaning(state['ExitCode'])}"  # docker forgets it at the restart
        return "restarting", f"exited{code} and was restarted", look
    if state["Status"] in ("exited", "dead"):
        hint = EXITS.get(state["ExitCode"], Exit("")).hint
        words = f"exited with {meaning(state['ExitCode'])} before it was ready"
        return "exited", words, hint.format(service=service, image=container.image, suite=suite)
    if state["Status"] == "paused":
        return "paused", "is paused", f"docker unpause {container.id[:12]}"
    if state["Status"] == "created":
        if state.get("Error"):
            return "start", *refused(state["Error"], service, container.image)
        return "unstarted", "was created and never started", f"docker start {container.id[:12]}"
    if container.health == "unhealthy":
        return _unhealthy(container, suite)
    return None


def meaning(code: int) -> str:
    """`code 137 (killed, SIGKILL)`."""
    return f"code {code} ({EXITS[code].meaning})" if code in EXITS and EXITS[code].meaning else f"code {code}"


def refused(said: str, service: str, image: str = "") -> tuple[str, str]:
    """Words and hint for a container that docker could not create or start. said: docker's reason."""
    for pattern, words, hint in REFUSED:
        if image and (found := re.search(pattern, said)):
            told = {**found.groupdict(), "image": image, "service": service}
            return words.format(**told), hint.format(**told)
    return f"it could not be started: {plain(said)}", f"correct {service} in its layer"


def plain(said: str) -> str:
    """Docker's reason without the names of its parts, container ids cut to what its commands show."""
    return LONG_ID.sub(r"\1", NOISE.sub("", said.strip()))


def _out_of_memory(container: Container) -> tuple[str, str, str]:
    if not container.memory:
        hint = "give the machine, or Docker Desktop, more memory; or fewer suites at a time: JOBS=1"
        return "oom", "was killed when the machine ran out of memory: it has no mem_limit", hint
    limit = container.memory >> 20
    variable = f"{container.service.upper().replace('-', '_')}_MEMORY"
    words = f"was killed for using more memory than its mem_limit of {limit} MiB"
    more = max(2 * limit, ENOUGH)
    return "oom", words, f"raise mem_limit in its layer, by {variable}={more}m where it reads that variable"


def _unhealthy(container: Container, suite: str) -> tuple[str, str, str]:
    """What the last check said; where it can't even run, that is the reason, and not the service."""
    last = ((container.state.get("Health") or {}).get("Log") or [{"ExitCode": 0, "Output": ""}])[-1]
    said = " ".join(plain(last["Output"]).split())
    if last["ExitCode"] in (-1, 126, 127):
        missing = re.search(r'exec: "([^"]+)": executable file not found', said)
        why = f'"{missing[1]}" was not found in image {container.image}' if missing else said
        hint = f"correct `healthcheck` of {container.service} in its layer"
        return "unhealthy", f"its healthcheck cannot run: {why}", hint
    words = f"its own healthcheck says unhealthy{f': {said[:SAID]}' if said else ''}"
    by_hand = f"`make up SUITE={suite}`, then its command in `make shell SUITE={suite} SERVICE={container.service}`"
    return "unhealthy", words, f"run the healthcheck by hand: {by_hand}"
