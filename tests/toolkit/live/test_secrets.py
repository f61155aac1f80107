"""Canaries: a secret in every place where one can enter, and none of them in anything that is written or shown.

Each place has a secret of its own, so that a red test says which way in led to which way out.
"""

from __future__ import annotations

import base64
import html
import json
import os
import pty
import secrets
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

AWKWARD = "/+=\"<'&\\"  # what URLs, JSON, XML and Python write otherwise
SHELL = ("POSTGRES_PASSWORD", "APP_DB_PASSWORD", "API_TOKEN", "CI_JOB_TOKEN", "GIT_REMOTE", "PIP_INDEX_URL")
# Who puts a secret there shows it to every process list: only what is written and shown is ours to keep clean.
ON_COMMAND_LINES = {"ARGS", "flag", "redis flag", "healthcheck"}

APP = """
services:
  app:
    extends: {{file: defaults.yaml, service: defaults}}
    x-itest: {{kind: tcp, port: 6379{ready}}}
    image: ${{APP_IMAGE:-itest/{image}:dev}}
    build: {{context: ./images/canary, args: {args}, secrets: [app_key, pip]}}
    user: "999:999"
    environment:
      TICKET: ${{API_TOKEN:-none}}
      MAILER: ${{MAILER_PASS:-none}}
      VAULT: ${{VAULT_CREDENTIALS:-none}}
      STRIPE_KEY: {literal}
      UPSTREAM: amqp://user:{url}@broker/
      HOOK: https://hooks.example.com/x?channel=1&token={query}
      DSN: host=db user=x password={dsn} dbname=y
    command: [sh, -c, 'env; cat /run/secrets/app_key; echo "$$@"; exec redis-server --protected-mode no', sh,
              --api-token, {flag}, "{redis flag}"]
    secrets: [app_key]
    tmpfs: [/data]
    ports: ["127.0.0.1::6379"]
    healthcheck: {{test: [CMD-SHELL, "echo redis-cli -a {healthcheck}"], start_period: 9s, start_interval: 100ms}}
secrets:
  app_key: {{file: ./app.key}}
  pip: {{file: /dev/null}}
"""
DOCKERFILE = """FROM redis:8.0.2
RUN --mount=type=secret,id=app_key --mount=type=secret,id=pip \\
    : {image}; cat /run/secrets/app_key /run/secrets/pip; grep -q PIP_INDEX_URL /run/secrets/pip{then}
"""
TESTS = """
import base64, json, logging, os, sys, time, warnings
from urllib.parse import quote
import pytest

GIVEN = {name: os.environ[name] for name in %(names)r}
ALL = "|".join(GIVEN.values())

@pytest.fixture
def broken(stack, request):
    raise RuntimeError(f"{stack.dsn('postgres')} {request.config.getoption('--api-token')}")

def test_fixture(broken): pass

def test_notations(stack, request):
    print(ALL, json.dumps(GIVEN), GIVEN, quote(ALL), base64.b64encode(ALL.encode()).decode(), ascii(ALL))
    print(ALL, file=sys.stderr)
    logging.warning(ALL)
    warnings.warn(ALL)
    print(stack.logs("app"), stack.dsn("postgres"), request.config.getoption("--api-token"), os.environ["HTTPS_PROXY"])
    assert GIVEN == {}

@pytest.mark.parametrize("name", GIVEN)
def test_assertion(name, stack):
    token = GIVEN[name]
    assert "prefix " + token == "something else " + stack.dsn("postgres")

@pytest.mark.parametrize("url", [GIVEN["CI_JOB_TOKEN"]])
def test_identifier(url):
    assert not url

def test_shown_piece_by_piece():
    out = os.fdopen(os.dup(1), "wb", 0)
    for char in GIVEN["CI_JOB_TOKEN"]:
        out.write(char.encode())

def test_service_dies(stack):
    import redis
    host, port = stack.endpoint("app", 6379)
    redis.Redis(host, port).shutdown(nosave=True)
    raise AssertionError(ALL)
"""


