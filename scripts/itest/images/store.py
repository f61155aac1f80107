"""The images that the engine holds: looking many up in one round trip, and removing what only we left there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from itest.errors import ItestError
from itest.images.dockercli import query

HASH = "itest.hash"  # of the inputs; on every image that we build
BASES = "itest.bases"  # ids of the images that it started FROM
STANDIN = "itest.standin"  # the reference that it stands in for
CONTAINS = "itest.contains"  # what is really in a stand-in, "PostgreSQL 17.11"
SUPERSEDED = "itest/superseded"  # the repository of images whose name another one has taken
UNUSED_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class LocalImage:
    """An image that the engine holds."""

    id: str
    labels: Mapping[str, str]

    def stands_in_for(self, reference: str) -> bool:
        """Whether it is our stand-in; an image that was built FROM one inherits its labels, and is not."""
        return self.labels.get(STANDIN) == reference


def find(references: Iterable[str]) -> dict[str, LocalImage]:
    """Those of the references that the engine holds; one call (10 ms) however many they are.

    Raises ItestError (engine) when the engine doesn't answer.
    """
    wanted = list(dict.fromkeys(references))
    if not wanted:
        return {}
    done = query("image", "inspect", *wanted)
    found = [LocalImage(one["Id"], _labels(one)) for one in json.loads(done.stdout or "[]")]
    missing = [reference for reference in wanted if _is_missing(reference, done.stderr)]
    present = [reference for reference in wanted if reference not in missing]
    if len(present) == len(found):
        return dict(zip(present, found, strict=True))
    if not done.stderr or "No such image" not in done.stderr:
        raise ItestError(
            "engine", f"docker image inspect: {done.stderr.strip()}", hint="make engine", cause="unreachable"
        )
    # An engine that words it differently: ask for each alone.
    return {one: image for one in wanted for image in find([one]).values()} if len(wanted) > 1 else {}


def _labels(image: Mapping[str, Any]) -> Mapping[str, str]:
    return (image["Config"] or {}).get("Labels") or {}  # an image may be without either


def _is_missing(reference: str, complaints: str) -> bool:
    return any(line.endswith(f"No such image: {reference}") for line in complaints.splitlines())


@contextmanager
def superseding(image_id: str) -> Iterator[None]:
    """Remove an image with the block's end, unless it has some name still: in the block another one takes its name.

    While a container uses it the engine refuses; then, or when this process is killed, the name that it has meanwhile
    tells that it is ours and of no more use. By its labels nobody could: what is built FROM it has the same.
    """
    name = f"{SUPERSEDED}:{image_id.removeprefix('sha256:')[:12]}"
    query("image", "tag", image_id, name)
    try:
        yield
    finally:
        query("image", "rm", name)  # of the last name only; by any other somebody is about to start it


def superseded() -> list[str]:
    """The names of images that others have replaced and that containers still used when that was so."""
    return query(
        "image", "ls", "--filter", f"reference={SUPERSEDED}", "--format={{.Repository}}:{{.Tag}}"
    ).stdout.split()


def remove_superseded() -> None:
    """Remove those that no container uses any more; the engine refuses the others."""
    if names := superseded():
        query("image", "rm", *names)


def prune(keep: Iterable[str]) -> None:
    """Remove what only our builds left: superseded builds of a `build:`, and what no run has built in a week.

    keep: references that are needed now. Whatever somebody builds FROM a stand-in inherits its labels, so only an image
    that is tagged as what it stands in for, or with its own hash, is ours. One that a container uses stays too.
    """
    remove_superseded()
    # Refused while another process does the same, which is as good.
    query("image", "prune", "--force", "--filter", f"label={BASES}")
    listing = query("image", "ls", "--quiet", "--filter", f"label={HASH}").stdout.split()
    inspected = json.loads(query("image", "inspect", *sorted(set(listing))).stdout or "[]") if listing else []
    # Both are RFC 3339. In which time zone the engine writes doesn't matter for a week.
    oldest = (datetime.now(timezone.utc) - UNUSED_AFTER).isoformat()
    old = [image for image in inspected if image["Metadata"]["LastTagTime"] < oldest]
    ours = {tag for image in old for tag in image["RepoTags"] if _is_ours(tag, _labels(image))}
    if ours - set(keep):
        query("image", "rm", *sorted(ours - set(keep)))


def _is_ours(tag: str, labels: Mapping[str, str]) -> bool:
    version = tag.rpartition(":")[2]
    return tag == labels.get(STANDIN) or (BASES in labels and labels[HASH].startswith(version))
