"""Ending what has waited for a stack too long: docker commands about it, and whoever talks to its services."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Event

from itest import leases, processes

GRACE = 5.0  # seconds from an end to what comes of it: of a command, of a container
TRIES = 3  # what waits may start another command, and wait for that


def unblock(projects: Callable[[], Collection[str]], ended: Event, before_killing: Callable[[], None]) -> None:
    """Let whatever waits for compose projects go on; returns once it has, or when nothing more can be done.

    ended: set when it goes on. before_killing: called where ending the commands is not enough, so that containers have
    to go: all connections to a service end with it, also those of this very process, deep in C code.
    """
    killed = False
    for _ in range(TRIES):
        commands = _commands_about(projects())
        processes.end(commands)
        if ended.wait(GRACE if commands else 0):
            return
        if not killed:
            before_killing()
            killed = True
        with suppress(subprocess.TimeoutExpired):  # of an engine that doesn't answer, the next try ends the commands
            _kill_containers(projects())
        if ended.wait(GRACE):
            return


def of_this_process() -> list[str]:
    """The compose projects that this process owns."""
    me = os.getpid(), processes.started(os.getpid()), *processes.place()
    owned = ((one.project, one.owner) for one in leases.on_engine() if one.owner)
    return [project for project, by in owned if (by.pid, by.started, by.boot, by.namespace) == me]


def _commands_about(projects: Collection[str]) -> list[processes.Process]:
    """With all that they have started themselves: a pipe that one of these still holds would be waited for, too."""
    below = processes.descendants(os.getpid())
    about = [one for one in below if any(project in processes.command(one.pid) for project in projects)]
    return [*about, *(child for one in about for child in processes.descendants(one.pid))]


def _kill_containers(projects: Collection[str]) -> None:
    """With those of the workers' own projects, whose names begin with that of the suite's."""
    for project in projects:
        listing = ["docker", "container", "ls", "--quiet", f"--filter=name={project}"]
        found = subprocess.run(listing, capture_output=True, text=True, timeout=GRACE, check=False).stdout.split()
        if found:  # one that has ended meanwhile can't be killed, nor has to be
            subprocess.run(["docker", "container", "kill", *found], capture_output=True, timeout=GRACE, check=False)
