"""Every image that a run needs, made present: pulled where a registry answers, else built here as a stand-in; and the
images of this repository, built when their inputs changed. An unchanged check is one `docker image inspect`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import cast

from itest.errors import ItestError
from itest.images import ref
from itest.images import store as image_store
from itest.images.needs import BuildSpec, ImageNeed, needs_of, pin
from itest.images.standins import StandIns
from itest.images.work import ImageReport, Mode, Work

__all__ = ["BuildSpec", "ImageNeed", "ImageReport", "describe", "ensure", "needs_of", "pin"]

ROOT = Path(__file__).resolve().parents[3]


def ensure(
    needs: Sequence[ImageNeed],
    report: Callable[[str], None],
    *,
    cancelled: Event | None = None,
    mode: Mode | None = None,
    root: Path = ROOT,
) -> list[ImageReport]:
    """Make all images present, side by side; one report an image, in the order of `needs`, each once.

    report: gets one line at every change, from any thread. cancelled: set it to give up.
    mode: "auto"; "pull": never a stand-in; "build": never a registry. Default: ITEST_IMAGES, or auto.
    Raises ItestError (image; cause "pull" or "build") once all others are done, naming every image that is missing.
    """
    wanted = list({need.ref: need for need in needs}.values())
    work = Work(wanted, StandIns(root), mode or _mode(), report, cancelled or Event())
    if not work.is_done():
        work.run()
        image_store.prune(keep=work.references)
    return [work.report_on(need) for need in wanted]


def describe(reports: Sequence[ImageReport]) -> str:
    """All reports in a few words: `3 present`, `redis:8.0.99 built as stand-in (Redis 8.0.2), 2 present`.

    A stand-in of another version than its tag says is named at every run: the tests meet that other version.
    """
    told = [one for one in reports if one.how != "present" or _other_version(one)]
    words = [f"{one.ref} {one.how}{' as stand-in' * one.standin}{_other_version(one)}" for one in told]
    present = len(reports) - len(told)
    return ", ".join([*words, *([f"{present} present"] if present else [])])


def table(reports: Sequence[ImageReport]) -> str:
    """One line an image: its reference, how it came, what is in it, seconds."""
    rows = [("image", "how", "holds", "seconds")]
    for one in reports:
        how = f"stand-in, {one.how}" if one.standin else one.how
        rows.append((one.ref, how, one.contains or one.image_id.removeprefix("sha256:")[:12], f"{one.seconds:.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3].rjust(7)])
        for row in rows
    )


def _other_version(report: ImageReport) -> str:
    """` (Redis 8.0.2)` of a stand-in for redis:8.0.99; "" where the tag names what is in it, whole or in part."""
    wanted = ref.parse(report.ref).tag.partition("-")[0].split(".")
    held = report.contains.rpartition(" ")[2].split(".")
    return "" if not report.contains or held[: len(wanted)] == wanted else f" ({report.contains})"


def _mode() -> Mode:
    given = os.environ.get("ITEST_IMAGES", "") or "auto"
    if given not in ("auto", "pull", "build"):
        problem = f"ITEST_IMAGES={given}: auto, pull or build is expected"
        raise ItestError("usage", problem, hint="unset ITEST_IMAGES, which is the same as auto", cause="arguments")
    return cast(Mode, given)
