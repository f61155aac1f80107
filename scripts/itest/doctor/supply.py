"""Whether the images that the suites need are here, and else whether they can be had: a stand-in, or a registry."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from itest.doctor.finding import MACHINE, Finding
from itest.images import ImageNeed
from itest.images.dockercli import query
from itest.images.pull import classify
from itest.images.standins import StandIns

ANSWERS_WITHIN = 1.5  # seconds; a registry usually takes half a second
UNIX = "unix://"


@dataclass(frozen=True)
class Missing:
    """An image that the engine doesn't hold. problem: why no registry gives it, "" where one does or nobody asked."""

    need: ImageNeed
    standin: bool
    problem: str = ""


def held(needs: Sequence[ImageNeed]) -> dict[str, Mapping[str, Any]]:
    """Those that the engine holds, each with docker's Config of it: user, healthcheck …"""
    wanted = sorted({one.ref for one in wanted_by(needs)})
    found = json.loads(query("image", "inspect", *wanted).stdout or "[]") if wanted else []
    return {
        name: one.get("Config") or {}
        for one in found
        for name in (*(one.get("RepoTags") or ()), *(one.get("RepoDigests") or ()))
    }


def wanted_by(needs: Sequence[ImageNeed]) -> list[ImageNeed]:
    """The needs, and what those that are built start FROM."""
    return [one for need in needs for one in (need, *(need.build.bases if need.build else ()))]


def look(root: Path, needs: Sequence[ImageNeed], here: Mapping[str, Any], endpoint: str) -> list[Missing]:
    """What is missing. A registry is asked, through the engine, only for what could come from nowhere else."""
    mode = os.environ.get("ITEST_IMAGES") or "auto"
    standins = StandIns(root)
    absent = {one.ref: one for one in wanted_by(needs) if one.ref not in here and not one.build}

    def judge(need: ImageNeed) -> Missing:
        standin = mode != "pull" and standins.find(need.ref) is not None
        if standin:
            return Missing(need, standin)
        return Missing(need, standin, "ITEST_IMAGES=build" if mode == "build" else ask(endpoint, need.ref))

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(judge, absent.values()))


def examine(missing: Sequence[Missing]) -> Iterator[Finding]:
    """What can't be had, and what the first run will have to fetch."""
    for one in missing:
        if one.problem:
            what = f"image {one.need.ref} is not here, no stand-in is known, and: {one.problem}"
            mend = (
                f"{one.need.variable or '<SERVICE>_IMAGE'}=… names another; compose/images/standins.yaml has stand-ins"
            )
            why = "a run that needs it fails"
            yield Finding("error", "image-unobtainable", MACHINE, what, why, mend, category="image")
    if coming := [one.need.ref for one in missing if not one.problem]:
        what = f"not here yet: {', '.join(coming)}"
        why = "the first run pulls them, or builds stand-ins, which takes a minute or two"
        yield Finding("note", "image-missing", MACHINE, what, why, "make images")


def ask(endpoint: str, reference: str) -> str:
    """Why an image can't be pulled, "" where it can, or where nobody can tell without pulling it.

    By GET /distribution/{name}/json of the Engine API: the engine asks the registry as it would to pull.
    """
    if not endpoint.startswith(UNIX):
        return ""
    connection = http.client.HTTPConnection("localhost", timeout=ANSWERS_WITHIN)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(ANSWERS_WITHIN)
        connection.sock.connect(endpoint.removeprefix(UNIX))
        connection.request("GET", f"/distribution/{quote(reference)}/json")
        answer = connection.getresponse()
        words = str(json.loads(answer.read() or b"{}").get("message", "")) if answer.status >= 400 else ""
    except TimeoutError:
        return f"its registry didn't answer within {ANSWERS_WITHIN:g} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"the engine didn't answer: {error}"
    finally:
        connection.close()
    reason = classify(words) if words else ""
    return words if reason in ("unreachable", "certificate", "not found") else ""  # a login may be needed, which it has
