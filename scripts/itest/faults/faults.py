"""What tests write, one method a fault; each returns an inert one: `with faults.latency("shop", "redis", ms=9): …`"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from itest.faults import checks
from itest.faults.book import Book
from itest.faults.clock import Clock
from itest.faults.containers import Kill, Oom, Pause, Restart, Stop
from itest.faults.fault import Fault
from itest.faults.filling import FillDisk
from itest.faults.network import NetworkFault, Sidecars, Way
from itest.faults.timeline import Entry, Timeline


class Faults:
    """Faults of a stack. The client is who connects, the server what it connects to; both are names of services.

    Every method raises ItestError (usage) for services that there aren't, or that other workers use too, and for
    amounts that mean nothing. The first one between services places the client's sidecar, unless the suite has.
    """

    def __init__(self, book: Book, sidecars: Sidecars) -> None:
        self._book, self._sidecars = book, sidecars

    def latency(self, client: str, server: str, *, ms: float, jitter: float = 0, seed: int = 0) -> Fault:
        """A round trip takes so much longer, give or take the jitter; the same seed gives the same sequence."""
        words = "{ms:g} ms ± {jitter:g}" if jitter else "{ms:g} ms"
        return self._between("latency", (client, server), words, {"ms": ms, "jitter": jitter}, seed=seed)

    def bandwidth(self, client: str, server: str, *, kb_per_s: float) -> Fault:
        """So many thousand bytes a second pass, in each direction of each connection."""
        return self._between("bandwidth", (client, server), "{kb_per_s:g} kB/s", {}, kb_per_s=kb_per_s)

    def timeout(self, client: str, server: str, *, ms: float = 0) -> Fault:
        """Nothing passes any more; after so many ms a connection is closed, with 0 never."""
        words = "after {ms:g} ms" if ms else "for good"
        return self._between("timeout", (client, server), words, {"ms": ms})

    def reset(self, client: str, server: str, *, after_ms: float = 0) -> Fault:
        """Connections end by RST, so long after they or the fault began."""
        return self._between("reset", (client, server), "after {after_ms:g} ms", {"after_ms": after_ms})

    def slice(self, client: str, server: str, *, bytes: int, delay_ms: float = 0) -> Fault:
        """Data comes in pieces of so many bytes, each so long after the one before."""
        words = "{bytes} bytes every {delay_ms:g} ms"
        return self._between("slice", (client, server), words, {"delay_ms": delay_ms}, bytes=bytes)

    def limit_data(self, client: str, server: str, *, bytes: int) -> Fault:
        """After so many bytes of answers a connection is closed."""
        return self._between("limit_data", (client, server), "{bytes} bytes", {"bytes": bytes})

    def slow_close(self, client: str, server: str, *, ms: float) -> Fault:
        """That one end has closed is known to the other so much later."""
        return self._between("slow_close", (client, server), "{ms:g} ms", {"ms": ms})

    def partition(self, client: str, server: str, *, one_way: bool = False) -> Fault:
        """Packets are lost, both ways or only those that the client sends: nothing is refused, all hangs."""
        words = "one way" if one_way else "both ways"
        return self._between("partition", (client, server), words, {}, one_way="out" if one_way else "")

    def loss(self, client: str, server: str, *, percent: float) -> Fault:
        """So many of a hundred packets are lost, by chance, both ways."""
        way = (client, server)
        checks.amount(self._call("loss", *way), "percent", percent, zero=False, most=100)
        return self._between("loss", way, "{percent:g} %", {}, percent=percent)

    def pause(self, service: str) -> Fault:
        """Frozen: connections stay open, new ones are accepted, and nothing answers."""
        return Pause(self._book, self._one("pause", service))

    def kill(self, service: str) -> Fault:
        """Ended at once, as by a crash; started again, and ready, when healed."""
        return Kill(self._book, self._one("kill", service))

    def stop(self, service: str) -> Fault:
        """Asked to end; started again, and ready, when healed."""
        return Stop(self._book, self._one("stop", service))

    def restart(self, service: str) -> Fault:
        """Asked to end and started at once; ready when healed."""
        return Restart(self._book, self._one("restart", service))

    def oom(self, service: str) -> Fault:
        """Ended by the kernel for want of memory; started again, and ready, when healed."""
        return Oom(self._book, self._one("oom", service))

    def fill_disk(self, service: str, path: str, *, leave_bytes: int = 0) -> Fault:
        """Nothing more can be written where a path of the service lies, a tmpfs with a size; or only so many bytes."""
        return FillDisk(self._book, self._one("fill_disk", service), path, leave_bytes)

    def clock(self, service: str, offset: str | float | timedelta) -> Fault:
        """Its processes see another time. offset: "+2h", "-30m", "+1d", or seconds, negative for the past."""
        return Clock(self._book, self._one("clock", service), offset)

    def timeline(self, *entries: Entry) -> Timeline:
        """Each fault from its time to its time, seconds since the block began: `(2.0, 5.0, faults.pause("redis"))`."""
        return Timeline(*entries)

    def _between(self, kind: str, way: Way, words: str, amounts: dict[str, float], **others: Any) -> Fault:
        """words: with the parameters in braces. amounts: numbers that may be 0; others: what else it is given."""
        client, server = way
        call = self._call(kind, *way)
        checks.known(self._book.stack, call, client, server)
        checks.apart(call, client, server)
        for name, value in amounts.items():
            checks.amount(call, name, value)
        for name in ("kb_per_s", "bytes") & others.keys():
            checks.amount(call, name, others[name], zero=False)
        self._book.stack.refuse_shared(call, client)
        with_ = {**amounts, **others}
        described = f"{kind} {client} -> {server} {words.format(**with_)}"
        return NetworkFault(self._book, self._sidecars, way, kind, described, with_)

    def _one(self, verb: str, service: str) -> str:
        """The service, if a fault may be its own."""
        call = self._call(verb, service)
        checks.known(self._book.stack, call, service)
        self._book.stack.refuse_shared(call, service)
        return service

    def _call(self, kind: str, *services: str) -> str:
        """As the person wrote it: a test, or by hand."""
        if self._book.kept:
            return f"fault {' '.join([kind, *services])}"
        return f"faults.{kind}({', '.join(map(repr, services))})"
