"""A request as it came in: what is matched, journaled and shown to templates."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

Pairs = tuple[tuple[str, str], ...]


class NoJson:
    """What `Incoming.json` is where the body is no JSON, as `null` is a value like others."""

    def __repr__(self) -> str:
        return "no JSON"

    def __bool__(self) -> bool:
        return False


NO_JSON = NoJson()


@dataclass(frozen=True)
class Incoming:
    """path: as on the wire, without its query; client: `ip:port`; address: the mock's own, at which it arrived;

    credentials: the user name that the client gave the mock as its proxy, "" for none.
    """

    method: str
    path: str
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes = b""
    scheme: str = "http"
    host: str = ""
    port: int = 80
    client: str = ""
    address: str = ""
    credentials: str = ""

    @classmethod
    def of(cls, method: str, target: str, **rest: Any) -> Incoming:
        """From a target as it stands in a request line, `/path?query`; rest: the other fields."""
        path, _, query = target.partition("?")
        return cls(method, path or "/", tuple(parse_qsl(query, keep_blank_values=True)), **rest)

    @cached_property
    def decoded_path(self) -> str:
        """The path with its percent signs resolved; what isn't UTF-8 becomes replacement characters."""
        return unquote(self.path)

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's parts, each decoded, so that an escaped slash divides nothing."""
        return tuple(unquote(part) for part in self.path.split("/"))

    @cached_property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    @cached_property
    def json(self) -> Any:
        """The body as JSON, whatever its content type says; NO_JSON where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return NO_JSON

    @cached_property
    def form(self) -> Pairs:
        """The fields of an urlencoded form."""
        if "application/x-www-form-urlencoded" not in ",".join(self.header("content-type")).lower():
            return ()
        return tuple(parse_qsl(self.text, keep_blank_values=True))

    def header(self, name: str) -> tuple[str, ...]:
        """Every value of a header, whatever its letters' case."""
        return tuple(value for key, value in self.headers if key.lower() == name.lower())

    def as_data(self) -> dict[str, Any]:
        """For the journal."""
        plain = ("method", "scheme", "host", "port", "path", "client", "address", "credentials")
        pairs = {"query": [list(pair) for pair in self.query], "headers": [list(pair) for pair in self.headers]}
        return {name: getattr(self, name) for name in plain} | pairs | body_data(self.body)


def body_data(body: bytes) -> dict[str, str]:
    """A body for JSON: as text, or as base64 where it is none."""
    with suppress(UnicodeDecodeError):
        if b"\0" not in body:  # no text, though UTF-8; and JSON would take six bytes for each
            return {"body": body.decode()}
    return {"base64": base64.b64encode(body).decode()}


def values(pairs: Iterable[tuple[str, str]], name: str) -> tuple[str, ...]:
    """Every value that a query or a form gives to a name."""
    return tuple(value for key, value in pairs if key == name)
