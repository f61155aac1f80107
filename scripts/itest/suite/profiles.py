"""A profile: an env file with values for a place, which may add layers to the suite's own. Never replace them."""

from __future__ import annotations

from pathlib import Path

from itest.errors import ItestError
from itest.suite import envfile, schema
from itest.suite.envfile import EnvFile

PROFILES = Path("compose/profiles")
SEALED = "sealed"
MORE = "${COMPOSE_FILE}:"  # how the COMPOSE_FILE of a profile begins: compose reads env files one after the other


def read(root: Path, profile: str) -> EnvFile | None:
    """The env file of a profile; None for no profile. Raises ItestError (usage)."""
    if not profile:
        return None
    path = PROFILES / f"{profile}.env"
    if not (root / path).is_file():
        known = [path.stem for path in (root / PROFILES).glob("*.env")]
        raise ItestError("usage", f"unknown profile {profile}", hint=schema.nearest(profile, known), cause="profile")
    env_file = envfile.read(root, path)
    if "COMPOSE_PROJECT_NAME" in env_file.lines:
        hint = "set it in compose/suites/ alone"
        raise env_file.wrong("COMPOSE_PROJECT_NAME", "in a profile replaces the suite's own", hint)
    if not env_file.texts.get("COMPOSE_FILE", MORE).startswith(MORE):
        hint = f"set it in compose/suites/ alone, or begin with {MORE} to add a file"
        raise env_file.wrong("COMPOSE_FILE", "in a profile replaces the suite's own", hint)
    return env_file


def more(env_file: EnvFile | None) -> str:
    """What a profile adds to COMPOSE_FILE, empty for nothing."""
    return env_file.texts.get("COMPOSE_FILE", "").removeprefix(MORE) if env_file else ""