class Canaries(dict[str, str]):
    """Place -> its secret; made when it is first asked for."""

    def __missing__(self, place: str) -> str:
        tail = AWKWARD if place in ("API_TOKEN", "CI_JOB_TOKEN") else ""
        self[place] = f"c4nary{secrets.token_hex(8)}{tail}"
        return self[place]

    def within(self, content: bytes) -> set[str]:
        """The places whose secret stands there, in any notation."""
        return {place for place, secret in self.items() if any(form in content for form in notations(secret))}


def notations(secret: str) -> set[bytes]:
    """How others write a secret, and a report what they have written: independent of what the mask looks for."""
    plain: list[Callable[[str], str]] = [str, quote, lambda text: quote(text, safe=""), quote_plus]
    escaped: list[Callable[[str], str]] = [
        str,
        lambda text: json.dumps(text)[1:-1],
        lambda text: repr(text)[1:-1],
        lambda text: ascii(f"'\"{text}")[4:-1],  # among both kinds of quotes
    ]
    xml: list[Callable[[str], str]] = [str, html.escape, lambda text: html.escape(text, quote=False)]
    forms = {outer(middle(inner(secret))) for inner in plain for middle in escaped for outer in (*escaped, *xml)}
    for before in ("", "x", "xx"):  # where a group of base64 may begin; its edges depend on what stands around it
        forms.add(base64.b64encode(f"{before}{secret}".encode()).decode()[4:-4])
    return {form.encode() for form in forms}


@dataclass
class Planted:
    """A checkout whose suite `canary` has PostgreSQL, and a service that tells its log everything that it is given."""

    checkout: Any
    canaries: Canaries
    image: str

    def plant(
        self, *, ready: str = "", args: str = "{}", then: str = "", migration: str = "CREATE TABLE x ();"
    ) -> None:
        """Write its files. ready: more probes of the service; args: of its build; then: what ends its RUN."""
        places = ("literal", "url", "query", "dsn", "flag", "redis flag", "healthcheck")
        values = {place: self.canaries[place] for place in places}
        values["redis flag"] = f"--requirepass {values['redis flag']}"
        write = self.checkout.write
        self.checkout.suite("canary", "", "migrations: migrations/canary\n  isolation: none", TESTS % {"names": SHELL})
        write("tests/canary/conftest.py", "def pytest_addoption(parser): parser.addoption('--api-token', default='')\n")
        write("compose/layers/canary.yaml", APP.format(**values, ready=ready, args=args, image=self.image))
        write("compose/images/canary/Dockerfile", DOCKERFILE.format(image=self.image, then=then))
        write("compose/app.key", f"{self.canaries['secret file']}\n")
        write("compose/profiles/vault.env", f"VAULT_CREDENTIALS={self.canaries['profile']}\n")
        write("migrations/canary/V1__first.sql", migration)
        self.checkout.replace("compose/suites/canary.env", "base.yaml", "base.yaml:compose/layers/postgres.yaml")
        env = (self.checkout.path / "compose/suites/canary.env").read_text(encoding="utf-8")
        write("compose/suites/canary.env", f"{env}MAILER_PASS={self.canaries['env file']}\n")

    def run(self, arguments: str = "") -> tuple[int, bytes]:
        """`make itest` on a terminal: exit code, and all that is shown there."""
        return self.verb("run", ITEST_ARGS=arguments, ITEST_BAKE="0")

    def verb(self, name: str, **variables: str) -> tuple[int, bytes]:
        return on_a_terminal(self.checkout.path, name, {**shell(self.canaries), **variables})


@pytest.fixture
def planted(checkout: Any) -> Iterator[Planted]:
    one = Planted(checkout, Canaries(), f"canary-{secrets.token_hex(4)}")
    yield one
    if built := docker("image", "ls", "--quiet", f"itest/{one.image}").split():
        docker("image", "rm", "--force", *built)


def shell(canaries: Canaries) -> dict[str, str]:
    """What the caller's shell holds."""
    plain = {name: canaries[name] for name in SHELL}
    return plain | {
        "GIT_REMOTE": f"https://{canaries['GIT_REMOTE']}@git.example.com/repo",
        "PIP_INDEX_URL": f"https://user:{canaries['PIP_INDEX_URL']}@127.0.0.1:9/simple",
        "HTTPS_PROXY": f"http://user:{canaries['HTTPS_PROXY']}@127.0.0.1:9",
        "ITEST_PROFILE": "vault",
        "ITEST_SUITE": "canary",
    }


