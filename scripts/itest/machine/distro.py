"""What this machine says about its distribution: its name, its release and the package mirror that it is told to use.

Nothing here knows a mirror's name: everything comes from /etc/os-release and apt's own configuration, so a company's
mirror is used wherever apt uses it. Standard library only: it runs before the virtual environment exists.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Suites that stand for a release without naming it.
ALIASES = ("stable", "testing", "unstable", "sid")


@dataclass(frozen=True)
class Source:
    """One package source of apt.

    keyring: path of the file with its keys; "" where apt's default or a key inside the source applies.
    trusted: used without any signature, as the machine's owner decided.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str = ""
    trusted: bool = False


@dataclass(frozen=True)
class Distro:
    """A distribution as it describes itself.

    id, version, codename: of os-release ("debian", "12", "bookworm"); "" where it doesn't say, as on macOS.
    mirror:   URI of the archive that carries this release, without a trailing slash; "" without apt.
    security: URI of the archive of its security updates; "" where it has none of its own.
    keyring, trusted: how the mirror is verified, as in Source.
    """

    id: str
    version: str = ""
    codename: str = ""
    mirror: str = ""
    security: str = ""
    keyring: str = ""
    trusted: bool = False

    def sources(self, release: str) -> list[str]:
        """One-line apt sources for any release of this distribution: its main archive and its security updates."""
        options = "[trusted=yes] " if self.trusted else f"[signed-by={self.keyring}] " if self.keyring else ""
        lines = [f"deb {options}{self.mirror} {release} main"]
        if self.security:
            lines.append(f"deb {options}{self.security} {release}-security main")
        return lines


def read(root: Path = Path("/")) -> Distro:
    """The distribution installed beneath `root`. Never fails: what the machine doesn't tell is ""."""
    release = os_release(root)
    name, codename = release.get("ID", ""), release.get("VERSION_CODENAME", "")
    sources = list(apt_sources(root))
    suites = [suite for suite in (codename, *ALIASES) if suite]
    main = _archive(sources, suites, name)
    security = _archive(sources, [f"{suite}-security" for suite in suites], name)
    return Distro(
        id=name,
        version=release.get("VERSION_ID", ""),
        codename=codename,
        mirror=_http_uri(main, root),
        security=_http_uri(security, root),
        keyring=main.keyring if main else "",
        trusted=main is not None and main.trusted,
    )


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """The fields of os-release (https://www.freedesktop.org/software/systemd/man/os-release.html); {} without one."""
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            words = [word for line in lines for word in shlex.split(line, comments=True)[:1]]
            return {key: value for key, _, value in (word.partition("=") for word in words)}
    return {}


def apt_sources(root: Path = Path("/")) -> Iterator[Source]:
    """Every enabled source of binary packages, in apt's order and in both of its formats (sources.list(5))."""
    apt = root / "etc/apt"
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        parse = {".list": _one_line, ".sources": _deb822}.get(path.suffix)
        if parse and path.is_file():
            yield from parse(path.read_text(encoding="utf-8", errors="replace").splitlines())


def _one_line(lines: Iterable[str]) -> Iterator[Source]:
    """`deb [option=value …] uri suite component…`"""
    for line in lines:
        match = re.match(
            r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>[^#]*)", line
        )
        if match:
            words = (word.partition("=") for word in (match["options"] or "").split())
            options = {key.lower(): value for key, _, value in words}
            yield _source(match["uri"], match["suite"], match["components"], options)


def _deb822(lines: Iterable[str]) -> Iterator[Source]:
    """Paragraphs of `Field: value`, continued by indented lines; `#` lines are comments, inside a paragraph too."""
    fields: dict[str, str] = {}
    key = ""
    for line in [*lines, ""]:
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[key] = f"{fields.get(key, '')} {line.strip()}"
        elif ":" in line:
            key, value = line.split(":", 1)
            key = key.strip().lower()
            fields[key] = value.strip()
        elif not line.strip():
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                yield _source(fields.get("uris", ""), fields.get("suites", ""), fields.get("components", ""), fields)
            fields = {}


def _source(uris: str, suites: str, components: str, options: dict[str, str]) -> Source:
    keyring = options.get("signed-by", "")
    return Source(
        uris=tuple(uri.rstrip("/") for uri in uris.split()),
        suites=tuple(suites.split()),
        components=tuple(components.split()),
        # A key block or a fingerprint may stand in the place of the path.
        keyring=keyring if keyring.startswith("/") else "",
        trusted=options.get("trusted", "").lower() == "yes",
    )


def _archive(sources: Iterable[Source], suites: list[str], name: str) -> Source | None:
    """The source that carries the distribution itself under one of `suites`, most telling suite name first.

    Third parties publish under the same suites ("stable main"), so the distribution's own keyring counts, then the
    usual end of the path (…/debian, …/ubuntu), then the suite; the first of equals wins.
    """

    def weight(source: Source) -> tuple[bool, bool, int]:
        own_key = f"{name}-archive" in Path(source.keyring).name
        own_path = any(re.search(rf"/{re.escape(name)}(-security)?$", uri) for uri in source.uris)
        return own_key, own_path, -min(suites.index(suite) for suite in source.suites if suite in suites)

    fitting = [one for one in sources if "main" in one.components and set(one.suites) & set(suites)]
    return max(fitting, key=weight, default=None)


def _http_uri(source: Source | None, root: Path) -> str:
    """The first URI of a source that a container can reach too; a `mirror+file:` list (apt-transport-mirror) counts."""
    for uri in source.uris if source else ():
        if uri.startswith(("http://", "https://")):
            return uri
        listing = root / uri.removeprefix("mirror+file:").lstrip("/")
        if uri.startswith("mirror+file:") and listing.is_file():
            entries = re.findall(r"^\s*(https?://\S+)", listing.read_text(encoding="utf-8"), re.MULTILINE)
            if entries:
                return str(entries[0]).rstrip("/")
    return ""
