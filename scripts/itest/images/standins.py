"""Stand-ins: images built from Debian's packages for machines that no registry answers.

compose/images/standins.yaml says which there are; this knows their inputs and makes the base that they start from.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from itest.errors import ItestError
from itest.images import build as image_build
from itest.images import inputs as image_inputs
from itest.images import ref as image_ref
from itest.images.dockercli import query, watch
from itest.machine import apt, distro, scratch
from itest.machine.distro import Distro
from itest.states import plain

REGISTRY = Path("compose/images/standins.yaml")
BASE = "itest/base"
BASE_FOLDER = Path("compose/images/base")
# How the base is made belongs to its inputs: raise it with make_base.
BASE_RECIPE = "2"
# Options of the host's apt that its mirror may need, a frozen or a snapshot mirror for instance.
APT_OPTIONS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries")


@dataclass(frozen=True)
class StandIn:
    """How to build what stands in for one image.

    version: the one of standins.yaml, "17"; wanted: the tag's, "17.11", which the mirror may have; release: Debian's.
    """

    reference: str
    root: Path
    folder: Path
    version: str
    wanted: str
    release: str

    @property
    def base(self) -> str:
        """The image that it starts FROM; "" for the base itself."""
        return "" if self.reference.startswith(f"{BASE}:") else f"{BASE}:{self.release}"

    @property
    def arguments(self) -> dict[str, str]:
        """Build arguments of its Dockerfile."""
        return {"BASE": self.base, "VERSION": self.version, "WANTED": self.wanted}

    @property
    def hash(self) -> str:
        """Changes with whatever the image is built from, but not with the machine's mirror: that is no content."""
        files = {self.root / BASE_FOLDER / "install-packages"}
        if self.base:
            folder = self.root / self.folder
            files.update(image_inputs.context_files(folder, folder / "Dockerfile"))
        contents = image_inputs.digest_of_files(files, self.root)
        return image_inputs.digest(BASE_RECIPE, self.release, self.version, self.wanted, contents)


class StandIns:
    """The registry of stand-ins of one checkout."""

    def __init__(self, root: Path) -> None:
        """Read standins.yaml. Raises ItestError (usage) where it isn't {repository: {version: release}}."""
        import yaml

        self._root = root
        known = yaml.safe_load((root / REGISTRY).read_text(encoding="utf-8")) or {}
        for repository, versions in known.items():
            if not isinstance(versions, dict) or not all(isinstance(x, str) for kv in versions.items() for x in kv):
                raise ItestError(
                    "usage",
                    f"{REGISTRY} {repository}: versions and releases are texts",
                    hint=f'{repository}: {{"17": trixie}}, with the version in quotes',
                    cause="config",
                )
        self._known: Mapping[str, Mapping[str, str]] = known

    def find(self, reference: str) -> StandIn | None:
        """The stand-in for an image, or None: another registry, a digest, an unknown version or variant."""
        parts = image_ref.parse(reference)
        if parts.registry or parts.digest:
            return None
        if parts.repository == BASE:
            return StandIn(reference, self._root, BASE_FOLDER, "", "", parts.tag)
        version, *variant = parts.tag.split("-")
        for prefix, release in self._known.get(parts.repository, {}).items():
            # Debian's own variants only: an `-alpine` has other paths and user ids.
            if f"{version}.".startswith(f"{prefix}.") and set(variant) <= {"slim", "management", release}:
                folder = Path("compose/images") / parts.repository
                return StandIn(reference, self._root, folder, prefix, version, release)
        return None

    def versions(self, repository: str) -> list[str]:
        """The versions of a repository that can be built; [] for an unknown one."""
        return list(self._known.get(repository, {}))


def make_base(standin: StandIn, labels: Mapping[str, str], report: Callable[[str], None], stop: Event) -> None:
    """Import a minimal root filesystem of a Debian release as an image, its packages coming from the machine's mirror.

    Raises ItestError (image, cause "build").
    """
    mirror = _debian_mirror(distro.read())
    _require_mmdebstrap(report)
    with scratch.folder("base") as folder:
        archive = folder / "root.tar"
        said: list[str] = []

        def on_line(line: str) -> None:
            said.append(line)
            if line.startswith("I: ") and line.endswith("..."):
                report(f"Debian {standin.release}: {line[3:]}")

        if watch(_bootstrap(standin, mirror, archive), on_line, stop, environment=apt_proxies()):
            raise _failure(standin, mirror, said)
        report(f"Debian {standin.release}: importing")
        changes = [f"--change=LABEL {name}={value}" for name, value in labels.items()]
        imported = query("import", *changes, '--change=CMD ["bash"]', str(archive), standin.reference)
    if imported.returncode:
        problem = f"image {standin.reference}: {plain(imported.stderr)}"
        raise ItestError("image", problem, hint="make doctor looks for what is wrong here", cause="build")


