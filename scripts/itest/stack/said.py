"""What the services of a stack printed while a test ran, for the report of a test that failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from itest.containers import Container, logs
from itest.stack.logtext import collapsed
from itest.stack.stack import Stack

LINES = 20  # of each service; make logs, or logs/ of the run, has all
FETCHED = 1000  # lines to make these of, once repetitions are folded


def said(stack: Stack, since: float) -> dict[str, str]:
    """The last lines of every service that printed any, or doesn't run, as of the stack's last `refresh`.

    since: seconds since the epoch.
    """
    containers = stack.containers
    services = sorted(containers)
    with ThreadPoolExecutor(len(containers) or 1) as pool:
        texts = pool.map(lambda one: _text(one, since), (containers[name] for name in services))
        return {name: text for name, text in zip(services, texts, strict=True) if text}


def _text(container: Container, since: float) -> str:
    lines = logs(container, tail=FETCHED, timestamps=False, since=since).splitlines()
    state = [] if container.running else [f"service {container.service}: {container.summary}"]
    return "\n".join([*state, *collapsed(lines)[-LINES:]])
