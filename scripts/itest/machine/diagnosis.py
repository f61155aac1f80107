"""Why no engine is usable here, and the command that mends it on this system: a pure function of observed facts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from itest.errors import ItestError

OLDEST_ENGINE = (25, 0)  # the first with healthcheck.start_interval, which the layers use to start fast
OLDEST_COMPOSE = (2, 24)  # the first with optional env files
DEFAULT_HOST = "unix:///var/run/docker.sock"

# Debian and Ubuntu are not here: `make engine` knows their packages.
INSTALL = {
    "fedora": "sudo dnf install moby-engine docker-cli docker-compose docker-buildx && sudo systemctl start docker",
    "arch": "sudo pacman -S docker docker-compose docker-buildx && sudo systemctl start docker",
    "alpine": "sudo apk add docker docker-cli-compose docker-cli-buildx && sudo service docker start",
    "macos": "brew install --cask docker-desktop && open -a Docker",
}
COMPOSE = {
    "fedora": "sudo dnf install docker-compose",
    "arch": "sudo pacman -S docker-compose",
    "alpine": "sudo apk add docker-cli-compose",
    "macos": "brew install docker-compose and follow what it prints about cliPluginsExtraDirs",
}
# What brings up the engine behind a context, by how the context's name begins.
START = {
    "desktop-linux": "start Docker Desktop",
    "colima": "colima start",
    "orbstack": "open -a OrbStack",
    "rancher-desktop": "start Rancher Desktop",
    "rootless": "systemctl --user start docker",
}


@dataclass(frozen=True)
class Facts:
    """What was seen of the engine and its surroundings; "" stands for nothing seen.

    system:    os-release's ID ("debian", "fedora" …), or "macos".
    docker:    path of the `docker` command; podman: that command, or the server behind it, is podman.
    host:      DOCKER_HOST; context: docker's current context as docker says; endpoint: the address that both come to.
    server, compose: versions. server_complaint, compose_complaint: docker's own words where it gave none.
    dockerd:   path of the daemon's program on this machine.
    systemd, wsl, root, group: systemd runs; this is WSL; the user is root; the user is in group docker.
    forbidden: ITEST_ENGINE=off.
    """

    system: str = ""
    docker: str = ""
    podman: bool = False
    host: str = ""
    context: str = ""
    endpoint: str = DEFAULT_HOST
    server: str = ""
    server_complaint: str = ""
    compose: str = ""
    compose_complaint: str = ""
    dockerd: str = ""
    systemd: bool = False
    wsl: bool = False
    root: bool = False
    group: bool = False
    forbidden: bool = False

    @property
    def chosen(self) -> bool:
        """Whether somebody chose the engine, by DOCKER_HOST or a context; nothing is installed or started then."""
        return bool(self.host) or self.context not in ("", "default")

    @property
    def apt(self) -> bool:
        """Whether `make engine` can install here."""
        return self.system in ("debian", "ubuntu")


def diagnose(facts: Facts) -> ItestError | None:
    """What keeps these facts from being a usable engine, worst first, or None.

    The errors have category "engine", and as cause: missing podman permission unreachable stopped old compose.
    """
    if not facts.docker:
        return _error("missing", "docker engine: not installed", _install(facts))
    if facts.podman:
        hint = f"install Docker Engine beside it or choose one by DOCKER_HOST; {_install(facts)}"
        return _error("podman", f"docker command {facts.docker}: it is podman, which itest does not support", hint)
    if not facts.server:
        return _unanswered(facts)
    if _older(facts.server, OLDEST_ENGINE):
        return _too_old("engine", facts.server, OLDEST_ENGINE, facts)
    if not facts.compose:
        said = f"not installed, or broken: docker says `{facts.compose_complaint}`"
        return _error("compose", f"docker compose plugin: {said}", _install_compose(facts))
    if _older(facts.compose, OLDEST_COMPOSE):
        return _too_old("compose", facts.compose, OLDEST_COMPOSE, facts)
    return None


def _unanswered(facts: Facts) -> ItestError:
    """Docker's client is there, and no engine answered it."""
    said = facts.server_complaint.removeprefix("Error response from daemon: ") or "no answer"
    engine = f"docker engine {facts.endpoint}".rstrip()  # an unknown context has no address
    if re.search("permission denied while trying to connect", said, re.IGNORECASE):
        return _error("permission", f"{engine}: no permission on its socket", _join_group(facts))
    if re.search(r"client version .* is too (old|new)", said):
        hint = "install a docker client as old or new as the engine; if DOCKER_API_VERSION is set, unset it"
        return _error("old", f"{engine}: its client {facts.docker} does not fit: {said}", hint)
    if re.search("forbidden|unauthorized|authorization denied", said, re.IGNORECASE):
        return _error("permission", f"{engine}: it lets nobody in like this: {said}", _be_let_in(facts))
    silent = re.search("is the docker daemon running|failed to connect to the docker api", said, re.IGNORECASE)
    if facts.chosen:
        by = "DOCKER_HOST" if facts.host else f"context {facts.context}"
        why = "nobody answers there" if silent else said.partition(": open /")[0].removeprefix("Failed to initialize: ")
        return _error("unreachable", f"{engine} (chosen by {by}): {why}", _choose_another(facts))
    if not silent:
        return _error("unreachable", f"{engine}: {said}", "see what `docker version` says, and mend that")
    if facts.dockerd or facts.system == "macos":
        return _error("stopped", f"{engine}: installed, but not running", _start(facts))
    return _error("missing", f"docker engine: not installed, only its client {facts.docker} is", _install(facts))