def on_a_terminal(root: Path, verb: str, given: Mapping[str, str]) -> tuple[int, bytes]:
    terminal, inside = pty.openpty()
    inner = ("ITEST_", "PYTEST_", "COMPOSE_", "MAKE")
    outside = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith(inner)}
    with subprocess.Popen(
        [sys.executable, f"scripts/{verb}.py"],
        cwd=root,
        env={**outside, "TERM": "xterm", "COLUMNS": "200", **given},
        stdin=subprocess.DEVNULL,
        stdout=inside,
        stderr=inside,
    ) as process:
        os.close(inside)
        shown = b"".join(iter(lambda: _read(terminal), b""))
        os.close(terminal)
    return process.returncode, shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed
        return b""


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """All command lines on this machine that are seen while the block runs."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:  # it ended
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def leaks(planted: Planted, shown: bytes) -> Mapping[str, set[str]]:
    """Where a secret stands -> which."""
    places = {"terminal": shown}
    for path in (planted.checkout.path / "build").rglob("*"):
        name = str(path.relative_to(planted.checkout.path))
        if path.is_file() and not path.is_symlink():
            places[name] = name.encode() + path.read_bytes()
        if name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                places |= {f"{name}:{one.name}": archive.extractfile(one).read() for one in archive if one.isfile()}
    return {name: found for name, content in places.items() if (found := planted.canaries.within(content))}


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def test_no_secret_leaves_a_red_run_wherever_it_came_in(planted):
    planted.plant()
    with command_lines() as seen:
        code, shown = planted.run(f"-n 2 --api-token {planted.canaries['ARGS']}")
    assert code == 5, shown.decode()
    assert b"***" in shown
    assert leaks(planted, shown) == {}
    assert planted.canaries.within(b"\n".join(seen)) <= ON_COMMAND_LINES
    code, shared = planted.verb("share")
    assert code == 0
    assert b"service app" in shared
    assert (planted.checkout.latest / "share.tar.gz").is_file()
    assert leaks(planted, shared) == {}
    image = f"itest/{planted.image}:dev"
    assert planted.canaries.within(docker("history", "--no-trunc", image).encode()) == set()
    assert planted.canaries.within(docker("image", "inspect", image).encode()) == set()
    layers = subprocess.run(["docker", "image", "save", image], check=True, capture_output=True).stdout
    assert b"redis-server" in layers
    assert [place for place, secret in planted.canaries.items() if secret.encode() in layers] == []


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        pytest.param({"ready": ", timeout: 1, ready: {exec: [sh, -c, 'env; exit 1']}"}, 5, id="a probe"),
        pytest.param({"migration": "DO $$ BEGIN RAISE EXCEPTION 'app has %', '{}'; END $$"}, 6, id="a migration"),
        pytest.param({"then": " && false"}, 4, id="a build"),
        pytest.param({"args": "{{NPM_TOKEN: '{}'}}"}, 2, id="a build's argument"),
    ],
)
def test_no_error_tells_a_secret(planted, broken, code):
    secret = planted.canaries["APP_DB_PASSWORD"]
    planted.plant(**{name: text if name == "ready" else text.format(secret) for name, text in broken.items()})
    ended, shown = planted.run()
    assert ended == code, shown.decode()
    assert b"Traceback" not in shown
    assert leaks(planted, shown) == {}


def test_a_start_by_hand_that_fails_tells_no_secret(planted):
    planted.plant(ready=", timeout: 1, ready: {exec: [sh, -c, 'env; exit 1']}")
    env = planted.checkout.path / "compose/suites/canary.env"
    env.write_text(env.read_text(encoding="utf-8").replace("itest-canary", f"itest-{planted.image}"), encoding="utf-8")
    code, shown = planted.verb("up", ITEST_BAKE="0")
    planted.verb("down")
    assert (code, b"***" in shown) == (5, True), shown.decode()
    assert leaks(planted, shown) == {}
