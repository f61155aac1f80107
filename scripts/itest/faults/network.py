"""Faults on the way from a client to a server, made by the client's sidecar; and the sidecars that a process uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from itest.containers import inspect
from itest.faults import sidecar
from itest.faults.book import Book
from itest.faults.fault import Fault, Unable
from itest.faults.session import Session
from itest.stack.stack import Stack

Way = tuple[str, str]  # from a client to a server
REPLACED = ("partition",)  # by something near where a machine can't


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
        self._stack.refresh()
        [target] = self._stack.targets([client])
        found = sidecar.place(target.project, target.container, self.report)
        if held:
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
        begun = session.add(self._kind, {"name": server, "addresses": addresses}, self._with, keep=self._book.kept)
        self._session, self._id = session, begun["id"]
        if instead := begun.get("instead"):
            self._sidecars.report(f"itest: {self._words}: {instead}")

    def _end(self) -> None:
        session, self._session = self._session, None
        if session and session.is_open:
            session.remove(self._id)
        elif session:
            self._sidecars.report(f"itest: {self._words}: it was over before it was healed, as its sidecar has ended")
