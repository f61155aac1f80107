"""Which images a stack needs, and how those that are built are built: read from the resolved configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from itest.errors import ItestError
from itest.images import inputs as image_inputs
from itest.verdict import known
from itest.verdict.mask import is_distinct

# What these hand to a build comes from the host, whatever files the layer names for plain compose (see image_build).
HOST_SECRETS = ("ca", "pip")

TAG_LENGTH = 12  # characters of the hash that name an image's content


@dataclass(frozen=True)
class BuildSpec:
    """A `build:` of a compose file. context: a folder, or a URL; flags: what else it says, as flags of buildx.

    tags: further names for the image, which make it no other one.
    """

    context: str
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def dockerfile_path(self) -> Path:
        return Path(self.context, self.dockerfile)

    @cached_property
    def bases(self) -> list[ImageNeed]:
        """The images that it starts FROM. Raises ItestError (image) without a Dockerfile."""
        folder = shown(self.context)
        if not Path(self.context).is_absolute():
            return []  # a URL: the builder fetches it, and what it starts from
        if not Path(self.context).is_dir():
            problem = f"build context {folder}: no such folder"
            hint = "create it, or correct `build:`, whose paths begin at compose/"
            raise ItestError("image", problem, hint=hint, cause="build")
        if not self.dockerfile_path.is_file():
            problem = f"build context {folder}: there is no {self.dockerfile}"
            raise ItestError(
                "image", problem, hint=f"write {folder}/{self.dockerfile}, or correct `build:`", cause="build"
            )
        text = self.dockerfile_path.read_text(encoding="utf-8")
        return [ImageNeed(ref, variable=variable) for ref, variable in image_inputs.bases(text, self.args)]

    @cached_property
    def hash(self) -> str:
        """Changes when a file of the context, the Dockerfile or a setting does; not with the images it starts FROM."""
        folder, dockerfile = Path(self.context), self.dockerfile_path
        files = {*image_inputs.context_files(folder, dockerfile), dockerfile} if folder.is_dir() else set()
        root = Path(os.path.commonpath([folder, *files])) if files else folder
        settings = (self.dockerfile, sorted(self.args.items()), self.flags)
        # A folder is known by what is in it: another checkout of the same files gives the same image.
        return image_inputs.digest(*settings, image_inputs.digest_of_files(files, root) if files else self.context)


@dataclass(frozen=True)
class ImageNeed:
    """An image that somebody is going to start. build: how it is made, None to pull it.

    variable: the environment variable that chooses another image, for hints; "" where none is known.
    """

    ref: str
    build: BuildSpec | None = None
    variable: str = ""


def shown(context: str) -> str:
    """A build context relative to the folder that the command was typed in, where it lies beneath it."""
    here = Path.cwd()
    return str(Path(context).relative_to(here)) if Path(context).is_relative_to(here) else context


def needs_of(config: Mapping[str, Any]) -> list[ImageNeed]:
    """The images of a resolved compose configuration (`docker compose config --format json`), each once.

    Raises ItestError (usage) for a build without a name, or with a setting that isn't passed on.
    """
    return list({need.ref: need for need in _needs(config)}.values())


def pin(config: dict[str, Any], texts: Sequence[str]) -> dict[str, str]:
    """Give every image that is built a tag that names its content, so that no other checkout or edit can take its place
    between its build and its start. texts: the compose files, which must let a variable choose the image.

    Changes the configuration, where the old name stays as a further tag for plain compose, and returns the variables
    that make compose start the same images. What the caller's environment chose stays.
    """
    chosen: dict[str, str] = {}
    for name, service in config["services"].items():
        variable = _variable(name)
        if not service.get("build") or variable in os.environ or not any(f"${{{variable}:-" in text for text in texts):
            continue
        spec = _spec(name, service["build"], config)
        tag = f"{service['image'].rpartition(':')[0] or service['image']}:{spec.hash[:TAG_LENGTH]}"
        service["build"]["tags"] = [*service["build"].get("tags", []), service["image"]]
        chosen[variable] = service["image"] = tag
    return chosen


def _variable(service: str) -> str:
    return f"{service.upper().replace('-', '_')}_IMAGE"


def _needs(config: Mapping[str, Any]) -> Iterator[ImageNeed]:
    for name, service in config["services"].items():
        ref, build = service.get("image"), service.get("build")
        if not ref:
            problem = f"service {name}: it is built, but its image has no name"
            raise ItestError("usage", problem, hint=f"add `image: itest/{name}:dev` to it", cause="config")
        yield ImageNeed(ref, _spec(name, build, config) if build else None, _variable(name))


def _spec(service: str, build: Mapping[str, Any], config: Mapping[str, Any]) -> BuildSpec:
    args = {name: os.environ.get(name, "") if value is None else str(value) for name, value in _args(build)}
    _refuse_secret(service, args)
    unknown = set(build) - set(FLAGS) - {"context", "dockerfile", "args", "secrets", "tags"}
    if unknown:
        raise ItestError(
            "usage",
            f"service {service}: build.{sorted(unknown)[0]} is not passed on to the build",
            hint=f"move it into the Dockerfile, or build the image by other means and drop `build:` from {service}",
            cause="config",
        )
    flags = [flag for key, write in FLAGS.items() if build.get(key) for flag in write(build[key])]
    flags += _secret_flags(build.get("secrets") or [], config.get("secrets") or {})
    tags = tuple(build.get("tags") or ())
    return BuildSpec(build["context"], build.get("dockerfile", "Dockerfile"), args, tuple(flags), tags)


def _refuse_secret(service: str, args: Mapping[str, str]) -> None:
    """An argument stays in the image's history for whoever gets the image, and in process lists while it is built."""
    for name, value in args.items():
        if any(is_distinct(secret) for secret in known.in_variables({name: value})):
            problem = f"service {service}: the secret {name} is an argument of its build, which the image would keep"
            hint = "hand it over by `build: secrets:`, and RUN --mount=type=secret in the Dockerfile"
            raise ItestError("usage", problem, hint=hint, cause="config")


