"""One suite under examination: its files, what compose makes of them, and where in them something stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from itest.doctor.finding import Finding, Severity
from itest.suite.suite import Suite

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """config: resolved; images: reference -> docker's Config of those that the engine holds, see store.settings."""

    suite: Suite
    config: Config
    images: Mapping[str, Config] = field(default_factory=dict)

    @property
    def services(self) -> Iterator[tuple[str, Config]]:
        yield from self.config["services"].items()

    def image(self, service: Config) -> Config | None:
        """What the image of a service says by itself; None where the engine doesn't hold it."""
        return self.images.get(service.get("image", ""))

    def at(self, *keys: str | int) -> str:
        """`file:line` of a key, in the last file that gives it, or else of its nearest parent."""
        for depth in range(len(keys), 0, -1):
            for file in reversed(self.suite.files):
                if keys[:depth] in file.lines:
                    return file.where(*keys[:depth])
        return str(self.suite.files[-1].path)

    def at_service(self, name: str, key: str = "") -> str:
        """`file:line` of a key of a service, or, where it has none, of the service where it comes up first."""
        whole = ("services", name, key)
        if any(whole in file.lines for file in self.suite.files):
            return self.at(*whole)
        layers = [file for file in self.suite.files if ("services", name) in file.lines]
        return (layers or self.suite.files)[0].where("services", name)

    def finding(self, severity: Severity, id: str, place: str, what: str, why: str, mend: str) -> Finding:
        return Finding(severity, id, place, what, why, mend, suites=(self.suite.name,))
