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


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


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


NOTES = {  # somebody's own application, without Redis
    "compose/images/notes/Dockerfile": """\
ARG PYTHON_IMAGE=python:3.13.5-slim
FROM ${PYTHON_IMAGE}
USER 10001:10001
COPY notes.py /srv/
CMD ["python", "/srv/notes.py"]
""",
    "compose/images/notes/notes.py": """\
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Notes(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

ThreadingHTTPServer(("", 8000), Notes).serve_forever()
""",
    "migrations/notes/V0001__create_notes.sql": """\
CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);
GRANT SELECT, INSERT ON notes TO app;
""",
    "fixtures/base/10_notes.json": '{"notes": [{"id": 1, "body": "buy milk"}]}',
    "tests/api/test_notes.py": """\
import psycopg

def test_it_answers(http):
    assert http.get("/notes").text == "/notes"

def test_the_application_s_role_reads_the_seed(db, stack):
    password = stack.env("postgres")["APP_DB_PASSWORD"]
    with psycopg.connect(stack.dsn("postgres", user="app", password=password)) as connection:
        assert connection.execute("SELECT body FROM notes").fetchall() == [("buy milk",)]
""",
}


def test_a_copy_with_an_application_of_one_s_own_is_green_and_holds_nothing_of_the_sample(checkout, tmp_path):
    original, mine = checkout.path, type(checkout)(tmp_path / "mine")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", *arguments], cwd=original, check=True)
    copy, proof = re.findall(r"(?:^ {4}.*\n)+", section("Copy it into your repository"), re.MULTILINE)
    mine.write("tests/conftest.py", 'pytest_plugins = ["itest.plugin"]\n')  # there already: it is left alone
    copied = shell(mine, "set +e\n" + copy.replace("../itest", str(original))).stdout
    assert re.findall(r"^tar: (.*): Cannot open: File exists", copied, re.MULTILINE) == ["tests/conftest.py"]

    for path, text in NOTES.items():
        mine.write(path, text)
    (mine.path / ".venv").symlink_to((ROOT / ".venv").resolve())
    mine.replace("compose/suites/api.env", "compose/layers/redis.yaml:", "")
    mine.replace("compose/suites/api.yaml", "fixtures: [fixtures/base, fixtures/api]", "fixtures: fixtures/base")
    layer = (mine.path / "compose/layers/notes.yaml").read_text(encoding="utf-8")
    layer = re.sub(r"^      redis: .*\n", "", layer, flags=re.MULTILINE)
    mine.write("compose/layers/notes.yaml", layer)

    grep, run = proof.strip().splitlines()
    found = shell(mine, grep)
    assert found.stdout.splitlines()[1:] == [], found.stdout
    done = shell(mine, f"{run}; make -n test")
    assert "2 passed" in done.stdout, done.stdout
    assert (
        "tests/toolkit, the toolkit's own tests, is not in this repository; `make itest` runs its suites" in done.stdout
    )
    built = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=itest/notes*").split()
    assert built
    docker("image", "rm", *built)
    assert mine.leftovers() == {"containers": [], "networks": []}


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
