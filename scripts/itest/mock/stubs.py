"""What a stub is: which requests it answers, with what, and how that goes wrong.

`as_data()` gives the language of the stub files, as plain data for JSON; `stubfile` reads it. Durations are seconds.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

How = Literal["equals", "template", "glob", "regex", "contains", "absent", "present"]
Spread = Literal["fixed", "uniform", "lognormal"]
Effects = Literal["status", "slow_headers", "slow_body", "truncated", "malformed", "reset", "never_answers", "delay"]

BEGINNING = "started"  # the state of a scenario that no stub has moved yet
EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Value:
    """How one value must look. how: `template` is a path with {names}; what: the text, or what is in the JSON."""

    how: How
    what: Any = None

    def as_data(self) -> Any:
        unclear = isinstance(self.what, dict) or (isinstance(self.what, str) and re.search(r"[{?]", self.what))
        if self.how == "template" or (self.how == "equals" and not unclear):
            return self.what
        return {"absent": self.how == "absent"} if self.how in ("absent", "present") else {self.how: self.what}


@dataclass(frozen=True)
class Json:
    """A JSON body. exact: no more than this; otherwise objects may hold more keys, at any depth."""

    value: Any
    exact: bool = False


@dataclass(frozen=True)
class Request:
    """Which requests a stub answers: those that fulfil everything that is said here; methods empty: any."""

    methods: tuple[str, ...] = ()
    host: Value | None = None
    path: Value | None = None
    query: Mapping[str, Value] = field(default_factory=lambda: EMPTY)
    headers: Mapping[str, Value] = field(default_factory=lambda: EMPTY)
    json: Json | None = None
    jsonpath: Mapping[str, Value] = field(default_factory=lambda: EMPTY)
    form: Mapping[str, Value] = field(default_factory=lambda: EMPTY)
    body: Value | None = None

    def as_data(self) -> dict[str, Any]:
        said: dict[str, Any] = {"method": list(self.methods)} if self.methods else {}
        for name in ("host", "path", "body"):
            if (value := getattr(self, name)) is not None:
                said[name] = value.as_data()
        for name in ("query", "headers", "jsonpath", "form"):
            if values := getattr(self, name):
                said[name] = {key: value.as_data() for key, value in values.items()}
        if self.json:
            said["json_exact" if self.json.exact else "json"] = self.json.value
        return said


@dataclass(frozen=True)
class Delay:
    """spread `fixed`: first; `uniform`: from first to second; `lognormal`: median first, sigma second (no unit)."""

    spread: Spread
    first: float
    second: float = 0.0

    def as_data(self) -> Any:
        if self.spread == "fixed":
            return f"{self.first:.17g}s"
        if self.spread == "uniform":
            return {"uniform": [f"{self.first:.17g}s", f"{self.second:.17g}s"]}
        return {"lognormal": {"median": f"{self.first:.17g}s", "sigma": self.second}}


@dataclass(frozen=True)
class Response:
    """One answer. body: Json, text or bytes; template: texts in headers and body are templates."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    body: Json | str | bytes = b""
    delay: Delay | None = None
    template: bool = True

    def as_data(self) -> dict[str, Any]:
        said: dict[str, Any] = {"status": self.status, "template": self.template}
        if self.headers:
            said["headers"] = dict(self.headers)
        if isinstance(self.body, Json):
            said["json"] = self.body.value
        elif isinstance(self.body, str):
            said["body"] = self.body
        elif self.body:
            said["base64"] = base64.b64encode(self.body).decode()
        return said | ({"delay": self.delay.as_data()} if self.delay else {})


@dataclass(frozen=True)
class Scenario:
    """when: the state in which the stub answers, None in any; then: the state that it leads to, None the same."""

    name: str
    when: str | None = None
    then: str | None = None

    def as_data(self) -> dict[str, Any]:
        said = {"name": self.name, "when": self.when, "then": self.then}
        return {key: value for key, value in said.items() if value is not None}


@dataclass(frozen=True)
class Effect:
    """What goes wrong. amount: seconds of a delay or of what is slow; the share of the body that arrives, if truncated.

    status and headers: of effect `status`, which answers without a body.
    """

    what: Effects
    amount: float = 0.0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY)

    def as_data(self) -> dict[str, Any]:
        if self.what == "status":
            return {"status": self.status} | ({"headers": dict(self.headers)} if self.headers else {})
        if self.what == "truncated":
            return {self.what: self.amount}
        return {self.what: f"{self.amount:.17g}s" if self.what in ("slow_headers", "slow_body", "delay") else True}


@dataclass(frozen=True)
class Fault:
    """Which requests go wrong: all that fulfil what is said; first: the first so many that come to the stub in a scope;

    between: seconds since the test began, or since it added the stub; probability: drawn anew for each, from the seed.
    """

    effect: Effect
    first: int | None = None
    between: tuple[float, float] | None = None
    probability: float | None = None
    seed: int = 0

    def as_data(self) -> dict[str, Any]:
        said = self.effect.as_data()
        if self.first is not None:
            said["first"] = self.first
        if self.between is not None:
            said["between"] = [f"{edge:.17g}s" for edge in self.between]
        return said | ({"probability": self.probability, "seed": self.seed} if self.probability is not None else {})


@dataclass(frozen=True)
class Limit:
    """At most so many requests in any span of so many seconds; the others get the status, with Retry-After."""

    requests: int
    per: float
    status: int = 429

    def as_data(self) -> dict[str, Any]:
        return {"requests": self.requests, "per": f"{self.per:.17g}s", "status": self.status}


@dataclass(frozen=True)
class Stub:
    """where: `file:line`; responses: in sequence, the last one repeats; faults: the first that applies counts;

    priority: beats specificity and recency, the higher the sooner; scope_key: where in a request's body its scope
    stands, a JSONPath or the name of a form's field; overlay: it has faults alone, for whatever stub answers.
    """

    name: str
    request: Request = field(default_factory=Request)
    responses: tuple[Response, ...] = (Response(),)
    scenario: Scenario | None = None
    faults: tuple[Fault, ...] = ()
    limit: Limit | None = None
    priority: int | None = None
    scope_key: str = ""
    where: str = ""
    overlay: bool = False

    def as_data(self) -> dict[str, Any]:
        """The stub in the language of the files, with `where`; what `stubfile.from_data` reads."""
        said: dict[str, Any] = {"name": self.name, "request": self.request.as_data()}
        said["responses"] = [response.as_data() for response in self.responses]
        for name in ("scenario", "limit"):
            if value := getattr(self, name):
                said[name] = value.as_data()
        if self.faults:
            said["fault"] = [fault.as_data() for fault in self.faults]
        if self.overlay:
            del said["responses"]
        rest = {
            "overlay": self.overlay or None,
            "priority": self.priority,
            "scope_key": self.scope_key or None,
            "where": self.where or None,
        }
        return said | {key: value for key, value in rest.items() if value is not None}
