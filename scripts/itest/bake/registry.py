"""Bakes shared through a registry: pulled from a repository before they are made, pushed once they are made here.

It helps and is never needed: whatever goes wrong with it is a note, once, and it is left alone from then on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from itest.bake import shelf
from itest.bake.inputs import Recipe
from itest.images import pull, ref, store
from itest.images.dockercli import query
from itest.images.pull import PullError, Registries

PUSHED_WITHIN = 300.0  # seconds; the first push to a repository takes the base image with it


@dataclass
class Repository:
    """Where a run's bakes are shared; used for all of its suites, so that what is wrong with it is found out once.

    name: `registry.example/team/itest-bake`, beneath which each service has its own; empty shares nothing.
    pulls, pushes: whether it still makes sense to try.
    """

    name: str
    pulls: bool = field(init=False)
    pushes: bool = field(init=False)

    def __post_init__(self) -> None:
        self.pulls = self.pushes = bool(self.name)

    def pull(self, recipe: Recipe, report: Callable[[str], None], note: Callable[[str], None]) -> bool:
        """Have a bake from there under its local name; whether that came about. note: gets a line for a person."""
        if not self.pulls:
            return False
        remote = self._reference(recipe)
        try:
            Registries(Event()).pull(remote, lambda words: report(f"{recipe.reference}: {words}"))
            return _take(remote, recipe, note)
        except PullError as error:
            # Before the first push many registries say "denied"; whether it was meant, the push will tell.
            if error.reason not in ("not found", "denied"):
                self.pulls = self.pushes = False
                note(f"bakes are not shared through {self.name}: {error.brief}: {error.words}")
            return False
        finally:
            query("image", "rm", remote)  # under its local name alone it is listed, used and removed

    def push(self, recipe: Recipe, report: Callable[[str], None], note: Callable[[str], None]) -> None:
        """Hand a bake that was made here to the others. note: gets a line for a person where that fails."""
        if not self.pushes:
            return
        remote = self._reference(recipe)
        report(f"pushing {remote}")
        query("image", "tag", recipe.reference, remote)
        try:
            done = subprocess.run(
                ["docker", "push", "--quiet", remote],
                capture_output=True,
                text=True,
                check=False,
                timeout=PUSHED_WITHIN,
            )
        except subprocess.TimeoutExpired:
            problem = f"it took more than {PUSHED_WITHIN:.0f} s"
        else:
            problem = _problem(done, remote)
        finally:
            query("image", "rm", remote)
        if problem:
            self.pushes = False
            note(f"{remote} is not pushed: {problem}")

    def _reference(self, recipe: Recipe) -> str:
        return f"{self.name}/{recipe.reference.rpartition('/')[2]}"


def _take(remote: str, recipe: Recipe, note: Callable[[str], None]) -> bool:
    """Name a pulled image as the bake that it has to be; one that says something else of itself is none."""
    found = store.find([remote]).get(remote)
    if found is None:
        return False  # somebody else on this engine has removed it
    if wrong := shelf.differs(found.labels, recipe):
        note(f"{remote} is not what its tag says (label {wrong}), and is baked anew")
        return False
    return query("image", "tag", remote, recipe.reference).returncode == 0


def _problem(done: subprocess.CompletedProcess[str], remote: str) -> str:
    """Why a push failed, with what would mend it; empty for one that didn't."""
    if done.returncode == 0:
        return ""
    words = (done.stderr.strip() or "docker push said nothing").splitlines()[-1]
    denied = pull.classify(words) == "denied"
    return f"{words}; docker login {ref.parse(remote).registry}".rstrip() if denied else words
