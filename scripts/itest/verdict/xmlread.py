"""Read an XML file that nobody vouches for: what a killed pytest or a stray tool left behind.

Nothing in the file can make the reader fail, load another file, or grow without bound; what stands complete
before a break is kept, and the reason why the rest is missing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

MAX_BYTES = 32 * 1024 * 1024  # GitLab ignores reports over 30 MB, and a tree takes about eight times its file
MAX_DEPTH = 64  # a JUnit report needs six; ElementTree's writer recurses
_CHUNK = 64 * 1024


class _Refused(ValueError):
    """The file holds what no report needs and what only an attack or an accident brings."""


class _Target:
    """Builds the tree (without namespaces), and keeps it usable when the input stops in the middle."""

    def __init__(self) -> None:
        self._builder = ElementTree.TreeBuilder()
        self._open: list[ElementTree.Element] = []
        self.root: ElementTree.Element | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self._open) == MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} elements")
        element = self._builder.start(_local(tag), {_local(key): value for key, value in attributes.items()})
        self._open.append(element)
        if self.root is None:
            self.root = element

    def end(self, tag: str) -> None:
        self._builder.end(_local(tag))
        self._open.pop()

    def data(self, text: str) -> None:
        self._builder.data(text)

    def doctype(self, *_: object) -> None:
        # Entities are declared in a DOCTYPE and nowhere else: without one there is no bomb and no outside file.
        raise _Refused("has a DOCTYPE, which no test report needs")

    def close(self) -> None:
        """Nothing to hand over: the root is an attribute, because an error must not lose it."""

    def salvage(self, containers: frozenset[str]) -> None:
        """Cut off the element that was being read, so that only complete ones stay inside the containers."""
        for parent, child in zip(self._open, self._open[1:], strict=False):
            if child.tag not in containers:
                parent.remove(child)
                return
        if self.root is not None and self.root.tag not in containers:
            self.root = None


def read(path: Path, containers: frozenset[str]) -> tuple[ElementTree.Element | None, str]:
    """The root element, or None when nothing can be used, and a problem in words, "" when there is none.

    containers: tags whose complete children stay when the file breaks off inside them.
    """
    target = _Target()
    parser = ElementTree.XMLParser(target=target)
    try:
        problem = _feed(parser, path)
    except FileNotFoundError:
        return None, "is missing"
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        # LookupError and ValueError: an encoding that does not exist, or that expat cannot take.
        if isinstance(error, _Refused):
            return None, str(error)
        problem = f"breaks off: {error}" if target.root is not None else f"is not XML: {error}"
    if problem:
        target.salvage(containers)
    return target.root, problem


def _feed(parser: ElementTree.XMLParser, path: Path) -> str:
    size = path.stat().st_size
    if not path.is_file():
        return "is not a file"
    if not size:
        return "is empty"
    with path.open("rb") as file:
        for _ in range(MAX_BYTES // _CHUNK + 1):
            if not (chunk := file.read(_CHUNK)):
                parser.close()
                return ""
            parser.feed(chunk)
    return f"is larger than {MAX_BYTES // 1024 // 1024} MiB; the rest was left out"


def _local(name: str) -> str:
    return name.rpartition("}")[2]
