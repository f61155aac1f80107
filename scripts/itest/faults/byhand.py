"""Faults in words, for a person at a kept stack: `latency shop postgres ms=200`, what stands, and healing it.

The words are those of the methods of Faults: names of services first, then what has a name.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from itest.errors import ItestError
from itest.faults import able, active
from itest.faults.book import Book
from itest.faults.containers import Restart
from itest.faults.fault import Fault
from itest.faults.faults import Faults
from itest.faults.network import Sidecars
from itest.faults.session import Session
from itest.settings import NO, YES
from itest.stack.stack import Stack
from itest.suite import schema

OF_TESTS = ("timeline",)  # which by hand would be a script


@dataclass(frozen=True)
class Word:
    """One thing that a fault is told. kind: its type; needed: whether there is no default."""

    name: str
    kind: type
    default: Any
    is_named: bool

    @property
    def needed(self) -> bool:
        return self.default is inspect.Parameter.empty

    def __str__(self) -> str:
        if not self.is_named:
            return self.name.upper()
        return f"{self.name}=…" if self.needed else f"[{self.name}={_shown(self.default)}]"


def kinds() -> dict[str, tuple[Word, ...]]:
    """Every fault and the words that it takes, in their order."""
    methods = {name: one for name, one in vars(Faults).items() if inspect.isfunction(one)}
    return {name: _words(one) for name, one in methods.items() if not name.startswith("_") and name not in OF_TESTS}


def usage(kind: str) -> str:
    """`latency CLIENT SERVER ms=… [jitter=0] [seed=0]`."""
    return " ".join([kind, *map(str, kinds()[kind])])


def possible(stack: Stack) -> list[str]:
    """How each fault is asked for, and whether, or for what, it is possible on this stack."""
    found = able.able(stack, kinds())
    width = max(len(usage(kind)) for kind in found)
    return [f"{usage(kind):{width}}  {words}" for kind, words in found.items() if kind in kinds()]


def asked(faults: Faults, words: Sequence[str]) -> Fault:
    """The fault that words ask for, inert. Raises ItestError (usage) for words that mean nothing."""
    kind, given = words[0], words[1:]
    if kind not in kinds():
        hint = schema.nearest(kind, [*kinds(), "heal"])
        raise ItestError("usage", f"no fault is called {kind}", hint=hint, cause="fault")
    positional, named = _read(kind, given)
    fault: Fault = getattr(faults, kind)(*positional, **named)
    return fault


def inject(stack: Stack, words: Sequence[str]) -> str:
    """Begin what the words say, and leave it there when this process ends. Returns how it is called, and is healed.

    Raises ItestError: usage for words that mean nothing, else what the fault raises.
    """
    sidecars = Sidecars(stack, print)
    try:
        fault = asked(Faults(Book(stack, "by hand", kept=True), sidecars), words).inject()
        if isinstance(fault, Restart):  # over as soon as the service is ready again
            fault.heal()
            return f"{fault.describe()}: done{_where(stack, fault.services[0])}"
        return f"{fault.describe()}\nheal: {_heal(stack)}"
    finally:
        sidecars.close()


def standing(stack: Stack) -> list[str]:
    """What is injected at this moment, a line each, in the words that would inject it, and for how long."""
    now, root = time.time(), Path(stack.suite.root)
    of_containers = [f"{one.fault}  {_age(now - one.began)}" for one in active.standing(root, stack.name)]
    of_network = [f"{told}  {_age(fault['age_s'])}" for _, told, fault in _of_network(stack)]
    return [*of_containers, *of_network]


def left_standing(stack: Stack) -> str:
    """What somebody injected by hand and nobody has healed, for whom it may surprise, with what heals it; or "".

    Costs one question to the engine where no sidecar is, and one to each sidecar.
    """
    try:
        of_containers = [one.fault for one in active.standing(Path(stack.suite.root), stack.name) if one.kept]
        found = [*of_containers, *(told for _, told, fault in _of_network(stack) if fault["keep"])]
    except ItestError as error:
        return f"whether faults stand is not known: {error.message}"
    return f"faults stand: {', '.join(found)} ({_heal(stack)})" if found else ""


@contextmanager
def blaming_standing(stack: Stack) -> Iterator[None]:
    """Tell what heals the faults by hand that stand where the block fails for want of a service."""
    try:
        yield
    except ItestError as error:
        if error.category == "service" and (told := left_standing(stack)):
            error.hint = told
        raise


def heal(stack: Stack, words: Sequence[str]) -> list[str]:
    """Heal the faults that these words tell, or all; services are ready again then. Returns which.

    Names of services count in their order: `latency shop` is none of `latency postgres shop`.

    Raises ItestError: usage where no fault has them, else where one can't be healed.
    """
    root, healed = Path(stack.suite.root), []
    for session, told, fault in _of_network(stack):
        if tells(words, told):
            session.remove(fault["id"])
            healed.append(told)
    for one in reversed(active.standing(root, stack.name)):
        if tells(words, one.fault):
            active.heal(root, one)
            stack.start(one.service)
            healed.append(one.fault + (_where(stack, one.service) if one.undo[0] == "start" else ""))
    if words and not healed:
        stands = [line.partition("  ")[0] for line in standing(stack)]
        hint = schema.nearest(" ".join(words), stands) if stands else "none stands"
        raise ItestError("usage", f"no such fault stands: {' '.join(words)}", hint=hint, cause="fault")
    return healed


def tells(words: Sequence[str], fault: str) -> bool:
    """Whether a person who says these words means this fault: its names one after the other, its amounts anywhere."""
    names, said = ([word for word in one if "=" not in word] for one in (fault.split(), words))
    rows = (names[start : start + len(said)] for start in range(len(names)))
    return said in (list(row) for row in rows) and {word for word in words if "=" in word} <= {*fault.split()}


def _where(stack: Stack, service: str) -> str:
    """Where a service answers that was started anew: a published port may be another one."""
    addresses, prefix = stack.discovery(), f"ITEST_{service.upper().replace('-', '_')}"
    address = addresses.get(f"{prefix}_DSN") or addresses.get(f"{prefix}_URL")
    return f", ready at {address}" if address else ""


def _heal(stack: Stack) -> str:
    return f"make fault SUITE={stack.suite.name} ARGS=heal"


def _of_network(stack: Stack) -> Iterator[tuple[Session, str, dict[str, Any]]]:
    """What stands between services: the conversation with the client's sidecar, the words, what the sidecar says."""
    for client, one in able.placed(stack).items():
        session = Session(one.id, client)
        try:
            for fault in session.ask(op="list")["faults"]:
                amounts = [f"{name}={_shown(value)}" for name, value in fault["with"].items() if value]
                yield session, " ".join([fault["kind"], client, fault["to"]["name"], *amounts]), fault
        finally:
            session.close()


