"""Watching a run's containers: what happened to each and when, and what it used, told by docker and the kernel.

One `docker events` a run, however many suites it has; two looks a second at the control groups.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread
from typing import Any

from itest.containers import PROJECT_LABEL, SERVICE_LABEL
from itest.stack.usage import Gauge, gauge
from itest.states import meaning

LOOK_EVERY = 0.5  # seconds
SHOWN = 60  # events of one stack that are told; the first and the last tell most
WATCHED = ("create", "start", "die", "oom", "kill", "stop", "pause", "unpause", "restart", "health_status")
ENDS = ("die", "oom")
SIGNALS = {"9": "SIGKILL", "15": "SIGTERM", "2": "SIGINT", "3": "SIGQUIT", "1": "SIGHUP"}


@dataclass(frozen=True)
class Happened:
    """What happened to a container. when: seconds since the epoch; action: docker's word; words: for a person."""

    when: float
    project: str
    service: str
    container: str
    action: str
    words: str

    @property
    def clock(self) -> str:
        """The time of day, as in logs: `12:30:05.123`."""
        return datetime.fromtimestamp(self.when).strftime("%H:%M:%S.%f")[:-3]


class Watch:
    """While entered, notes all that happens to containers of compose projects. One for a whole run."""

    def __init__(self) -> None:
        self._all: list[Happened] = []
        self._gauges: dict[str, tuple[Happened, Gauge]] = {}  # by container
        self._callers: dict[str, Callable[[Happened], None]] = {}  # by project
        self._done = Event()

    def __enter__(self) -> Watch:
        filters = ["--filter=type=container", *(f"--filter=event={one}" for one in WATCHED)]
        # `--since`: docker needs a moment to begin, and gives what has happened by then.
        command = ["docker", "events", f"--since={time.time():.6f}", "--format={{json .}}", *filters]
        self._docker = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._threads = [Thread(target=work, daemon=True) for work in (self._listen, self._look)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._docker.terminate()
        for thread in self._threads:
            thread.join()
        assert self._docker.stdout
        self._docker.stdout.close()
        self._docker.wait()

    @contextmanager
    def calling(self, project: str, caller: Callable[[Happened], None]) -> Iterator[None]:
        """Within the block, call when a container of a project, or of one of its workers, ends or runs out of memory.

        From a thread of the watch, which hears nothing else until the call returns.
        """
        self._callers[project] = caller
        try:
            yield
        finally:
            del self._callers[project]

    def timeline(self, project: str) -> list[Happened]:
        """What happened to the containers of a project and of its workers, oldest first; of very much, both ends."""
        found = sorted((one for one in self._all if _belongs(one, project)), key=lambda one: one.when)
        return found if len(found) <= SHOWN else found[: SHOWN // 3] + found[-SHOWN + SHOWN // 3 :]

    def gauges(self, project: str) -> dict[str, Gauge]:
        """What each service of a project used: the newest container of each, of workers as `shop.worker2`."""
        gauges = list(self._gauges.values())
        return {_name(event, project): one for event, one in gauges if one.last and _belongs(event, project)}

    def _listen(self) -> None:
        assert self._docker.stdout
        for line in self._docker.stdout:
            one = _happened(json.loads(line))
            if one is None:
                continue
            self._all.append(one)
            if one.action == "start" and (found := gauge(one.container)):
                self._gauges[one.container] = (one, found)
            if one.action == "oom" and one.container in self._gauges:
                self._gauges[one.container][1].exhaust()
            if one.action in ENDS:
                for project, caller in list(self._callers.items()):
                    if _belongs(one, project):
                        caller(one)

    def _look(self) -> None:
        while not self._done.wait(LOOK_EVERY):
            for _, one in list(self._gauges.values()):
                one.look()


def _happened(raw: Mapping[str, Any]) -> Happened | None:
    """What an event says of a compose project's container; its format is that of the engine's API, `GET /events`."""
    actor = raw["Actor"]
    facts: Mapping[str, str] = actor["Attributes"]
    project, service = facts.get(PROJECT_LABEL), facts.get(SERVICE_LABEL)
    if not project or not service:
        return None
    action, _, rest = str(raw["Action"]).partition(": ")
    words = {
        "die": f"exited with {meaning(int(facts.get('exitCode', 0)))}",
        "oom": "ran out of memory",
        "kill": f"was sent {SIGNALS.get(facts.get('signal', ''), 'signal ' + facts.get('signal', '?'))}",
        "health_status": rest,
        "create": "created",
        "start": "started",
        "stop": "stopped",
        "pause": "paused",
        "unpause": "resumed",
        "restart": "restarted",
    }
    return Happened(raw["timeNano"] / 1e9, project, service, actor["ID"], action, words[action])


def _belongs(event: Happened, project: str) -> bool:
    """Whether it is of a project, or of what a worker has for itself (stack/worker.py)."""
    return event.project == project or event.project.startswith(f"{project}_worker")


def _name(event: Happened, project: str) -> str:
    worker = event.project.removeprefix(f"{project}_")
    return event.service if worker == event.project else f"{event.service}.{worker}"
