"""The work behind `images.ensure`: each image is brought in once, after the images that it starts FROM.

One thread of one process does it; whoever else wants the same image waits for that one.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from itest.errors import ItestError
from itest.images import build as image_build
from itest.images import inputs as image_inputs
from itest.images import store as image_store
from itest.images.dockercli import query
from itest.images.needs import BuildSpec, ImageNeed
from itest.images.pull import PullError, Registries, explain
from itest.images.standins import StandIn, StandIns, apt_proxies, make_base
from itest.images.store import BASES, CONTAINS, HASH, STANDIN

Mode = Literal["auto", "pull", "build"]
How = Literal["present", "pulled", "built"]

LOCK_POLL = 0.2  # seconds between two looks whether another process has finished
VERSION_FILE = "/usr/local/share/standin-version"  # written by each stand-in's Dockerfile


@dataclass(frozen=True)
class ImageReport:
    """What became of one image. seconds: what that took; image_id: "sha256:…".

    standin: it was built here in the place of `ref`. contains: what is in a stand-in, "PostgreSQL 17.11"; else "".
    """

    ref: str
    how: How
    detail: str
    seconds: float
    image_id: str
    standin: bool = False
    contains: str = ""


class Work:
    """The images of one call of `ensure`: what the engine holds of them, and who is bringing what in."""

    def __init__(
        self, wanted: Sequence[ImageNeed], standins: StandIns, mode: Mode, report: Callable[[str], None], stop: Event
    ) -> None:
        """Look at what the engine holds: one call for all. stop: set from outside to give up."""
        self.wanted = wanted
        self.references = {one.ref for need in wanted for one in (need, *_bases(need))}
        self._standins = standins
        self._mode = mode
        self._report = report
        self._stop = stop
        self._registries = Registries(stop)
        self._local = image_store.find(self.references)
        self._lock = threading.Lock()
        self._futures: dict[str, Future[None]] = {}
        self._done: dict[str, tuple[How, float]] = {}

    def is_done(self) -> bool:
        """Whether there is nothing to do at all."""
        return all(self._is_current(need) for need in self.wanted)

    def report_on(self, need: ImageNeed) -> ImageReport:
        """What became of an image that is present now."""
        local = self._local[need.ref]
        how, seconds = self._done.get(need.ref, ("present", 0.0))
        standin = local.stands_in_for(need.ref)
        contains = local.labels.get(CONTAINS, "") if standin else ""
        detail = f"stand-in, {contains}" if standin else "built from this repository" if need.build else ""
        return ImageReport(need.ref, how, detail, seconds, local.id, standin, contains)

    def run(self) -> None:
        """Bring in what is missing. Raises ItestError when all are through: the first one's, naming every image."""
        # A job may wait for the jobs of its bases, so there has to be a thread for each of them.
        with ThreadPoolExecutor(max_workers=4 * len(self.references), thread_name_prefix="image") as pool:
            try:
                self._collect([self._start(pool, need) for need in self.wanted])
            except KeyboardInterrupt:
                self._stop.set()  # what docker is doing for us ends too
                raise

    def _collect(self, futures: Sequence[Future[None]]) -> None:
        errors = [error for future in futures if (error := future.exception())]
        ours = [error for error in errors if isinstance(error, ItestError)]
        if len(ours) < len(errors):
            raise next(error for error in errors if not isinstance(error, ItestError))  # a bug keeps its traceback
        if ours:
            messages = dict.fromkeys(error.message for error in ours)
            raise ItestError(ours[0].category, "\n".join(messages), hint=ours[0].hint, cause=ours[0].cause) from ours[0]

    def _start(self, pool: ThreadPoolExecutor, need: ImageNeed) -> Future[None]:
        with self._lock:
            if need.ref not in self._futures:
                self._futures[need.ref] = pool.submit(self._obtain, pool, need)
            return self._futures[need.ref]

    def _is_current(self, need: ImageNeed) -> bool:
        """Whether the engine holds the image, made of what it would be made of now."""
        local = self._local.get(need.ref)
        if local is None:
            return False
        if need.build:
            return local.labels.get(HASH) == need.build.hash and all(
                # An app outlives the image that it was built from: a base that is gone is not missed.
                base.ref not in self._local
                or (self._is_current(base) and self._local[base.ref].id in local.labels.get(BASES, ""))
                for base in need.build.bases
            )
        standin = self._standins.find(need.ref)
        if standin is None or not local.stands_in_for(need.ref):
            return True  # somebody else's, the official one for instance: theirs to keep current
        return local.labels.get(HASH) == standin.hash and self._mode != "pull"

    def _obtain(self, pool: ThreadPoolExecutor, need: ImageNeed) -> None:
        if self._is_current(need):
            return
        started = time.monotonic()
        for base in _bases(need):
            self._start(pool, base).result()
        with self._turn(need.ref):
            self._look(need.ref)
            if self._is_current(need):
                return
            old = self._local.get(need.ref)
            with image_store.superseding(old.id) if old and HASH in old.labels else nullcontext():
                how: How = self._build(need, need.build) if need.build else self._fetch(pool, need)
            self._look(need.ref)
        self._done[need.ref] = how, time.monotonic() - started
        self._say(need.ref, f"{how} in {self._done[need.ref][1]:.1f} s")

    def _fetch(self, pool: ThreadPoolExecutor, need: ImageNeed) -> How:
        """Pull it; where no registry answers, build what stands in for it."""
        standin = self._standins.find(need.ref)
        if standin and not standin.base:
            make_base(standin, {STANDIN: need.ref, HASH: standin.hash}, self._saying(need.ref), self._stop)
            return "built"
        if self._mode != "build":
            try:
                self._registries.pull(need.ref, self._saying(need.ref))
                return "pulled"
            except PullError as failure:
                # A registry that answers "there is none" is right; one that doesn't answer is replaced.
                if standin is None or failure.reason == "not found" or self._mode == "pull":
                    raise explain(need, failure, self._standins) from failure
                self._say(need.ref, f"{failure.brief}: building a stand-in")
        if standin is None:
            raise explain(
                need, PullError("unreachable", "ITEST_IMAGES=build forbids to ask a registry"), self._standins
            )
        self._start(pool, ImageNeed(standin.base)).result()
        self._build_standin(standin)
        return "built"

    def _build_standin(self, standin: StandIn) -> None:
        labels = {STANDIN: standin.reference, HASH: standin.hash}
        folder = str(standin.root / standin.folder)
        arguments = [f"--build-arg={name}={value}" for name, value in standin.arguments.items()]

        def build(labels: dict[str, str], report: Callable[[str], None]) -> None:
            image_build.build(
                standin.reference, folder, arguments, report, self._stop, labels=labels, environment=apt_proxies()
            )

        build(labels, self._saying(standin.reference, f"building stand-in (Debian {standin.release})"))
        # Which version came out is known only now. The second build is the first one's cache with one more label.
        first = image_store.find([standin.reference])[standin.reference].id
        contains = query("run", "--rm", "--network=none", "--entrypoint=cat", first, VERSION_FILE).stdout.strip()
        with image_store.superseding(first):
            build({**labels, CONTAINS: contains}, lambda _: None)

    def _build(self, need: ImageNeed, spec: BuildSpec) -> How:
        labels = {HASH: spec.hash, BASES: ",".join(self._local[base.ref].id for base in spec.bases)}
        arguments = [f"--build-arg={name}={value}" for name, value in spec.args.items()]
        arguments += [f"--file={spec.dockerfile_path}", *spec.flags, *(f"--tag={tag}" for tag in spec.tags)]
        image_build.build(
            need.ref, spec.context, arguments, self._saying(need.ref, "building"), self._stop, labels=labels
        )
        return "built"

    def _look(self, reference: str) -> None:
        self._local.update(image_store.find([reference]))

    def _say(self, reference: str, words: str) -> None:
        self._report(f"{reference}  {words}")

    def _saying(self, reference: str, prefix: str = "") -> Callable[[str], None]:
        return lambda words: self._say(reference, f"{prefix}: {words}" if prefix else words)

    @contextmanager
    def _turn(self, reference: str) -> Iterator[None]:
        """One process of this user at a time brings in an image, from whichever checkout; the kernel ends the turn of
        one that dies. Polled, not blocked on, so that a Ctrl-C is heard."""
        folder = Path(tempfile.gettempdir(), f"itest-{os.getuid()}", "images")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / f"{image_inputs.digest(reference)}.lock").open("a") as file:
            waiting = False
            while not _locks(file.fileno()):
                if not waiting:
                    self._say(reference, "waiting for another process that is bringing it in")
                waiting = True
                if self._stop.wait(LOCK_POLL):
                    raise ItestError("interrupted", f"image {reference}: interrupted", hint="run it again")
            yield


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _bases(need: ImageNeed) -> list[ImageNeed]:
    return need.build.bases if need.build else []
