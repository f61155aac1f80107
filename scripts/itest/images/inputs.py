"""What an image is built from, as one hash: the files of its build context, its arguments, and the images that it
starts FROM. Reading the inputs is cheap enough to be done before every run."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Made by tools, never an input, and seldom listed in a .dockerignore.
NEVER = ("__pycache__", ".git", ".DS_Store")
VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))")


def digest(*parts: object) -> str:
    """A short, stable hash of texts; the order of the parts counts, their boundaries too."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:16]


def digest_of_files(paths: Iterable[Path], folder: Path) -> str:
    """A hash of the names, contents and executable bits of files beneath `folder`."""
    total = hashlib.sha256()
    for path in sorted(paths):
        kind = "link" if path.is_symlink() else "run" if os.access(path, os.X_OK) else "file"
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        total.update(f"{path.relative_to(folder)}\0{kind}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:16]


def context_files(folder: Path, dockerfile: Path) -> Iterator[Path]:
    """The files that docker sends to the builder: all beneath `folder` but what its .dockerignore leaves out."""
    ignored = _ignore_rules(folder, dockerfile)
    # With an exception (`!`) somewhere, an ignored folder may hold files that are not.
    may_return = any(keep for _, keep in ignored)
    for here, folders, files in os.walk(folder):
        for name in [*folders]:
            path = Path(here, name)
            skip = name in NEVER or (not may_return and _is_ignored(path.relative_to(folder).as_posix(), ignored))
            if path.is_symlink() and not skip:
                files.append(name)
            if skip or path.is_symlink():
                folders.remove(name)
        for name in files:
            path = Path(here, name)
            # docker sends these two to the builder whatever the rules say.
            needed = path == dockerfile or path == folder / ".dockerignore"
            if name not in NEVER and (needed or not _is_ignored(path.relative_to(folder).as_posix(), ignored)):
                yield path


def _ignore_rules(folder: Path, dockerfile: Path) -> list[tuple[re.Pattern[str], bool]]:
    """(pattern, whether it brings files back), in order; a Dockerfile may have an ignore file of its own."""
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    listing = own if own.is_file() else folder / ".dockerignore"
    if not listing.is_file():
        return []
    lines = (line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return [(_pattern(line.lstrip("!")), line.startswith("!")) for line in lines if line]


def _pattern(rule: str) -> re.Pattern[str]:
    """Go's filepath.Match plus `**`, as in https://docs.docker.com/build/concepts/context/#dockerignore-files.

    A rule holds for a path and for all beneath it.
    """
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    rule = rule.strip().strip("/").removeprefix("./")
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", rule)
    return re.compile(
        "".join(tokens.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts) + "(?:/.*)?"
    )


def _is_ignored(path: str, rules: list[tuple[re.Pattern[str], bool]]) -> bool:
    """The last rule that matches decides."""
    return next((not keep for pattern, keep in reversed(rules) if pattern.fullmatch(path)), False)


def bases(dockerfile: str, arguments: Mapping[str, str]) -> list[tuple[str, str]]:
    """The images that a Dockerfile starts FROM, each with the build argument that chooses it ("" where none does).

    Stages of the same file and `scratch` are none.
    """
    values: dict[str, str] = {}
    stages = {"scratch"}
    found: list[tuple[str, str]] = []
    before_first_stage = True  # only there an ARG holds for FROM
    for words in _instructions(dockerfile):
        match words:
            case ["ARG", declaration, *_] if before_first_stage:
                name, _, default = declaration.partition("=")
                values[name] = arguments.get(name, default.strip("\"'"))
            case ["FROM", image, *rest]:
                before_first_stage = False
                name = substitute(image, values)
                if name.lower() not in stages:
                    variable = VARIABLE.fullmatch(image)
                    found.append((name, (variable["braced"] or variable["plain"]) if variable else ""))
                stages.update(stage.lower() for stage in rest[1:])  # FROM image AS stage
    return list(dict.fromkeys(found))


def _instructions(dockerfile: str) -> Iterator[list[str]]:
    """Each instruction as its words, the first in capitals, without flags such as --platform."""
    whole = re.sub(r"\\[ \t]*\n", " ", re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE))
    for line in whole.splitlines():
        words = [word for word in line.split() if not word.startswith("--")]
        if words:
            yield [words[0].upper(), *words[1:]]


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace `$NAME`, `${NAME}` and `${NAME:-default}`."""
    return VARIABLE.sub(lambda m: values.get(m["braced"] or m["plain"], "") or m["default"] or "", text)
