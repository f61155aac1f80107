"""A YAML file together with the line of every key, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from itest.errors import ItestError

Keys = tuple[str | int, ...]  # the way to a value: ("services", "shop", "ports", 0)
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(SafeLoader):  # type: ignore[misc]  # libyaml's loader where it was built in, ten times faster
    """Safe: builds plain data only. Compose's own tags (!override, !reset) are read as what they wrap."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:  # what PyYAML makes of `!!int x` or 2024-13-45
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"`{node.value}` is no {kind}", node.start_mark) from error


def _plain(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _plain)


@dataclass(frozen=True)
class YamlFile:
    """path: relative to the repository's root; data: plain Python; lines: path of keys -> line, counted from 1.

    values: every value as it is written, comments left out, a line of the file each.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Keys, int]
    values: tuple[tuple[int, str], ...] = ()

    def where(self, *keys: str | int) -> str:
        """`file:line` of a key, or of the nearest parent that has one."""
        for depth in range(len(keys), 0, -1):
            if keys[:depth] in self.lines:
                return f"{self.path}:{self.lines[keys[:depth]]}"
        return f"{self.path}"


def read(root: Path, path: Path) -> YamlFile:
    """Parse a YAML mapping.

    Raises ItestError (usage) with file and line for a missing file, broken YAML, a key given twice, or no mapping.
    """
    file = parse(path, read_text(root, path))
    if not isinstance(file.data, dict):
        raise ItestError("usage", f"{path}: a mapping such as `services:` is expected", cause="config")
    return file


def parse(path: Path, text: str) -> YamlFile:
    """A YAML text whose `data` may be anything. Raises ItestError (usage) with file and line where it can't be read."""
    try:
        data, lines, values = _parse(path, text)
    except yaml.MarkedYAMLError as error:
        raise _broken(path, text, error) from error
    except yaml.YAMLError as error:
        raise ItestError("usage", f"{path}: not valid YAML: {str(error).splitlines()[0]}", cause="config") from error
    except RecursionError as error:
        problem = f"{path}: not valid YAML: nested too deep, or an anchor that holds itself"
        raise ItestError("usage", problem, cause="config") from error
    return YamlFile(path, data, lines, values)


def read_text(root: Path, path: Path) -> str:
    """A configuration file as text. Raises ItestError (usage) where it can't be read, or is no UTF-8."""
    try:
        raw = (root / path).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ItestError("usage", f"cannot read {path}: {error.strerror}", cause="config") from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"{path}:{line}: not UTF-8 text (byte 0x{raw[error.start]:02x})"
        hint = f"iconv -f latin1 -t utf-8 {path}, and save that"
        raise ItestError("usage", problem, hint=hint, cause="config") from error


def _parse(path: Path, text: str) -> tuple[Any, dict[Keys, int], tuple[tuple[int, str], ...]]:
    lines: dict[Keys, int] = {}
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, lines, ()
        _collect(path, node, (), lines)
        return loader.construct_document(node), lines, tuple(_values(node, text))
    finally:
        loader.dispose()


def _broken(path: Path, text: str, error: yaml.MarkedYAMLError) -> ItestError:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}" if mark else f"{path}"
    words = ", ".join(part for part in (error.context, error.problem) if part)
    line = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
    tabs = line.lstrip(" ").startswith("\t")
    hint = "indent with spaces: YAML takes no tabs" if tabs else f"correct {place}, or what stands before it"
    return ItestError("usage", f"{place}: not valid YAML: {words}", hint=hint, cause="config")


def _values(node: yaml.Node, text: str) -> Iterator[tuple[int, str]]:
    """Values are what compose interpolates: neither keys nor comments."""
    if isinstance(node, yaml.ScalarNode):
        start = node.start_mark
        lines = text[start.index : node.end_mark.index].splitlines()
        if node.style in ("|", ">"):
            lines[0] = ""  # the indicator, which a comment may follow
        yield from enumerate(lines, start=start.line + 1)
    else:
        inner = (value for _, value in node.value) if isinstance(node, yaml.MappingNode) else node.value
        for value in inner:
            yield from _values(value, text)


def _collect(path: Path, node: yaml.Node, keys: Keys, lines: dict[Keys, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*keys, str(key.value))
            if place in lines and key.value != "<<":
                twice = f"{path}:{key.start_mark.line + 1}: `{key.value}` is given twice, first on line {lines[place]}"
                raise ItestError("usage", twice, hint="keep one of them", cause="config")
            lines[place] = key.start_mark.line + 1
            _collect(path, value, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            item = (*keys, index)
            lines[item] = value.start_mark.line + 1
            _collect(path, value, item, lines)
