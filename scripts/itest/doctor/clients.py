"""Whether what calls third parties gets to the mock in their place, by their names, and believes its certificate."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from itest.data import stubs
from itest.doctor.finding import Finding
from itest.doctor.subject import Config, Subject
from itest.errors import ItestError

PROXIES = ("http_proxy", "https_proxy")  # in either spelling
CA = "/ca"  # where a mock keeps its certificate, see compose/layers/mock.yaml
NOBODY = "a service that asks for it finds no such host, and tests see the service's own error instead of an answer"
UNTRUSTED = "over HTTPS a service refuses what the mock answers: CERTIFICATE_VERIFY_FAILED"


def examine(subject: Subject) -> Iterator[Finding]:
    """What stands between services and each mock of a suite; where nobody but the tests asks it, nothing does."""
    services = subject.suite.services.values()
    clients = {one.name for one in services if not one.stores}
    for name in (one.name for one in services if one.kind == "mock"):
        mock, aliases = subject.config["services"][name], _aliases(subject.config["services"][name])
        asking = [service for client, service in subject.services if client in clients]
        if asking and not any(_is_proxied(one, name) for one in asking):
            yield from _unnamed(subject, name, aliases)
        if asking and (volume := _certificate(mock)) and not any(volume in _volumes(one) for one in asking):
            yield from _untrusted(subject, name, aliases)


def _unnamed(subject: Subject, mock: str, aliases: list[str]) -> Iterator[Finding]:
    known = {mock, "localhost", *map(str.lower, aliases)}
    for host in [one for one in _hosts(subject) if one.lower() not in known]:
        what = f"stubs answer for {host}, and no name and no proxy leads to `{mock}` for it"
        mend = f"{mock}: {{networks: {{default: {{aliases: [{host}]}}}}}}; or for its client `proxied` of mocked.yaml"
        yield subject.finding("warning", "unnamed-host", subject.at_service(mock), what, NOBODY, mend)


def _untrusted(subject: Subject, mock: str, aliases: list[str]) -> Iterator[Finding]:
    if named := [alias for alias in aliases if "." in alias]:  # a third party's, which speaks HTTPS
        what = f"`{mock}` answers as {', '.join(named)}, and no service has its certificate"
        mend = "<service>: {extends: {file: mocked.yaml, service: trusting}}"
        yield subject.finding("warning", "untrusted-mock", subject.at_service(mock, "networks"), what, UNTRUSTED, mend)


def _hosts(subject: Subject) -> list[str]:
    """For which the suite's stubs answer, where these say it exactly; none where they are wrong, which `data` tells."""
    try:
        found = stubs.read(subject.suite.fixtures, root=subject.suite.root)
    except ItestError:
        return []
    hosts = [one.request.host for one in found if one.request.host]
    return list(dict.fromkeys(str(host.what) for host in hosts if host.how == "equals"))


def _aliases(service: Config) -> list[str]:
    return [alias for one in (service.get("networks") or {}).values() for alias in (one or {}).get("aliases") or []]


def _is_proxied(service: Config, mock: str) -> bool:
    variables = (service.get("environment") or {}).items()
    return any(name.lower() in PROXIES and urlsplit(value or "").hostname == mock for name, value in variables)


def _certificate(mock: Config) -> str:
    """The volume with it."""
    return next((one["source"] for one in mock.get("volumes") or [] if one["target"] == CA), "")


def _volumes(service: Config) -> list[str]:
    return [one.get("source", "") for one in service.get("volumes") or []]
