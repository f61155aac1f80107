"""One `docker buildx build`, with progress while it runs, and the failing step with its last lines when it fails.

The host's proxies, package index and CA bundle reach it, what is private of them as secrets: never as a layer.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from itest.errors import ItestError
from itest.images.dockercli import query, watch
from itest.images.needs import shown
from itest.machine import disk, scratch

REPORT_EVERY = 2.0  # seconds: a build never seems to hang
LINES_SHOWN = 20
TITLE_LENGTH = 60  # characters of an instruction in a progress line
# Arguments that every Dockerfile takes without declaring them, and which are not recorded in the image
# (https://docs.docker.com/reference/dockerfile/#predefined-args).
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
# What buildx puts before the words that matter.
BUILDER = re.compile(r"^ERROR: (?:failed to (?:solve|compute cache key|calculate checksum of ref \S+): )*")
PIP_SETTINGS = ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "DEFAULT_TIMEOUT", "RETRIES")


@dataclass
class _Progress:
    """What buildx prints with --progress=plain: lines `#<vertex> …`, the first of each vertex being its title."""

    report: Callable[[str], None]
    titles: dict[str, str] = field(default_factory=dict)
    output: dict[str, list[str]] = field(default_factory=dict)
    failed: str = ""
    others: list[str] = field(default_factory=list)
    reported: float = 0.0

    def __call__(self, line: str) -> None:
        match = re.match(r"#(\d+) (.*)", line)
        if not match:
            self.others.append(line)
            return
        vertex, text = match.groups()
        if vertex not in self.titles:
            self.titles[vertex] = text
            self._tell(_step(text), at_once=text.startswith("["))
        elif text.startswith("ERROR:"):
            self.failed = vertex
        elif re.match(r"\d+\.\d+ ", text):
            words = text.split(" ", 1)[1].strip()
            self.output.setdefault(vertex, []).append(words)
            self._tell(f"{_step(self.titles[vertex])}: {words}", at_once=False)

    def _tell(self, words: str, *, at_once: bool) -> None:
        now = time.monotonic()
        if words and (at_once or now - self.reported > REPORT_EVERY):
            self.reported = now
            self.report(words[:120])

    def failure(self) -> tuple[str, list[str]]:
        """The step that failed, and the last lines that it, or the builder, printed."""
        if self.failed:
            return _step(self.titles[self.failed]), self.output.get(self.failed, [])[-LINES_SHOWN:] or self._errors()
        return "", self._errors()

    def reason(self) -> str:
        """Buildx's last word in brief: `exit code 3`, `"/nosuch.conf": not found`; "" without one."""
        said = next((line for line in reversed(self.others) if line.startswith("ERROR: ")), "")
        code = re.search(r"did not complete successfully: exit code: (\d+)", said)
        return f"exit code {code[1]}" if code else BUILDER.sub("", said)

    def _errors(self) -> list[str]:
        return [line for line in self.others if line.strip()][-LINES_SHOWN:]


def _step(title: str) -> str:
    """`[3/9] RUN …` → `step 3/9 RUN …`; nothing for the builder's own housekeeping."""
    match = re.match(r"\[(?:\S+ +)?(?P<step>\d+/\d+)\] (?P<what>.*)", title)
    if not match:
        return ""
    what = re.sub(r"--mount=\S+", "", match["what"])
    words = " ".join(what.split())
    return f"step {match['step']} {words if len(words) < TITLE_LENGTH else words[: TITLE_LENGTH - 1] + '…'}"


