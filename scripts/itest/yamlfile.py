"""A YAML file together with the line of every key, so that an error can say where to look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from itest.errors import ItestError

SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(SafeLoader):  # type: ignore[misc]  # libyaml's loader where it was built in, ten times faster
    """Safe: builds plain data only. Compose's own tags (!override, !reset) are read as what they wrap."""


def _plain(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _plain)


@dataclass(frozen=True)
class YamlFile:
    """path: relative to the repository's root; data: plain Python; lines: path of keys -> line, counted from 1."""

    path: Path
    data: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]

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
    try:
        text = (root / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ItestError("usage", f"cannot read {path}: {error}", cause="config") from error
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ItestError("usage", f"{path}: a mapping such as `services:` is expected", cause="config")
        lines: dict[tuple[str | int, ...], int] = {}
        _collect(path, node, (), lines)
        return YamlFile(path, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise ItestError("usage", f"{place}: not valid YAML: {error.problem}", cause="config") from error
    except yaml.YAMLError as error:
        raise ItestError("usage", f"{path}: not valid YAML: {error}", cause="config") from error
    finally:
        loader.dispose()


def _collect(path: Path, node: yaml.Node, keys: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
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