def _args(build: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from (build.get("args") or {}).items()


def _each(flag: str) -> Callable[[Any], list[str]]:
    """A list becomes one flag an entry, a mapping one `key=value` an entry."""

    def write(value: Any) -> list[str]:
        entries = [f"{key}={item}" for key, item in value.items()] if isinstance(value, dict) else value
        return [f"{flag}={entry}" for entry in entries]

    return write


def _single(flag: str) -> Callable[[Any], list[str]]:
    return lambda value: [f"{flag}={value}"]


def _hosts(value: Any) -> list[str]:
    entries = (
        value.items() if isinstance(value, dict) else (entry.replace("=", ":", 1).split(":", 1) for entry in value)
    )
    return [
        f"--add-host={host}:{address}"
        for host, addresses in entries
        for address in (addresses if isinstance(addresses, list) else [addresses])
    ]


# The settings of `build:` (https://docs.docker.com/reference/compose-file/build/) that buildx has a flag for.
FLAGS: Mapping[str, Callable[[Any], list[str]]] = {
    "additional_contexts": _each("--build-context"),
    "cache_from": _each("--cache-from"),
    "extra_hosts": _hosts,
    "labels": _each("--label"),
    "network": _single("--network"),
    "no_cache": lambda _: ["--no-cache"],
    "platforms": lambda value: [f"--platform={','.join(value)}"],
    "pull": lambda _: [],  # images come from `ensure`
    "shm_size": _single("--shm-size"),
    "ssh": _each("--ssh"),
    "target": _single("--target"),
}


def _secret_flags(used: list[Mapping[str, Any]], declared: Mapping[str, Any]) -> list[str]:
    flags = []
    for secret in used:
        source = secret["source"]
        if source not in HOST_SECRETS:
            origin = declared.get(source, {})
            value = f"src={origin['file']}" if "file" in origin else f"env={origin.get('environment', source)}"
            flags.append(f"--secret=id={secret.get('target') or source},{value}")
    return flags
