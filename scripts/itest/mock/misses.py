"""A request that no stub answers: which came nearest, and what kept it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from itest.mock import matching
from itest.mock.incoming import Incoming
from itest.mock.matching import Difference
from itest.mock.replies import Answer
from itest.mock.stubs import Stub

STATUS = 501
WEIGHTS = {"path": 4.0, "host": 4.0}  # how much a difference there tells that another stub was meant; elsewhere 1
COMPARED = 400  # characters of a value that are compared to tell how near it is
CANDIDATES = 200  # stubs that are looked at in detail: who has more gets an answer in time all the same


@dataclass(frozen=True)
class Miss:
    """nearest: None where there is no stub at all."""

    nearest: Stub | None
    differences: tuple[Difference, ...] = ()

    @property
    def title(self) -> str:
        """The nearest stub's name, and where it stands."""
        stub = self.nearest
        if stub is None:
            return ""
        return f"{stub.name} ({stub.where})" if stub.where not in ("", stub.name) else stub.name

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(map(str, self.differences))

    def answer(self, incoming: Incoming, scope: str) -> Answer:
        """What the client gets in the place of a response, so that whoever reads its log knows what to mend."""
        problem = f"the mock has no stub for {incoming.method} {incoming.scheme}://{incoming.host}{incoming.path}"
        said = {"error": problem, "scope": scope, "nearest": self.title or None, "differences": list(self.lines)}
        return Answer.of_json(STATUS, said)


def differences(stub: Stub, state: Callable[[str], str], incoming: Incoming) -> Iterator[Difference]:
    """What keeps a stub from answering. state: gives the state in which a scenario is."""
    yield from matching.differences(stub.request, incoming)
    if stub.scenario and stub.scenario.when is not None:
        is_in = state(stub.scenario.name)
        if is_in != stub.scenario.when:
            yield Difference(f"scenario {stub.scenario.name}", f"state {stub.scenario.when}", f"state {is_in}")


def nearest(stubs: Iterable[Stub], state: Callable[[str], str], incoming: Incoming) -> Miss:
    """The stub that the fewest and smallest differences keep from answering."""
    found = [Miss(stub, tuple(differences(stub, state, incoming))) for stub in stubs]
    found = sorted(found, key=lambda miss: len(miss.differences))[:CANDIDATES]
    return min(found, key=lambda miss: sum(map(_weight, miss.differences)), default=Miss(None))


def _weight(difference: Difference) -> float:
    """A quarter for being one, the rest for how little both have in common."""
    alike = SequenceMatcher(None, difference.wanted[:COMPARED], difference.got[:COMPARED], autojunk=False).ratio()
    return 0.25 + (1 - alike) * WEIGHTS.get(difference.part, 1.0)
