"""What only the resolved configuration tells, checked before anything starts: images, ports, names and mounted files.

All of it would otherwise show late, as a container that can't start, or not at all, as two runs that share what they
shouldn't.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itest.errors import ItestError
from itest.images import ref as image_ref
from itest.suite import composekeys
from itest.suite.schema import wrong, wrong_in
from itest.suite.services import Service
from itest.suite.yamlfile import Keys, YamlFile

Config = Mapping[str, Any]
# Compose 2.26: `Additional property memlimit is not allowed`; later: `additional properties 'memlimit' not allowed`.
UNKNOWN_KEY = re.compile(r"[Aa]dditional propert(?:y|ies) '?(?P<key>[^ ']+)'? (?:is )?not allowed")
OUTPUT = "build"  # git ignores it, so a service's output folder there is missing on a fresh clone


@dataclass(frozen=True)
class Layers:
    """What a resolved configuration was made from: root of the repository, files in order, services by name."""

    root: Path
    files: Sequence[YamlFile]
    services: Mapping[str, Service]

    def wrong(self, keys: Keys, problem: str, hint: str) -> ItestError:
        return wrong_in(self.files, keys, problem, hint)


def check(layers: Layers, config: Config) -> None:
    """Raises ItestError (usage) with file and line for the first thing that can't work."""
    for _, error in problems(layers, config):
        raise error


def problems(layers: Layers, config: Config) -> Iterator[tuple[str, ItestError]]:
    """Everything that can't work, each under the name of the rule that it breaks."""
    others = list(_other_services(layers, config))
    yield from (("other-services", error) for error in others)
    if others:
        return  # the other rules are about services that the layers and compose have both
    yield from (("fixed-name", error) for error in _fixed_names(layers, config))
    yield from (("shared-port", error) for error in _shared_ports(layers, config))
    for name, service in config["services"].items():
        if "image" in service and "build" not in service:
            yield from (("unpinned-image", error) for error in _unpinned(layers, name, service["image"]))
        yield from (("unpublished-port", error) for error in _unpublished(layers, name, service))
        yield from (("open-port", error) for error in _open_ports(layers, name, service))
        yield from (("missing-file", error) for error in _missing_files(layers, name, service, config))


def located(layers: Layers, error: ItestError) -> ItestError:
    """Compose's complaint about the files with a line: that of the deepest key whose whole way the message names."""
    words = set(re.findall(r"[\w-]+", error.message))
    words |= {f"{word}s" for word in words}  # `service "app" refers to undefined network back`
    places = [
        (len(keys), str(file.path) in error.message, file, keys)
        for file in layers.files
        for keys in file.lines
        if keys[0] in ("services", "networks", "volumes") and words.issuperset(keys)
    ]
    depth, _, file, keys = max(places, key=lambda place: place[:2], default=(0, False, layers.files[0], ()))
    message = error.message.replace(f"{layers.root}/", "")
    if error.cause != "config" or depth < 2:
        return ItestError(error.category, message, hint=error.hint, cause=error.cause)
    if (unknown := UNKNOWN_KEY.search(message)) and unknown["key"] == keys[-1]:
        return wrong(file, keys, f"unknown key `{keys[-1]}` in `{keys[-2]}`", composekeys.meant(keys))
    said = re.sub(r"validating \S+: ", "", message.partition(": ")[2])
    return wrong(file, keys, re.sub(r"^(\S+) \1 ", r"\1 ", said), error.hint)


def _other_services(layers: Layers, config: Config) -> Iterator[ItestError]:
    """What compose would start and what we would must be the same."""
    for name in layers.services:
        if name not in config["services"]:
            problem = f"`{name}` belongs to a compose profile that is not active, so compose leaves it out"
            hint = "drop `profiles:`, or name the profile in COMPOSE_PROFILES in the suite's env file"
            yield layers.wrong(("services", name, "profiles"), problem, hint)
    for name in config["services"]:
        if name not in layers.services:
            hint = "name its file in COMPOSE_FILE instead, so that it is checked, started and probed like the others"
            yield layers.wrong(("include",), f"service `{name}` comes in by `include`", hint)


