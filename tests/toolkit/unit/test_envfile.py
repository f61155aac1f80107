"""Env files, read as compose reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from itest.suite import envfile


@pytest.mark.usefixtures("compose_client")
def test_env_files_mean_to_us_what_they_mean_to_compose(repo, monkeypatch):
    values = {
        "PLAIN": "b # a comment",
        "HASH": "b#c",
        "SPACED": "  b c  ",
        "SINGLE": "'${PLAIN} # b'  # a comment",
        "DOUBLE": '"${PLAIN} # b"',
        "EMPTY": "",
        "DOLLAR": "a$$PLAIN",
        "BARE": "$PLAIN.",
        "DEFAULT": "${EMPTY:-b}",
        "DEFAULT_IF_UNSET": "${EMPTY-b}${UNSET-c}",
        "NESTED": "${EMPTY:-${UNSET:-b}}",
        "IF_SET": "${PLAIN:+:${PLAIN}}",
        "IF_SET_TO_NOTHING": "${EMPTY:+b}${EMPTY+c}${UNSET+d}",
        "FROM_OUTSIDE": "${OUTSIDE}",
        "OUTSIDE": "inside",
    }
    repo.write("values.env", "".join(f"{name}={value}\n" for name, value in values.items()))
    environment = {name: f"${{{name}}}" for name in values if name != "OUTSIDE"}
    repo.write("values.yaml", yaml.safe_dump({"services": {"app": {"image": "app:1", "environment": environment}}}))
    monkeypatch.setenv("OUTSIDE", "outside")
    command = ["docker", "compose", "--env-file", "values.env", "-f", "values.yaml", "config", "--format=json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["services"]["app"]
    theirs = {name: value.replace("$$", "$") for name, value in told["environment"].items()}
    ours = envfile.read(repo.path, Path("values.env")).values
    assert {name: ours[name] for name in theirs} == theirs
