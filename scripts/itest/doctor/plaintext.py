"""Secrets that stand in the files as they are, or that get where everybody sees them. No finding tells a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from itest.doctor.finding import Finding
from itest.doctor.subject import Subject
from itest.suite import envfile
from itest.suite.yamlfile import Keys, YamlFile
from itest.verdict.mask import is_secret_key

READ = re.compile(r"(?<!\$)\$(?!\$)")  # of a variable
SECRET_READ = re.compile(r"(?<!\$)\$\{?([A-Z][A-Z0-9_]*_(?:PASSWORD|PASS|SECRET|TOKEN|KEY))\b")
PASSWORD_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@?#]*:([^\s/?#@$]+)@")
NO_SECRETS = ("", "true", "false", "yes", "no")  # whatever the variable is called: ALLOW_EMPTY_PASSWORD
KNOWN: tuple[tuple[str, str], ...] = (  # by their form alone, whoever's name they bear
    ("private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})"),
    ("GitLab token", r"\bglpat-[\w-]{20}"),
    ("Slack token", r"\bxox[abprs]-[\w-]{10,}"),
    ("Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
    ("Google key", r"\bAIza[\w-]{35}"),
)
FORMS = tuple((name, re.compile(pattern)) for name, pattern in KNOWN)


def examine(subject: Subject) -> Iterator[Finding]:
    """Secrets in a suite's layers and env files."""
    for file in subject.suite.files:
        yield from _known(subject, file)
        for name, service in (file.data.get("services") or {}).items():
            yield from _environment(subject, file, name, service)
            yield from _arguments(subject, file, name, service)
            yield from _commands(subject, file, name, service)
    for path in subject.suite.env_files:
        read = envfile.read(subject.suite.root, path)
        for variable, text in read.texts.items():
            if text and is_secret_key(variable) and not READ.search(text):
                yield _in_clear(subject, read.where(variable), variable, "set it in your shell, or in CI's secrets")


def _known(subject: Subject, file: YamlFile) -> Iterator[Finding]:
    for line, text in file.values:
        for name, form in FORMS:
            if form.search(text):
                yield subject.finding(
                    "error",
                    "known-key",
                    f"{file.path}:{line}",
                    f"a {name} stands here in clear" if name[0] not in "AEIOU" else f"an {name} stands here in clear",
                    "whoever can read the repository can use it, also after it is removed: the history keeps it",
                    "revoke it where it is from; then read it from the environment, `${NAME:?}`",
                )


def _environment(subject: Subject, file: YamlFile, name: str, service: Any) -> Iterator[Finding]:
    for variable, value, keys in _pairs(service, ("services", name), "environment"):
        if is_secret_key(variable) and value.lower() not in NO_SECRETS and not READ.search(value):
            yield _in_clear(subject, file.where(*keys), variable, f"{variable}: ${{{variable}:-…}}")
        elif PASSWORD_IN_URL.search(value):
            mend = "://name:${<SERVICE>_PASSWORD:-…}@, with the variable that the service itself reads"
            yield _in_clear(subject, file.where(*keys), f"a password in the URL {variable}", mend)


def _arguments(subject: Subject, file: YamlFile, name: str, service: Any) -> Iterator[Finding]:
    build = service.get("build")
    for variable, _, keys in _pairs(build if isinstance(build, dict) else {}, ("services", name, "build"), "args"):
        if is_secret_key(variable):
            what = f"`{name}` is built with the argument {variable}"
            why = "arguments stay in the image's history, where `docker history` shows them to everybody who has it"
            mend = "`build: secrets:`, and RUN --mount=type=secret in the Dockerfile"
            yield subject.finding("warning", "secret-in-image", file.where(*keys), what, why, mend)


def _commands(subject: Subject, file: YamlFile, name: str, service: Any) -> Iterator[Finding]:
    health = service.get("healthcheck")
    places: list[tuple[Keys, Any]] = [
        (("command",), service.get("command")),
        (("entrypoint",), service.get("entrypoint")),
    ]
    places += [(("healthcheck", "test"), health.get("test"))] if isinstance(health, dict) else []
    for keys, command in places:
        words = [str(word) for word in command] if isinstance(command, list) else [str(command or "")]
        for variable in dict.fromkeys(found for word in words for found in SECRET_READ.findall(word)):
            what = f"the {keys[-1]} of `{name}` holds the value of {variable}"
            why = "every process list, `docker ps` and `docker inspect` shows it"
            mend = f"give it {variable} by `environment:`, and let a shell in the container read it: $${variable}"
            yield subject.finding(
                "warning", "secret-on-command-line", file.where("services", name, *keys), what, why, mend
            )


def _in_clear(subject: Subject, place: str, what: str, mend: str) -> Finding:
    why = "it is in the repository's history for good, and a run can't generate one of its own"
    return subject.finding("warning", "secret-in-clear", place, f"{what} stands here in clear", why, mend)


def _pairs(parent: Any, keys: Keys, key: str) -> Iterator[tuple[str, str, Keys]]:
    """The entries of an `environment:` or `args:`, a mapping or a list, with the way to each."""
    entries = parent.get(key) if isinstance(parent, dict) else None
    if isinstance(entries, dict):
        for name, value in entries.items():
            yield str(name), "" if value is None else str(value), (*keys, key, str(name))
    elif isinstance(entries, list):
        for index, entry in enumerate(entries):
            name, _, value = str(entry).partition("=")
            yield name, value, (*keys, key, index)