def _words(method: Any) -> tuple[Word, ...]:
    types, parameters = get_type_hints(method), list(inspect.signature(method).parameters.values())[1:]
    return tuple(Word(one.name, types[one.name], one.default, one.kind is one.KEYWORD_ONLY) for one in parameters)


def _read(kind: str, given: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """What a method of Faults is called with. Raises ItestError (usage)."""
    named = dict(word.split("=", 1) for word in given if "=" in word)
    positional = [word for word in given if "=" not in word]
    known = {word.name: word for word in kinds()[kind]}
    wanted = [word.name for word in known.values() if not word.is_named]
    if len(positional) != len(wanted):
        raise _misused(kind, f"it takes {' and '.join(wanted)}, not {' '.join(positional) or 'nothing'}")
    for name in named:
        if name not in known or not known[name].is_named:
            raise _misused(
                kind, f"it has no {name}, {schema.nearest(name, [w.name for w in known.values() if w.is_named])}"
            )
    if missing := [word.name for word in known.values() if word.is_named and word.needed and word.name not in named]:
        raise _misused(kind, f"{missing[0]}=… is missing")
    return positional, {name: _value(kind, known[name], text) for name, text in named.items()}


def _value(kind: str, word: Word, text: str) -> Any:
    if word.kind is bool and text.lower() in YES + NO:
        return text.lower() in YES
    try:
        return int(text) if word.kind is int else float(text)
    except ValueError as error:
        raise _misused(kind, f"{word.name}={text} is no {'yes or no' if word.kind is bool else 'number'}") from error


def _misused(kind: str, problem: str) -> ItestError:
    return ItestError("usage", f"fault {kind}: {problem}", hint=f"ARGS='{usage(kind)}'", cause="fault")


def _shown(value: Any) -> str:
    return (
        "no" if value is False else "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _age(seconds: float) -> str:
    return f"for {seconds:.0f} s" if seconds < 120 else f"for {seconds / 60:.0f} min"