def _error(cause: str, message: str, hint: str) -> ItestError:
    return ItestError("engine", message, hint=hint, cause=cause)


def _too_old(part: str, version: str, oldest: tuple[int, int], facts: Facts) -> ItestError:
    hint = f"install {'.'.join(map(str, oldest))} or newer: {_upgrade(part, facts)}"
    return _error("old", f"docker {part} {version}: too old, itest needs {'.'.join(map(str, oldest))} or newer", hint)


def _older(version: str, oldest: tuple[int, int]) -> bool:
    """Whether a version is older; one without numbers, as of a development build, is not."""
    numbers = re.search(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < oldest


def _sudo(facts: Facts) -> str:
    return "" if facts.root else "sudo "


def _make_engine(facts: Facts) -> str:
    return f"{_sudo(facts)}make engine{', without ITEST_ENGINE=off' if facts.forbidden else ''}"


def _install(facts: Facts) -> str:
    if facts.apt:
        windows = ", or switch on this distribution in Docker Desktop, Settings, Resources, WSL integration"
        return _make_engine(facts) + (windows if facts.wsl else "")
    return INSTALL.get(facts.system, "install Docker Engine with Compose: https://docs.docker.com/engine/install/")


def _install_compose(facts: Facts) -> str:
    if facts.apt:
        return _make_engine(facts)
    return COMPOSE.get(facts.system, "install Docker's compose plugin: https://docs.docker.com/compose/install/linux/")


def _upgrade(part: str, facts: Facts) -> str:
    if facts.system == "macos" or facts.context == "desktop-linux":
        return "update Docker Desktop"
    if facts.chosen and part == "engine":
        return f"on the machine behind {facts.endpoint}; or: {_back(facts)}"
    if facts.apt:
        package = "docker.io" if part == "engine" else "docker-compose"
        return f"{_sudo(facts)}apt-get remove {package} && {_make_engine(facts)}"
    return _install(facts) if part == "engine" else _install_compose(facts)


def _join_group(facts: Facts) -> str:
    if facts.chosen:
        return f"become a user who may use {facts.endpoint}"
    if facts.group:
        return "newgrp docker, or log in again: this session is older than your membership in group docker"
    rootless = "without root's rights: dockerd-rootless-setuptool.sh install"
    return f"sudo usermod -aG docker $USER && newgrp docker (that makes you as mighty as root; {rootless})"


def _be_let_in(facts: Facts) -> str:
    certificates = "give docker the certificate that it asks for (DOCKER_CERT_PATH and DOCKER_TLS_VERIFY=1)"
    return f"{certificates}, or: {_back(facts)}" if facts.chosen else certificates


def _back(facts: Facts) -> str:
    """What makes docker talk to this machine's own engine again."""
    return "unset DOCKER_HOST" if facts.host else "docker context use default, with DOCKER_CONTEXT unset"


def _choose_another(facts: Facts) -> str:
    """Bring the chosen engine up where its kind is known, or go back to the machine's own."""
    kind = "rootless" if facts.endpoint.startswith("unix:///run/user/") else facts.context
    start = next((command for name, command in START.items() if kind.startswith(name)), "")
    return f"{start or 'make it answer'}, or: {_back(facts)}"


def _start(facts: Facts) -> str:
    if facts.system == "macos":
        return "open -a Docker (or: colima start)"
    if facts.systemd:
        return f"{_sudo(facts)}systemctl start docker"
    return _make_engine(facts) if facts.apt else f"{_sudo(facts)}service docker start"
