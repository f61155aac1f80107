"""A mock between tests: the worker's own scope, which begins anew with each, and what its requests say of the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from itest.errors import ItestError
from itest.isolation.reached import reached
from itest.stack import slots, worker
from itest.stack.stack import Stack
from itest.suite import workers
from itest.suite.kinds import SCOPE

if TYPE_CHECKING:
    from itest.mock.stubs import Stub
    from itest.mocking import Mock
    from itest.mocking.admin import Admin


class MockStore:
    """Isolation of one service of kind mock. Only this worker's scope begins anew, never a neighbour's.

    Where workers share what sends requests, nobody can tell whose they are: tests that use the mock take turns then.
    """

    def __init__(self, stack: Stack, name: str, stubs: Sequence[Stub]) -> None:
        self.name = name
        self.waited = False  # whether a test had to be alone with the mock
        self._stack = stack
        self._data = [stub.as_data() for stub in stubs]
        self._admins: dict[str, Admin] = {}  # by address: another port after a restart
        self._mock: Mock | None = None  # of the test under way
        self._told = 0  # the journal's last number that the test has answered for
        self._following = ""  # a test that has begun, as the one before it ended
        self._known = False  # whether any test has begun here
        self._gone = False  # it could not be reached as the last test ended, which is told
        self._files = ExitStack()
        self._folder: Path | None = None

    @property
    def scope(self) -> str:
        return self._stack.places.get(self.name, SCOPE)

    @property
    def shared(self) -> bool:
        """Whether requests of other workers' tests come to this worker's scope."""
        own = self.name in self._stack.suite.per_worker or workers.scoped(self._stack.suite)
        return not own and self._stack.sharers() > 1

    @contextmanager
    def turn(self, *, wanted: bool) -> Iterator[bool]:
        """For as long as a test runs. Gives whether what comes to the scope meanwhile is the test's.

        wanted: whether the test uses the mock; for one that does it is waited, where others do too.
        """
        from itest.hangs import not_counted

        if not (shared := self.shared) or not wanted:
            yield not shared
            return
        self.waited = True
        with ExitStack() as held:
            with not_counted():
                held.enter_context(slots.turn(self._stack.suite.root, f"{self._stack.name}.{self.name}"))
            yield True

    def begin(self, test: str) -> list[str]:
        """Before a test. Returns what a person should know of. Raises ItestError (service)."""
        from itest.mocking import Mock, told

        with reached(self._stack, self.name):
            admin, url, known = self._admin(), self._stack.url(self.name), self._known
            before = {"unmatched": []} if test == self._following else admin.begin(self.scope, test)
        self._known, self._gone, self._following, self._told = True, False, "", 0
        self._mock = Mock(admin, self.scope, url, self._stack.suite.root, self._certificate, self._others())
        return told.late(self.name, before) if known else []  # or a person has tried something by hand

    def judge(self) -> None:
        """When a test's own code is through. Raises ItestError (test) where one of its requests had no answer."""
        with reached(self._stack, self.name):
            self._blame(self._admin().verdict(self.scope))

    def seen(self) -> tuple[str, str]:
        """What came since the test began, for reading; what of it had no answer, on one line, as that is told with it.

        Both are "" where there is none.
        """
        from itest.mocking import told

        with reached(self._stack, self.name):
            journal = self._admin().journal(self.scope)
            verdict = self._admin().verdict(self.scope)
        self._told = max((entry["number"] for entry in journal.entries), default=self._told)
        return told.text(journal.entries, journal.lost) if journal.entries else "", told.in_short(self.name, verdict)

    def end(self, following: str = "") -> list[str]:
        """After a test and its fixtures. Returns what a person should know of. Raises ItestError as `judge` does.

        following: the test that begins with this, which saves a round trip; "" where it is not known.
        """
        self._following = "" if self.shared else following
        try:
            with reached(self._stack, self.name):
                verdict = self._admin().begin(self.scope, self._following)
        except ItestError as error:
            self._gone = True
            raise error.followed_by([f"its journal can't be read, so no {self.name}.txt tells what came"]) from None
        try:
            self._blame(verdict)
        finally:
            self._mock = None
        lost = verdict["lost"]
        return [f"{self.name}: its journal had no room for {lost} requests of the test"] if lost else []

    def _blame(self, verdict: dict[str, Any]) -> None:
        """Once for each request."""
        from itest.mocking import told

        new = {name: [one for one in verdict[name] if one["number"] > self._told] for name in ("unmatched", "problems")}
        blamed = told.blamed(self.name, verdict | new, strict=self._mock.strict) if self._mock else None
        if self._mock and blamed:
            self._told = max((one["number"] for some in new.values() for one in some), default=self._told)
            self._mock.strict = False
            raise blamed

    def mock(self) -> Mock:
        """What the fixture gives to the test under way."""
        if self._mock is None:
            problem = (
                "fixture mock: other workers' tests use the same scope, so a test waits for its turn before it begins"
            )
            hint = "name `mock` among the test's arguments, not only in request.getfixturevalue"
            raise ItestError("usage", problem, hint=hint, cause="mock")
        return self._mock

    def _others(self) -> str:
        """Who else uses the same mock, whatever sends the requests; "" for nobody."""
        own = self.name in self._stack.suite.per_worker or self._stack.sharers() <= 1
        return "" if own else f"other workers use the same {self.name}"

    def notes(self) -> list[str]:
        """What a person should know of in the end: that tests had to wait for each other."""
        if not self.waited:
            return []
        suite = self._stack.suite
        shared = workers.silent(suite)
        why = f"all workers share {', '.join(shared)}" if shared else "workers have nothing of their own"
        key = f"per_worker: [{', '.join((*suite.per_worker, *shared))}]" if shared else "isolation: delete"
        return [
            f"suite {suite.name}: tests that use `mock` took turns, as {why}; {key} in {suite.files[-1].path} ends that"
        ]

    def reset(self) -> None:
        """Nothing is left of what the scope had."""
        with reached(self._stack, self.name):
            self._admin().begin(self.scope)
        self._following = ""

    def dirt(self) -> list[str]:
        """Requests that nothing answered."""
        from itest.mocking import told

        if self.shared or self._gone:
            return []
        with reached(self._stack, self.name):
            return told.unanswered(self._admin().verdict(self.scope))

    def close(self) -> None:
        """Close its connections."""
        for admin in self._admins.values():
            admin.close()
        self._files.close()

    def _admin(self) -> Admin:
        from itest.mocking.admin import Admin

        address = self._stack.admin(self.name)
        if address not in self._admins:
            self._admins[address] = Admin(address, self._greet)
        return self._admins[address]

    def _greet(self, admin: Admin) -> None:
        """A mock that was started anew knows its files, but not which of them count here, nor any worker."""
        admin.load(self._data)
        if self._stack.own and self.name in self._stack.places:
            admin.know(worker.addresses(self._stack, self.name))

    def _certificate(self) -> Path:
        """A file with it, written anew: every start of a mock has another."""
        if self._folder is None:
            self._folder = Path(self._files.enter_context(TemporaryDirectory(prefix="itest-mock-")))
        path = self._folder / "ca.pem"
        path.write_bytes(self._admin().certificate())
        return path
