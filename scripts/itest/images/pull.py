"""Pulling an image: retried where that can help, given up at once where it can't, and a registry that doesn't answer is
found out once, not once for every image."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Literal

from itest.errors import ItestError
from itest.images import ref as image_ref
from itest.images.dockercli import Silent, watch
from itest.images.needs import ImageNeed
from itest.images.standins import StandIns
from itest.machine import disk

Reason = Literal["not found", "denied", "rate limit", "certificate", "disk", "unreachable", "transient", "other"]

FIRST_ANSWER = 5.0  # seconds for a registry to answer at all; it usually takes half a second
ATTEMPTS = 3
LONGEST_PAUSE = 4.0  # seconds between two attempts

# In docker's own words, and those of the registries behind it; the first that matches tells.
REASONS: tuple[tuple[Reason, str], ...] = (
    ("rate limit", r"toomanyrequests|429 Too Many Requests|rate limit"),
    ("disk", disk.NO_SPACE),
    ("not found", r"manifest unknown|manifest for \S+ not found|name unknown|no matching manifest|: not found"),
    # A registry doesn't tell "there is none" from "not for you".
    ("denied", r"access denied|denied:|unauthorized|no basic auth|403 Forbidden|authentication required"),
    ("certificate", r"x509:|certificate"),
    ("transient", r"\b50\d\b|connection reset|unexpected EOF|TLS handshake timeout|server misbehaving|\bEOF$"),
    (
        "unreachable",
        r"no such host|connection refused|no route to host|network is unreachable|proxyconnect|i/o timeout"
        r"|context deadline exceeded|Client\.Timeout exceeded|Temporary failure in name resolution",
    ),
)


class PullError(Exception):
    """A pull that failed for good: a reason that the program goes by, and docker's words for the person."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason
        self.words = words

    @property
    def brief(self) -> str:
        """The reason in a few words."""
        return {
            "denied": "the registry denied it",
            "rate limit": "the registry's rate limit is reached",
            "certificate": "the registry's certificate is not trusted",
            "disk": "no space is left on the engine's disk",
            "unreachable": "no registry answers",
            "transient": "the registry failed",
            "not found": "the registry has no such image",
            "other": "it could not be pulled",
        }[self.reason]


class _Transient(PullError):
    """Worth another attempt."""


@dataclass
class _Contact:
    """What is known of one registry: whether it answered at all, once somebody has asked."""

    known: Event = field(default_factory=Event)
    failure: PullError | None = None


class Registries:
    """The registries of one run. Thread-safe: the first pull from each finds out for all whether it answers."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._contacts: dict[str, _Contact] = {}

    def pull(self, reference: str, report: Callable[[str], None]) -> None:
        """Pull one image. report: gets a few words about its progress. Raises PullError."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
        from tenacity.nap import sleep_using_event
        from tenacity.stop import stop_when_event_set

        for attempt in Retrying(
            retry=retry_if_exception_type(_Transient),
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(self._stop),
            wait=wait_exponential(multiplier=0.5, max=LONGEST_PAUSE),
            sleep=sleep_using_event(self._stop),
            before_sleep=lambda state: report(f"attempt {state.attempt_number} failed, trying again"),
            reraise=True,
        ):
            with attempt:
                self._attempt(reference, report)

    def _attempt(self, reference: str, report: Callable[[str], None]) -> None:
        host = image_ref.parse(reference).registry
        with self._lock:
            first = host not in self._contacts
            contact = self._contacts.setdefault(host, _Contact())
        if not first:
            contact.known.wait()
            if contact.failure:
                raise contact.failure
        try:
            _pull(reference, contact.known.set, report, self._stop)
        except PullError as error:
            if first and error.reason in ("unreachable", "certificate"):
                contact.failure = error
            raise
        finally:
            contact.known.set()


def _pull(reference: str, answered: Callable[[], None], report: Callable[[str], None], stop: Event) -> None:
    """One `docker pull`. answered: called when the registry has sent something."""
    said: list[str] = []
    layers: dict[str, str] = {}
    last = time.monotonic()

    def on_line(line: str) -> None:
        nonlocal last
        said.append(line)
        if "Error" not in line:
            answered()
        layer = re.match(r"([0-9a-f]{12}): (.+)", line)
        if layer:
            layers[layer[1]] = layer[2]
            if time.monotonic() - last > 1:
                last = time.monotonic()
                complete = sum(state in ("Pull complete", "Already exists") for state in layers.values())
                report(f"pulling: {complete} of {len(layers)} layers")

    report("pulling")
    try:
        code = watch(["docker", "pull", reference], on_line, stop, first_line_within=FIRST_ANSWER)
    except Silent:
        raise PullError("unreachable", f"the registry didn't answer within {FIRST_ANSWER:.0f} s") from None
    if code:
        words = (said or ["docker pull said nothing"])[-1].removeprefix("Error response from daemon: ")
        reason = classify(words)
        raise (_Transient if reason in ("transient", "rate limit") else PullError)(reason, words)


def classify(words: str) -> Reason:
    """Why a pull failed, told from the last line of `docker pull`."""
    return next((reason for reason, pattern in REASONS if re.search(pattern, words)), "other")


def explain(need: ImageNeed, failure: PullError, standins: StandIns) -> ItestError:
    """The error for a person, with what would mend it: the variable that chooses the image, or a command."""
    parts = image_ref.parse(need.ref)
    # Without a variable it is what a Dockerfile starts from.
    other = f"name another image by {need.variable}=…" if need.variable else "name another after FROM in the Dockerfile"
    versions = standins.versions(parts.repository) if not (parts.registry or parts.digest) else []
    instead = f"; without a registry, versions {', '.join(versions)} can be built" if versions else ""
    hints = {
        "not found": f"correct the tag, or {other}",
        "denied": f"docker login {parts.registry}".rstrip() + f", or {other}",
        "rate limit": f"docker login raises the limit; or {other}, such as that of a mirror of your own",
        "certificate": "add the registry's CA to those that the engine trusts (/etc/docker/certs.d/<registry>/ca.crt)",
        "transient": f"it is the registry's own trouble: run again in a while, or {other}{instead}",
    }
    network = f"give the engine a way to the registry (its own proxy setting counts), or {other}{instead}"
    if failure.reason == "disk":
        return disk.full(f"image {need.ref}: pull", failure.words)
    message = f"image {need.ref}: {failure.brief}: {failure.words}"
    return ItestError("image", message, hint=hints.get(failure.reason, network), cause="pull")
