"""The README tells the truth: its commands run, and the suite that it shows is green."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    parts = re.split(r"^## (.*)$", README, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def commands(text: str) -> str:
    """The indented lines, as a shell would get them typed; several commands on one line are apart by blanks."""
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return "\n".join(re.sub(r" {4}(?=make )", "\n", line) for line in lines)


def shell(checkout, script: str) -> subprocess.CompletedProcess[str]:
    inner = ("ITEST_", "MAKE", "MFLAGS", "PYTEST_", "COMPOSE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(inner)}
    return subprocess.run(
        ["sh", "-euxc", script],
        cwd=checkout.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def prepared(named):
    """A checkout with this repository's virtual environment."""
    (named.path / ".venv").symlink_to((ROOT / ".venv").resolve())
    return named


def test_every_command_for_a_stack_by_hand_works_as_shown(prepared):
    script = commands(section("By hand"))
    assert "make up SUITE=api" in script
    assert "docker compose" in script
    done = shell(prepared, script + "\ndocker compose --env-file compose/suites/api.env down -v -t 0")
    assert done.returncode == 0, done.stdout
    assert "attached to" in done.stdout
    assert prepared.leftovers() == {"containers": [], "networks": []}


def test_the_suite_that_it_shows_is_green(prepared):
    blocks = re.findall(r"^```\w*\n# (\S+)\n(.*?)^```", section("Write a suite"), re.MULTILINE | re.DOTALL)
    assert [path for path, _ in blocks] == [
        "compose/suites/orders.env",
        "compose/suites/orders.yaml",
        "tests/orders/test_orders.py",
    ]
    for path, text in blocks:
        prepared.write(path, text)
    done = shell(prepared, "make itest SUITE=orders")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("variables", ["TAGS=blocking JOBS=1 ARGS='-k login'", "ARGS='-k login -x'"])
def test_make_passes_its_variables_on(prepared, variables):
    done = shell(prepared, f"make itest {variables}")
    assert done.returncode == 0, done.stdout
    assert "passed: " in done.stdout


def test_every_make_target_that_any_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [path.read_text(encoding="utf-8") for path in ROOT.rglob("README.md") if ".venv" not in path.parts]
    named = {word for text in texts for word in re.findall(r"(?:^    |`|   )make ([a-z]+)\b", text, re.MULTILINE)}
    assert named
    assert named <= targets


def test_every_link_between_the_readmes_leads_somewhere():
    for readme in (path for path in ROOT.rglob("README.md") if not {".venv", "build"} & set(path.parts)):
        for link in re.findall(r"\]\(([^)#:]+)\)", readme.read_text(encoding="utf-8")):
            assert (readme.parent / link).exists(), f"{readme.relative_to(ROOT)}: {link}"
