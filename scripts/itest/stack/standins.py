"""For each host that a sealed stack wanted from outside: the lines that make the mock answer in its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itest.stack.egress import Attempt
from itest.suite.suite import Suite

MOCK = "mock"  # what compose/layers/mock.yaml calls it
LAYER = "compose/layers/mock.yaml"
STUBS = Path("fixtures/base")  # the set that the layer reads where a suite names none


def standins(suite: Suite, tried: Sequence[Attempt]) -> str:
    """egress.yaml: what goes into which file so that the mock has the names of these hosts, and stubs for them.

    "" where nothing was refused.
    """
    closed = [one for one in tried if not one.opened]
    hosts = sorted({one.host for one in closed})
    if not hosts:
        return ""
    mock = next((name for name, service in suite.services.items() if service.kind == "mock"), "")
    lines = [f"# What {suite.name} wanted from outside, answered by the mock. What the stubs say is for you to mend."]
    if not mock:
        lines += ["", f"# {suite.env_files[-1]}", f"#   COMPOSE_FILE=…:{LAYER}:…, before {suite.files[-1].path}"]
    lines += ["", f"# {suite.files[-1].path}", "services:"]
    lines += [f"  {mock or MOCK}:", f"    networks: {{default: {{aliases: [{', '.join(hosts)}]}}}}"]
    for service in sorted({one.service for one in closed}):
        lines += [f"  {service}:", "    extends: {file: mocked.yaml, service: trusting} # the mock's certificates"]
    lines += ["---", f"# {(suite.fixtures or (STUBS,))[-1] / 'stubs' / 'outside.yaml'}"]
    for host in hosts:
        wanted = ", ".join(str(one) for one in closed if one.host == host)
        lines += [f"- name: {host} # {wanted}", f"  request: {{host: {host}}}", "  response: {status: 200, json: {}}"]
    return "\n".join(lines) + "\n"
