"""The parts of an image reference, by the rules that docker itself applies
(https://pkg.go.dev/github.com/distribution/reference)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """An image reference taken apart.

    registry: host, with its port if it has one; "" is the engine's default registry.
    repository: the path beneath it, "postgres" or "team/shop".
    tag: "latest" where the reference has neither a tag nor a digest; digest: "sha256:…" or "".
    """

    registry: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        path = f"{self.registry}/{self.repository}" if self.registry else self.repository
        return path + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Take a reference apart: `postgres:17.11`, `localhost:5000/team/shop:1`, `redis@sha256:…`."""
    name, _, digest = text.partition("@")
    # A colon is the tag's only behind the last slash; before it, it is a port's.
    path, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    head, _, rest = f"{path}{slash}{last}".partition("/")
    is_host = bool(rest) and ("." in head or ":" in head or head == "localhost" or head != head.lower())
    registry, repository = (head, rest) if is_host else ("", f"{path}{slash}{last}")
    return Reference(registry, repository, tag or ("" if digest else "latest"), digest)