def build(
    reference: str,
    context: str,
    arguments: Sequence[str],
    report: Callable[[str], None],
    stop: Event,
    *,
    labels: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Build `context` and tag it as `reference`. arguments: further flags of `docker buildx build`.

    Raises ItestError (image, cause "build") with the failing step.
    """
    variables = {**proxies(), **(environment or {})}
    secrets, secret_variables = _secrets()
    progress = _Progress(report)
    command = [
        *("docker", "buildx", "build", "--progress=plain", "--provenance=false", "--load"),
        # The engine's own builder: any other sees neither the images of the engine nor the host's loopback.
        *("--builder", _builder()),
        # Packages come through a proxy or an index that may listen on the host's loopback only.
        "--network=host",
        *(f"--build-arg={name}" for name in variables),  # the value stays out of the process list
        *secrets,
        *(f"--label={name}={value}" for name, value in labels.items()),
        *arguments,
        f"--tag={reference}",
        context,
    ]
    with scratch.folder("build") as folder:  # a client that is killed leaves what it unpacked
        given = {**variables, **secret_variables, "TMPDIR": str(folder)}
        failed = watch(command, progress, stop, environment=given)
    if failed:
        raise _failure(reference, progress, context)


def _failure(reference: str, progress: _Progress, context: str) -> ItestError:
    step, lines = progress.failure()
    evidence = "\n".join(f"    {line}" for line in lines)
    if any("not a docker command" in line or "unknown flag" in line for line in lines):
        problem = f"image {reference}: building it needs docker's buildx plugin, which is not installed"
        return ItestError("engine", problem, hint="sudo apt-get install docker-buildx, or make engine", cause="buildx")
    if no_space := next((line for line in lines if disk.NO_SPACE in line), ""):
        return disk.full(f"image {reference}: build{f' at {step}' if step else ''}", no_space)
    why = progress.reason()
    return ItestError(
        "image",
        f"image {reference}: build failed{f' at {step}' if step else ''}{f': {why}' if why else ''}\n{evidence}",
        hint=f"mend {shown(context)}; offline, or behind a proxy or a private index? "
        "HTTPS_PROXY, PIP_INDEX_URL and SSL_CERT_FILE are passed on to builds",
        cause="build",
    )


def _builder() -> str:
    """Every docker context has a builder of the same name, which is its engine itself."""
    return query("context", "show").stdout.strip() or "default"


def proxies() -> dict[str, str]:
    """The proxy variables of the environment, in both spellings: apt-get reads only the small one, others the other."""
    values = {name: os.environ.get(name) or os.environ.get(name.lower(), "") for name in PROXIES}
    return {spelling: value for name, value in values.items() if value for spelling in (name, name.lower())}


def _secrets() -> tuple[list[str], dict[str, str]]:
    """Flags, and variables that they read. `ca` is the host's CA bundle, `pip` lines `PIP_…=…` for a shell."""
    flags: list[str] = []
    bundle = ca_bundle()
    if bundle:
        flags.append(f"--secret=id=ca,src={bundle}")
    given = os.environ.get("ITEST_PIP_ENV")
    if given:
        return [*flags, f"--secret=id=pip,src={given}"], {}
    lines = "".join(f"PIP_{name}={shlex.quote(value)}\n" for name, value in pip_settings().items())
    return [*flags, "--secret=id=pip,env=ITEST_PIP_SETTINGS"], {"ITEST_PIP_SETTINGS": lines}


def ca_bundle() -> str:
    """Path of the CA bundle that programs of this host are told to trust, else of the system's own; "" without one."""
    named = ("ITEST_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
    system = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    candidates = [*(os.environ.get(name, "") for name in named), ssl.get_default_verify_paths().cafile or "", *system]
    return next((path for path in candidates if path and Path(path).is_file() and Path(path).stat().st_size), "")


def pip_settings() -> dict[str, str]:
    """Where pip of this host looks for packages, without what a container can't reach (file:// and paths)."""
    found = dict(_pip_configuration())
    found |= {name: os.environ[f"PIP_{name}"] for name in PIP_SETTINGS if os.environ.get(f"PIP_{name}")}
    for name in ("INDEX_URL", "EXTRA_INDEX_URL"):
        remote = [url for url in found.pop(name, "").split() if url.startswith(("http://", "https://"))]
        if remote:
            found[name] = " ".join(remote)
    return found


def _pip_configuration() -> Iterator[tuple[str, str]]:
    """pip's configuration files, weakest first (https://pip.pypa.io/en/stable/topics/configuration/)."""
    config_home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    files = ["/etc/pip.conf", "~/.pip/pip.conf", f"{config_home}/pip/pip.conf", os.environ.get("PIP_CONFIG_FILE", "")]
    parser = configparser.RawConfigParser(strict=False)
    parser.read([Path(path).expanduser() for path in files if path], encoding="utf-8")
    for section in ("global", "install"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            variable = name.upper().replace("-", "_")
            if variable in PIP_SETTINGS:
                yield variable, " ".join(value.split())