def _bootstrap(standin: StandIn, mirror: Distro, archive: Path) -> list[str]:
    """The command that makes the root filesystem; without root it works in a user namespace of its own."""
    copies = {standin.root / BASE_FOLDER / "install-packages": "/usr/local/sbin"}
    if mirror.keyring and not Path(mirror.keyring).name.startswith("debian-archive-"):
        # Debian's own keys are in every Debian; those of a private mirror are not.
        copies[Path(mirror.keyring)] = "/etc/apt/trusted.gpg.d"
    return [
        # Nobody needs a half-made image after a power cut, so dpkg doesn't wait for the disk, in later builds neither.
        *("mmdebstrap", "--variant=minbase", "--dpkgopt=force-unsafe-io"),
        *([f"--keyring={mirror.keyring}"] if mirror.keyring else []),
        *(f"--aptopt={option}" for option in _apt_options(*APT_OPTIONS)),
        *(f"--customize-hook=copy-in {shlex.quote(str(path))} {folder}" for path, folder in copies.items()),
        *(standin.release, str(archive)),
        # Without the keyring's path: inside the image it is another one.
        *replace(mirror, keyring="").sources(standin.release),
    ]


def apt_proxies() -> dict[str, str]:
    """The proxy that apt of this host goes through, as variables, where the environment names none."""
    options = _apt_options("Acquire::http::Proxy", "Acquire::https::Proxy")
    found = {option.split("::")[1] + "_proxy": option.split(" ", 1)[1].strip('";') for option in options}
    return {name: value for name, value in found.items() if value.startswith("http")} | image_build.proxies()


def _apt_options(*names: str) -> list[str]:
    """Those of apt's options that are set on this host, each as `Name "value";`; [] without apt."""
    if not shutil.which("apt-config"):
        return []
    dump = subprocess.run(["apt-config", "dump", *names], capture_output=True, text=True, check=True).stdout
    return [line for line in dump.splitlines() if line.split(" ", 1)[0] in names and not line.endswith(' "";')]


def _debian_mirror(host: Distro) -> Distro:
    named = os.environ.get("ITEST_DEBIAN_MIRROR", "").rstrip("/")
    if not named and host.id == "debian" and host.mirror:
        return host
    if not named:
        raise ItestError(
            "image",
            f"image {BASE}: this machine ({host.id or sys.platform}) knows no Debian mirror to build from",
            hint="ITEST_DEBIAN_MIRROR=http://… names one (mmdebstrap and debian-archive-keyring are needed too)",
            cause="build",
        )
    keys = (f"/usr/share/keyrings/debian-archive-keyring.{suffix}" for suffix in ("pgp", "gpg"))
    return Distro("debian", mirror=named, keyring=next((path for path in keys if Path(path).exists()), ""))


def _require_mmdebstrap(report: Callable[[str], None]) -> None:
    """Install it where that is allowed. Raises ItestError (image) with the command where it isn't."""
    if shutil.which("mmdebstrap"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get") and os.environ.get("ITEST_ENGINE") != "off":
        apt.install(["mmdebstrap"], report)
        return
    raise ItestError(
        "image",
        f"image {BASE}: building it needs mmdebstrap, which is not installed",
        hint="sudo apt-get install --no-install-recommends mmdebstrap",
        cause="build",
    )


def _failure(standin: StandIn, mirror: Distro, said: list[str]) -> ItestError:
    evidence = "\n".join(f"    {line}" for line in said[-20:])
    unsigned = any("NO_PUBKEY" in line or "not signed" in line for line in said)
    return ItestError(
        "image",
        f"image {standin.reference}: mmdebstrap failed with packages from {mirror.mirror}\n{evidence}",
        hint="apt-get install debian-archive-keyring (this machine's is older than the release)"
        if unsigned
        else "apt-get update must work on this machine: mend its mirror or proxy (HTTP_PROXY), then: make images",
        cause="build",
    )
