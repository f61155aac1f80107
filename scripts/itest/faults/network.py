"""Faults on the way from a client to a server, made by the client's sidecar; and the sidecars that a process uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from itest.containers import inspect, logs
from itest.errors import ItestError
from itest.faults import sidecar
from itest.faults.book import Book
from itest.faults.fault import Fault, Unable
from itest.faults.session import Session
from itest.stack.stack import Stack

Way = tuple[str, str]  # from a client to a server
REPLACED = ("partition",)  # by something near where a machine can't
ENDED = "sidecar"  # the cause of an error
LINES = 5  # of the log of a sidecar that has ended


class Sidecars:
    """The sidecars of a stack's services, as one process talks to them. report: gets a line for a person."""

    def __init__(self, stack: Stack, report: Callable[[str], None]) -> None:
        self._stack = stack
        self.report = report
        self._open: dict[str, Session] = {}  # by client

    def session(self, client: str) -> Session:
        """The conversation with a client's sidecar, which is placed where it isn't there. Raises ItestError."""
        held = self._open.get(client)
        if held and self._leads_there(held, client):
            return held
        self.mend(client)
        return self._placed(client)

    def mend(self, client: str) -> None:
        """Place anew a sidecar that has ended though its client runs, which reaches nobody then.

        Raises ItestError (service) where it had: what failed meanwhile has failed for that.
        """
        self._stack.refresh()
        [target] = self._stack.targets([client])
        found = sidecar.of(target.project.name).get(client)
        if not found or not sidecar.left(found, target.container):
            return
        said = logs(found, tail=LINES, timestamps=False)
        problem = f"faults of {client}: its sidecar ended while {client} ran, and cut it off: {found.summary}"
        hint = f"who ended it? docker events --since 10m --until 0s --filter container={found.name}"
        self._placed(client)
        raise ItestError("service", problem, hint=hint, cause=ENDED, service=client, evidence=said)

    def mend_all(self) -> None:
        """The same for all clients. Raises ItestError (service) for one of them."""
        projects = {self._stack.name, self._stack.own.name if self._stack.own else self._stack.name}
        for client in {client for project in projects for client in sidecar.of(project)}:
            if client in self._stack.suite.services:
                self.mend(client)

    def _placed(self, client: str) -> Session:
        self._stack.refresh()
        [target] = self._stack.targets([client])
        found = sidecar.place(target.project, target.container, self.report)
        if held := self._open.get(client):
            held.close()
        self._open[client] = session = Session(found.id, client)
        return session

    def _leads_there(self, held: Session, client: str) -> bool:
        """Whether a conversation is with the sidecar that the client has now."""
        found = {one.id: one for one in inspect([held.container, self._stack.containers[client].id])}
        return held.is_open and len(found) > 1 and sidecar.serves(*found.values())

    def close(self) -> None:
        """End all conversations; nothing that was added in one is left."""
        for session in self._open.values():
            session.close()
        self._open.clear()


class NetworkFault(Fault):
    """Something on the way from a client to a server. kind, with_: see toxics/kinds.py."""

    def __init__(
        self,
        book: Book,
        sidecars: Sidecars,
        way: Way,
        kind: str,
        words: str,
        with_: Mapping[str, Any],
    ) -> None:
        super().__init__(book, *way)
        self._sidecars, self._stack = sidecars, book.stack
        self._kind, self._words, self._with = kind, words, with_
        self._session: Session | None = None
        self._id = ""

    def describe(self) -> str:
        return self._words

    def prepare(self) -> None:
        self._sidecars.session(self.services[0])

    def stay(self, healed: Fault) -> None:
        """A client that was started anew has another network, and nothing in it."""
        if healed.services == self.services[:1]:
            self._begin()

    def _begin(self) -> None:
        client, server = self.services
        session = self._sidecars.session(client)
        if session is self._session:
            return  # it is there already
        if self._kind not in REPLACED and (why := session.can.get(self._kind, "")):
            raise Unable(self._words, why)
        [target] = self._stack.targets([server])
        addresses = [one for one in target.container.addresses.values() if one]
        if not addresses:
            problem = f"fault {self._words}: {server} has no address ({target.container.summary})"
            raise ItestError("usage", problem, hint=f"it takes a {server} that runs", cause="fault", service=server)
        begun = session.add(self._kind, {"name": server, "addresses": addresses}, self._with, keep=self._book.kept)
        self._session, self._id = session, begun["id"]
        if instead := begun.get("instead"):
            self._sidecars.report(f"itest: {self._words}: {instead}")

    def _end(self) -> None:
        session, self._session = self._session, None
        if not session:
            return
        if not session.is_open:
            self._sidecars.mend(self.services[0])
            self._sidecars.report(f"itest: {self._words}: it was over before it was healed, as its client has ended")
            return
        try:
            if not session.remove(self._id):
                self._book.unmet.append(self._words)
        except ItestError:
            self._sidecars.mend(self.services[0])  # it may have ended at this moment, which tells more
            raise