def _fixed_names(layers: Layers, config: Config) -> Iterator[ItestError]:
    """Any number of runs share a machine; a name that isn't made from the project's belongs to one of them only."""
    for name, service in config["services"].items():
        if "container_name" in service:
            problem = f"`{name}` has a fixed container_name, so only one run at a time could start it"
            hint = f"remove it: other services reach it as `{name}`, and `make ps` lists it"
            yield layers.wrong(("services", name, "container_name"), problem, hint)
    for kind in ("networks", "volumes"):
        for name, one in (config.get(kind) or {}).items():
            fixed = one.get("name", "")
            if fixed != f"{config['name']}_{name}":
                problem = f"`{name}` is `{fixed}` in every run, so they would share it"
                key = "external" if one.get("external") else "name"
                yield layers.wrong((kind, name, key), problem, f"remove `{key}`: compose then makes one for each run")


def _shared_ports(layers: Layers, config: Config) -> Iterator[ItestError]:
    holders: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, address, port in fixed_ports(config):
        for other, others_address in holders.setdefault(port, []):
            if address == others_address or {address, others_address} & {"", "0.0.0.0", "::"}:
                both = f"`{other}` and by `{name}`" if other != name else f"`{name}` twice"
                problem = f"port {port[0]} is published by {both}"
                hint = "give one of them another port, or none for any free one"
                yield layers.wrong(("services", name, "ports"), problem, hint)
        holders[port].append((name, address))


def fixed_ports(config: Config) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Service, host address, and (port, protocol) for every port that isn't any free one."""
    for name, service in config["services"].items():
        for port in service.get("ports") or []:
            published = str(port.get("published") or "")
            if published and "-" not in published:
                yield name, port.get("host_ip", ""), (published, port.get("protocol", "tcp"))


def _unpinned(layers: Layers, name: str, image: str) -> Iterator[ItestError]:
    reference = image_ref.parse(image)
    if not reference.digest and reference.tag == "latest":
        problem = f"image `{image}` of `{name}` is not pinned"
        hint = "name an exact version, such as postgres:17.11, or a digest"
        yield layers.wrong(("services", name, "image"), problem, hint)


def _unpublished(layers: Layers, name: str, service: Config) -> Iterator[ItestError]:
    """Probes and tests come from outside, over published ports."""
    one = layers.services[name]
    published = {port["target"] for port in service.get("ports") or [] if port.get("protocol", "tcp") == "tcp"}
    wanted = [one.port, *(check.value for check in one.checks if check.what == "tcp")]
    for port in (port for port in wanted if port is not None and port not in published):
        problem = f"port {port} of `{name}` is not published, so neither probes nor tests can reach it"
        yield layers.wrong(("services", name, "ports"), problem, f'add "127.0.0.1::{port}" to its ports')


def _open_ports(layers: Layers, name: str, service: Config) -> Iterator[ItestError]:
    """A test database with a known password is for this machine alone; who means otherwise writes 0.0.0.0."""
    for port in service.get("ports") or []:
        if not port.get("host_ip"):
            problem = f"port {port['target']} of `{name}` is published to the whole network"
            hint = f'"127.0.0.1:{port.get("published", "")}:{port["target"]}", or begin with 0.0.0.0 if you mean it'
            yield layers.wrong(("services", name, "ports"), problem, hint)


def _missing_files(layers: Layers, name: str, service: Config, config: Config) -> Iterator[ItestError]:
    """For a missing file, docker mounts an empty folder that root owns, and says nothing."""
    mounts = [mount for mount in service.get("volumes") or [] if mount["type"] == "bind"]
    sources: list[tuple[Keys, str]] = [(("services", name, "volumes"), mount["source"]) for mount in mounts]
    for kind in ("secrets", "configs"):
        for used in service.get(kind) or []:
            file = ((config.get(kind) or {}).get(used["source"]) or {}).get("file", "")
            sources += [((kind, used["source"]), file)] if file else []
    for keys, source in sources:
        path = Path(source)
        # Elsewhere it may be on another machine than this one: the engine's.
        if path.is_relative_to(layers.root) and not path.exists():
            shown = path.relative_to(layers.root)
            if shown.parts[0] != OUTPUT:
                hint = "paths in compose files begin at compose/; create it, or correct the path"
                yield layers.wrong(keys, f"`{name}` mounts {shown}, which does not exist", hint)
