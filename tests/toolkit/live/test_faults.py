"""The fault matrix: what a person reads for everything that can break.

Each fault is injected into a real run, on the real engine or on a server that answers in its stead. Each has to give
its category, its exit code, a first line that names what, which and why, and a hint. Of many the hint is followed, and
then the run is green.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

CODES = {"interrupted": 130, "usage": 2, "engine": 3, "image": 4, "service": 5, "data": 6, "test": 1}
NAME = "faulty"
IMAGE = "redis:8.0.2"
# The one service of the suite as it is when nothing is wrong.
THING = {"image": IMAGE, "x-itest": {"kind": "redis"}, "ports": ["127.0.0.1::6379"], "stop_grace_period": "0s"}
World = Callable[[], AbstractContextManager[Mapping[str, str]]]


def nothing() -> AbstractContextManager[Mapping[str, str]]:
    """A world in which all is as it should be."""
    return nullcontext({})


@dataclass(frozen=True)
class Fault:
    """One thing that is broken, and what a person must read of it.

    kind:  category and cause, as failure.txt begins. line, hint: regular expressions. seen: words of the evidence.
    thing: what is different of service `thing`, and beside: the services beside it, as YAML.
    world: what is different outside the checkout while the run lasts; yields variables that lead there.
    mended: fields of this fault that are other ones once somebody did as the hint says; the run is green then.
    """

    name: str
    kind: str
    line: str
    hint: str
    seen: str = ""
    thing: str = ""
    beside: str = ""
    x_itest: str = "isolation: none"
    test: str = "def test_it(stack): pass"
    files: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    suite: str = NAME
    world: World = nothing
    mended: Mapping[str, Any] = field(default_factory=dict)

    def build(self, checkout) -> None:
        services = {"thing": THING | (yaml.safe_load(self.thing) or {}), **(yaml.safe_load(self.beside) or {})}
        checkout.suite(NAME, yaml.safe_dump({"services": services}, sort_keys=False), self.x_itest, self.test)
        for path, text in self.files.items():
            checkout.write(path, text)

    def run(self, checkout):
        self.build(checkout)
        with self.world() as variables:
            return checkout.run("run", "--suite", self.suite, *self.arguments, **self.variables, **variables)


# Worlds: what stands in the place of an engine, a registry, the owner of a port


@contextmanager
def answering(code: int, body: str, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that gives everybody the same answer, but for a registry's greeting. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            greeted = self.path == "/v2/"
            text = b"{}" if greeted else body.encode()
            self.send_response(200 if greeted else code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(text)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A caller that hangs up, as one that doesn't trust the certificate does."""

    with Server((host, 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{host}:{server.server_port}"
        server.shutdown()


def engine(code: int, **answer: str) -> World:
    """An engine that answers this to whatever it is asked."""

    @contextmanager
    def world() -> Iterator[Mapping[str, str]]:
        with answering(code, json.dumps({"MinAPIVersion": "1.24", "Os": "linux", **answer})) as address:
            yield {"DOCKER_HOST": f"tcp://{address}"}

    return world


def registry(code: int, error: str, words: str) -> World:
    """A registry that answers this to whoever wants an image; `thing` is to come from it."""

    @contextmanager
    def world() -> Iterator[Mapping[str, str]]:
        with answering(code, json.dumps({"errors": [{"code": error, "message": words}]})) as address:
            yield {"THING_IMAGE": f"{address}/team/thing:1"}

    return world


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@contextmanager
def own_network() -> Iterator[str]:
    """A network of these tests' own: the engine's default one is nobody's to rely on."""
    name = f"itest-faults-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name)


@contextmanager
def untrusted_registry() -> Iterator[Mapping[str, str]]:
    """On the gateway of a network: what listens on loopback is trusted whatever its certificate."""
    with own_network() as network, tempfile.TemporaryDirectory() as folder:
        host = docker("network", "inspect", network, "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()
        key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-days", "1"]
        about = ["-addext", f"subjectAltName=IP:{host}", "-keyout", key, "-out", certificate]
        subprocess.run([*make, *about], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        with answering(200, "{}", host=host, tls=tls) as address:
            yield {"THING_IMAGE": f"{address}/team/thing:1"}


@contextmanager
def listener() -> Iterator[Mapping[str, str]]:
    """A process that has the port which `thing` publishes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {"THING_PORT": str(server.getsockname()[1])}


@contextmanager
def container_with_a_port() -> Iterator[Mapping[str, str]]:
    """A container, of nobody's stack, that has the port which `thing` publishes."""
    with own_network() as network:
        one = docker("run", "--detach", "--network", network, "--publish=127.0.0.1::6379", IMAGE).strip()
        try:
            yield {"THING_PORT": docker("port", one, "6379").strip().rpartition(":")[2]}
        finally:
            docker("rm", "--force", one)


def compose_plugin(script: str) -> World:
    """A compose plugin in docker's own configuration folder, where it comes before the system's."""

    @contextmanager
    def world() -> Iterator[Mapping[str, str]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "cli-plugins", "docker-compose")
            path.parent.mkdir()
            path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            path.chmod(0o755)
            yield {"DOCKER_CONFIG": folder}

    return world


NOBODY = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
OLD_COMPOSE = '{"SchemaVersion": "0.1.0", "Vendor": "Docker Inc.", "Version": "v2.10.2"}'
PUBLISHED = "ports: ['127.0.0.1:${THING_PORT:-}:6379']"
THEIRS = {"variables": {"THING_IMAGE": IMAGE}, "world": nothing}

ENGINE = [
    Fault(
        "an engine that is not there",
        "engine/unreachable",
        r"docker engine unix:///nonexistent/docker.sock \(chosen by DOCKER_HOST\): nobody answers there",
        "make it answer, or: unset DOCKER_HOST",
        variables=NOBODY | {"ITEST_ENGINE": "off"},
        mended={"variables": {}},
    ),
    Fault(
        "a context that is not there",
        "engine/unreachable",
        r"docker engine \(chosen by context nowhere\): .*context not found$",
        "docker context use default, with DOCKER_CONTEXT unset",
        variables={"DOCKER_CONTEXT": "nowhere"},
    ),
    Fault(
        "an engine that refuses",
        "engine/permission",
        r"docker engine tcp://127.0.0.1:\d+: it lets nobody in like this: authorization denied by plugin gate$",
        "DOCKER_CERT_PATH.*, or: unset DOCKER_HOST",
        world=engine(403, message="authorization denied by plugin gate"),
    ),
    Fault(
        "an engine that fails",
        "engine/unreachable",
        r"docker engine tcp://127.0.0.1:\d+ \(chosen by DOCKER_HOST\): its disk is on fire$",
        "make it answer, or: unset DOCKER_HOST",
        world=engine(500, message="its disk is on fire"),
    ),
    Fault(
        "an old engine",
        "engine/old",
        r"docker engine 20.10.5: too old, itest needs 25.0 or newer$",
        r"install 25.0 or newer: on the machine behind tcp://127.0.0.1:\d+; or: unset DOCKER_HOST",
        world=engine(200, Version="20.10.5", ApiVersion="1.41"),
    ),
    Fault(
        "no compose plugin",
        "engine/compose",
        "docker compose plugin: not installed, or broken",
        "make engine|docker compose plugin|docker-compose",
        world=compose_plugin("exit 1"),
    ),
    Fault(
        "an old compose plugin",
        "engine/old",
        "docker compose 2.10.2: too old, itest needs 2.24 or newer$",
        "install 2.24 or newer: ",
        world=compose_plugin(f"[ \"$1\" = docker-cli-plugin-metadata ] && echo '{OLD_COMPOSE}' || echo 2.10.2"),
    ),
    Fault(
        "a port that a process has",
        "engine/port",
        r"stack itest-faulty-\S+: 127.0.0.1:\d+ is taken by \S+ \(pid \d+\)$",
        r"stop it: ps -fp \d+ shows what it is",
        thing=PUBLISHED,
        world=listener,
        mended={"world": nothing},
    ),
    Fault(
        "a port that a container has",
        "engine/port",
        r"stack itest-faulty-\S+: 127.0.0.1:\d+ is taken by container \w+$",
        r"docker stop \w+",
        thing=PUBLISHED,
        world=container_with_a_port,
    ),
]

FROM_REGISTRY = "image: '${THING_IMAGE:-redis:8.0.2}'"
BUILT = "{image: itest/faulty:dev, build: ./images/faulty}"
DOCKERFILE = "compose/images/faulty/Dockerfile"

IMAGES = [
    Fault(
        "an image that the registry has not",
        "image/pull",
        r"image 127.0.0.1:\d+/team/thing:1: the registry has no such image: manifest unknown$",
        "correct the tag, or name another image by THING_IMAGE=…",
        thing=FROM_REGISTRY,
        world=registry(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        mended=THEIRS,
    ),
    Fault(
        "a registry that wants a login",
        "image/pull",
        r"image 127.0.0.1:\d+/team/thing:1: the registry denied it: unauthorized",
        r"docker login 127.0.0.1:\d+, or name another image by THING_IMAGE=…",
        thing=FROM_REGISTRY,
        world=registry(401, "UNAUTHORIZED", "authentication required"),
    ),
    Fault(
        "a rate limit",
        "image/pull",
        r"image 127.0.0.1:\d+/team/thing:1: the registry's rate limit is reached: toomanyrequests: ",
        "docker login raises the limit; or name another image by THING_IMAGE=…",
        thing=FROM_REGISTRY,
        world=registry(429, "TOOMANYREQUESTS", "you have reached your limit"),
    ),
    Fault(
        "a registry that fails",
        "image/pull",
        r"image 127.0.0.1:\d+/team/thing:1: the registry failed: .*500 Internal Server Error$",
        "the registry's own trouble: run again in a while, or name another image by THING_IMAGE=…",
        thing=FROM_REGISTRY,
        world=registry(500, "UNKNOWN", "out of order"),
    ),
    Fault(
        "a registry that is not trusted",
        "image/pull",
        r"image \S+/team/thing:1: the registry's certificate is not trusted: .*x509: ",
        "add the registry's CA to those that the engine trusts",
        thing=FROM_REGISTRY,
        world=untrusted_registry,
    ),
    Fault(
        "no registry",
        "image/pull",
        "image 127.0.0.1:1/team/thing:1: no registry answers: .*connection refused$",
        r"give the engine a way to the registry .*, or name another image by THING_IMAGE=…",
        thing=FROM_REGISTRY,
        variables={"THING_IMAGE": "127.0.0.1:1/team/thing:1"},
    ),
    Fault(
        "a build step that fails",
        "image/build",
        "image itest/faulty:dev: build failed at step 2/2 RUN echo no compiler; exit 3: exit code 3$",
        "mend compose/images/faulty",
        seen="\n    no compiler\n",
        thing=BUILT,
        files={DOCKERFILE: f"FROM {IMAGE}\nRUN echo no compiler; exit 3\n"},
        mended={"files": {DOCKERFILE: f"FROM {IMAGE}\nRUN echo a compiler\n"}},
    ),
    Fault(
        "a file that a build copies",
        "image/build",
        'image itest/faulty:dev: build failed at step 2/2 COPY nosuch.conf /etc/: .*"/nosuch.conf": not found$',
        "mend compose/images/faulty",
        thing=BUILT,
        files={DOCKERFILE: f"FROM {IMAGE}\nCOPY nosuch.conf /etc/\n"},
    ),
    Fault(
        "a mistake in a Dockerfile",
        "image/build",
        "image itest/faulty:dev: build failed: dockerfile parse error on line 2: unknown instruction: RUUN",
        "mend compose/images/faulty",
        thing=BUILT,
        files={DOCKERFILE: f"FROM {IMAGE}\nRUUN true\n"},
    ),
    Fault(
        "a base image that is not to be had",
        "image/pull",
        "image 127.0.0.1:1/base:1: no registry answers",
        "or name another after FROM in the Dockerfile",
        thing=BUILT,
        files={DOCKERFILE: "FROM 127.0.0.1:1/base:1\n"},
    ),
    Fault(
        "no Dockerfile",
        "image/build",
        "build context compose/images/faulty: there is no Dockerfile$",
        "write compose/images/faulty/Dockerfile, or correct `build:`",
        thing=BUILT,
        files={"compose/images/faulty/notes.txt": ""},
    ),
    Fault(
        "no build context",
        "image/build",
        "build context compose/images/faulty: no such folder$",
        "create it, or correct `build:`, whose paths begin at compose/",
        thing=BUILT,
    ),
]


def exits(how: str, code: str, hint: str, **more: Any) -> Fault:
    """A service that says something and then ends."""
    number = code.partition(" ")[0]
    line = f"service thing: exited with code {code} before it was ready$"
    command = f"{NEVER}\ninit: true\ncommand: [sh, -c, 'echo no licence; {how}']"
    return Fault(
        f"a service that ends with code {number}",
        "service/exited",
        line,
        hint,
        seen="log: no licence",
        thing=command,
        **more,
    )


NEVER = "x-itest: {ready: {log: never}, timeout: 20}"
HOG = "x=aaaaaaaaaaaaaaaa; while [ $${#x} -lt 8000000 ]; do x=$$x$$x; done; exec redis-server --protected-mode no"
LIMITED = "mem_limit: '${THING_MEMORY:-16m}'\nmemswap_limit: '${THING_MEMORY:-16m}'"
SERVICES = [
    exits("exit 0", "0", "a command that stays in the foreground"),
    exits("exit 3", "3", "the log says why; `make up SUITE=faulty` starts the same stack"),
    exits("exit 126", r"126 \(its command is not executable\)", "correct `command` or `entrypoint` of thing"),
    exits("exit 127", r"127 \(its command was not found in the image\)", "correct `command` or `entrypoint` of thing"),
    exits("kill -ABRT $$$$", r"134 \(aborted, SIGABRT\)", "the log says why"),
    exits("kill -KILL $$$$", r"137 \(killed, SIGKILL\)", "somebody killed it, or the machine ran out of memory"),
    exits("kill -SEGV $$$$", r"139 \(segmentation fault, SIGSEGV\)", f"docker image inspect --format .* {IMAGE}"),
    exits("kill -TERM $$$$", r"143 \(asked to stop, SIGTERM\)", "somebody stopped it"),
    Fault(
        "a command that is not in the image",
        "service/start",
        rf'service thing: its command "redis-servr" was not found in image {IMAGE} \(code 127\)$',
        "correct `command` or `entrypoint` of thing in its layer",
        thing="entrypoint: [redis-servr]",
        mended={"thing": "entrypoint: [redis-server, --protected-mode, 'no']"},
    ),
    Fault(
        "a command that is not executable",
        "service/start",
        rf'service thing: its command "/etc/passwd" is not executable in image {IMAGE} \(code 126\)$',
        r"chmod \+x /etc/passwd in the image, or correct `command` or `entrypoint` of thing",
        thing="entrypoint: [/etc/passwd]",
    ),
    Fault(
        "a user that is not in the image",
        "service/start",
        f'service thing: there is no user "nobodyknows" in image {IMAGE}$',
        'correct `user` of thing in its layer; a number, such as user: "999:999"',
        thing="user: nobodyknows",
        mended={"thing": "user: '999:999'"},
    ),
    Fault(
        "a folder that is a file",
        "service/start",
        "service thing: it could not be started: Cannot mkdir: /etc/passwd is not a directory$",
        "correct thing in its layer",
        thing="working_dir: /etc/passwd",
    ),
    Fault(
        "a service over its memory limit",
        "service/oom",
        "service thing: was killed for using more memory than its mem_limit of 16 MiB",
        "raise mem_limit in its layer, by THING_MEMORY=256m",
        thing=f"{LIMITED}\ncommand: [sh, -c, '{HOG}']",
        mended={"variables": {"THING_MEMORY": "256m"}},
    ),
    Fault(
        "a service that restarts",
        "service/restarting",
        "service thing: exited( with code 4)? and was restarted$",
        "the log says why",
        seen="log: no licence",
        thing="restart: always\ncommand: [sh, -c, 'echo no licence; sleep 0.1; exit 4']",
    ),
    Fault(
        "a service that is slower than its timeout",
        "service/timeout",
        r"service thing: not ready after 1 s and \d+ tries: \S+",
        "raise `timeout` in the x-itest of thing, or ITEST_TIMEOUT_FACTOR for all",
        seen="last probe: ",
        thing="x-itest: {kind: redis, timeout: 1}\n"
        "command: [sh, -c, 'sleep 1.5; exec redis-server --protected-mode no']",
        mended={"variables": {"ITEST_TIMEOUT_FACTOR": "20"}},
    ),
    Fault(
        "an unhealthy service",
        "service/unhealthy",
        "service thing: its own healthcheck says unhealthy: no leader elected$",
        "`make up SUITE=faulty`, then its command in `make shell SUITE=faulty SERVICE=thing`",
        seen="health: exit 1: no leader elected",
        thing="x-itest: {}\nhealthcheck: {test: [CMD-SHELL, 'echo no leader elected; exit 1'], "
        "interval: 100ms, retries: 2}",
    ),
    Fault(
        "a healthcheck that cannot run",
        "service/unhealthy",
        f'service thing: its healthcheck cannot run: "pg_isready" was not found in image {IMAGE}$',
        "correct `healthcheck` of thing in its layer",
        thing="x-itest: {}\nhealthcheck: {test: [CMD, pg_isready], interval: 100ms, retries: 2}",
        mended={"thing": "x-itest: {}\nhealthcheck: {test: [CMD, redis-cli, ping], interval: 100ms, retries: 9}"},
    ),
    Fault(
        "wrong credentials",
        "service/credentials",
        "service thing: wrong credentials: invalid username-password pair",
        "make the password in `environment` of thing the one that its redis was set up with",
        thing="command: [redis-server, --requirepass, one]\nenvironment: {REDIS_PASSWORD: another}",
        mended={"thing": "command: [redis-server, --requirepass, one]\nenvironment: {REDIS_PASSWORD: one}"},
    ),
    Fault(
        "a file system that can only be read",
        "service/exited",
        "service thing: exited with code 2 before it was ready$",
        "the log says why",
        seen="/var/lib/state: Read-only file system",
        thing="read_only: true\nentrypoint: [sh, -c, 'echo 1 >/var/lib/state']",
    ),
    Fault(
        "a one-shot that others wait for",
        "service/exited",
        "service init: exited with code 3, and what depends on it was not started$",
        "the log says why",
        seen="log: no licence",
        thing="depends_on: {init: {condition: service_completed_successfully}}",
        beside=f"init: {{image: '{IMAGE}', entrypoint: [sh, -c, 'echo no licence; exit 3']}}",
        mended={"beside": f"init: {{image: '{IMAGE}', entrypoint: [sh, -c, 'echo a licence']}}"},
    ),
    Fault(
        "an unhealthy service that others wait for",
        "service/unhealthy",
        "service other: its own healthcheck says unhealthy: no leader elected, and what depends on it was not started$",
        "run the healthcheck by hand",
        thing="depends_on: {other: {condition: service_healthy}}",
        beside=f"other: {{image: '{IMAGE}', healthcheck: {{test: [CMD-SHELL, 'echo no leader elected; exit 1'], "
        "interval: 100ms, retries: 2}}",
    ),
    Fault(
        "a service that ends during the tests",
        "service/exited",
        "service thing: exited with code 3 during the tests",
        "a test that means to end a service calls stack.kill or stack.stop",
        seen="log: the last words",
        thing="command: [sh, -c, 'redis-server --protected-mode no; echo the last words; exit 3']",
        test="def test_it(redis_client): redis_client.shutdown(nosave=True)",
    ),
]

JSON = "fixtures/faulty/10_keys.thing.json"
SEEDED = "{isolation: none, fixtures: [fixtures/faulty]}"
COMMITS = "import pytest\n@pytest.mark.isolation('rollback')\ndef test_it(db): db.execute('COMMIT')\n"
DATA = [
    Fault(
        "a migration that is wrong",
        "data/migration",
        r'migration migrations/shop/V9000__broken.sql:3: relation "gone" does not exist$',
        "correct migrations/shop/V9000__broken.sql:3 and run again; nothing of it was applied",
        suite="database",
        files={"migrations/shop/V9000__broken.sql": "CREATE TABLE fine (id int);\n\nALTER TABLE gone ADD x int;\n"},
    ),
    Fault(
        "two migrations of one version",
        "data/migration",
        "migration migrations/shop/V0001__other.sql: version 1 is also migrations/shop/V0001__create_users.sql$",
        "renumber migrations/shop/V0001__other.sql",
        suite="database",
        files={"migrations/shop/V0001__other.sql": "SELECT 1;\n"},
    ),
    Fault(
        "a fixture's row that is wrong",
        "data/fixture",
        "fixture fixtures/base/90_bad.json:1: users row 1: no column nmae$",
        "known: created_at, email",
        suite="database",
        files={"fixtures/base/90_bad.json": '{"users": [{"email": "x@example.com", "nmae": "X"}]}'},
    ),
    Fault(
        "a fixture for a table that is not there",
        "data/fixture",
        "fixture fixtures/base/90_bad.json:1: no table usrs$",
        "did you mean `users`",
        suite="database",
        files={"fixtures/base/90_bad.json": '{"usrs": [{"email": "x@example.com"}]}'},
    ),
    Fault(
        "a fixture that is no JSON",
        "data/fixture",
        f"fixture {JSON}:2: bad JSON: a comma too many in column 9$",
        "remove it from line 2",
        x_itest=SEEDED,
        files={JSON: '{"a": "1",\n "b": 2,,}'},
        mended={"files": {JSON: '{"a": "1",\n "b": "2"}'}},
    ),
    Fault(
        "a fixture's key that is wrong",
        "data/fixture",
        f"fixture {JSON}: key a: `hsh` is no type$",
        "did you mean `hash`",
        x_itest=SEEDED,
        files={JSON: '{"a": {"hsh": {"x": "1"}}}'},
    ),
    Fault(
        "a fixture that its store refuses",
        "data/fixture",
        "fixtures of redis: .*command not allowed when used memory > 'maxmemory'",
        "make logs",
        x_itest=SEEDED,
        thing="command: [redis-server, --maxmemory, '1', --protected-mode, 'no']",
        files={JSON: '{"a": "1"}'},
    ),
    Fault(
        "a test that leaves something behind",
        "data/contamination",
        "tests of database: .*test_commits.py::test_it: .*ended its transaction, so what it wrote was committed",
        "ARGS='--lf'",
        suite="database",
        files={"tests/database/test_commits.py": COMMITS},
        arguments=("--args=tests/database/test_commits.py",),
    ),
]

FIXTURE = "import pytest\n@pytest.fixture\ndef broken(): raise RuntimeError('no luck')\ndef test_it(broken): pass"
TESTS = [
    Fault(
        "an assertion",
        "test/assertion",
        r"tests of faulty: 1 of 1 failed, first tests/faulty/test_faulty.py::test_it: assert \(1 \+ 1\) == 3",
        "make itest SUITE=faulty ARGS='--lf'",
        test="def test_it(): assert 1 + 1 == 3",
    ),
    Fault(
        "an error in a fixture",
        "test/setup",
        'tests of faulty: 1 of 1 failed, first .*::test_it: failed on setup with "RuntimeError: no luck"',
        "make itest SUITE=faulty ARGS='--lf'",
        test=FIXTURE,
    ),
    Fault(
        "a test file that cannot be imported",
        "test/collection",
        "tests of faulty: tests/faulty/test_faulty.py cannot be imported: .*'nothing_like_it' .*test_faulty.py:1",
        "a package that is missing: add it to scripts/requirements.in",
        test="import nothing_like_it",
    ),
    Fault(
        "a test that kills its process",
        "test/crash",
        "tests of faulty: pytest was killed by SIGSEGV while tests/faulty/test_faulty.py::test_it ran",
        "see which test it was: make itest SUITE=faulty ARGS='-v -x'",
        test="import os\ndef test_it(): os.kill(os.getpid(), 11)",
    ),
    Fault(
        "a test that leaves without a word",
        "test/crash",
        "tests of faulty: tests/faulty/test_faulty.py::test_it ended pytest with exit code 7",
        "run it alone: make itest SUITE=faulty ARGS='tests/faulty/test_faulty.py::test_it'",
        test="import os\ndef test_it(): os._exit(7)",
    ),
]

LAYER, OVERLAY, ENV = (f"compose/{part}" for part in ("layers/faulty.yaml", "suites/faulty.yaml", "suites/faulty.env"))
MISSING_LAYER = (
    "COMPOSE_PROJECT_NAME=itest-faulty\nCOMPOSE_FILE=compose/base.yaml:compose/layers/fualty.yaml:" + OVERLAY
)
USAGE = [
    Fault(
        "a key that nobody knows",
        "usage/config",
        f"{OVERLAY}:2: unknown key `isolaton` in `x-itest`$",
        "did you mean `isolation`",
        x_itest="isolaton: none",
        mended={"x_itest": "isolation: none"},
    ),
    Fault(
        "a layer that is not there",
        "usage/config",
        f"{ENV}:2: COMPOSE_FILE names `compose/layers/fualty.yaml`, which does not exist$",
        f"did you mean `{LAYER}`",
        files={ENV: MISSING_LAYER},
        mended={"files": {ENV: MISSING_LAYER.replace("fualty", "faulty")}},
    ),
    Fault(
        "services that depend on one another",
        "usage/cycle",
        rf"{LAYER}:\d+: dependency cycle: thing → other → thing$",
        "remove one of these depends_on",
        thing="depends_on: [other]",
        beside=f"other: {{image: '{IMAGE}', depends_on: [thing]}}",
    ),
    Fault(
        "a variable that is not set",
        "usage/config",
        rf"{LAYER}:3: .*required variable THING_IMAGE is missing a value",
        "set the variable that the message names",
        thing="image: '${THING_IMAGE:?}'",
        mended={"variables": {"THING_IMAGE": IMAGE}},
    ),
    Fault(
        "a layer that is no YAML",
        "usage/config",
        rf"{LAYER}:4: not valid YAML: while parsing a flow sequence",
        f"correct {LAYER}:4, or what stands before it",
        files={LAYER: f"services:\n  thing:\n    image: [{IMAGE}\n"},
    ),
    Fault(
        "a key that compose does not know",
        "usage/config",
        rf"{LAYER}:\d+: unknown key `comand` in `thing`$",
        "did you mean `command`",
        thing="comand: [redis-server]",
    ),
    Fault(
        "a port that is not published",
        "usage/config",
        rf"{LAYER}:\d+: port 6379 of `thing` is not published",
        'add "127.0.0.1::6379" to its ports',
        thing="ports: []",
        mended={"thing": "ports: ['127.0.0.1::6379']"},
    ),
    Fault(
        "a file to mount that is not there",
        "usage/config",
        rf"{LAYER}:\d+: `thing` mounts compose/nosuch.conf, which does not exist$",
        "paths in compose files begin at compose/; create it, or correct the path",
        thing="volumes: ['./nosuch.conf:/etc/thing.conf:ro']",
    ),
    Fault("a suite that nobody has", "usage/suite", "unknown suite fualty$", "did you mean `faulty`", suite="fualty"),
    Fault(
        "no test selected",
        "usage/empty",
        "run: no test was selected$",
        "check the -k, -m or path in ARGS",
        arguments=("--args=-k nothing_like_it",),
    ),
    Fault(
        "an argument that pytest does not know",
        "usage/pytest",
        "tests of faulty: pytest refused its arguments: unrecognized arguments: --nosuch$",
        "correct ARGS, or addopts in pyproject.toml",
        arguments=("--args=--nosuch",),
    ),
]

FAULTS = [*ENGINE, *IMAGES, *SERVICES, *DATA, *TESTS, *USAGE]


def one_of(faults: list[Fault]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", [pytest.param(one, id=one.name) for one in faults])


@one_of(FAULTS)
def test_a_fault_is_told_with_category_cause_reason_and_hint(checkout, fault):
    if fault.world is untrusted_registry and not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    ended = fault.run(checkout)
    assert_told(checkout, ended, fault)


@one_of([one for one in FAULTS if one.mended])
def test_who_does_as_the_hint_says_gets_a_green_run(checkout, fault):
    ended = replace(fault, **fault.mended).run(checkout)
    assert ended.code == 0, ended.output
    if fault.thing == BUILT:
        docker("image", "rm", "--force", "itest/faulty:dev")


def assert_told(checkout, ended, fault: Fault) -> None:
    """Exit code, summary, failure.txt and terminal tell the same, and none of them has a traceback of ours."""
    category, cause = fault.kind.split("/")
    summary = checkout.summary
    suite = summary["suites"].get(fault.suite, {"status": "skipped"})
    capsule = [path for path in (checkout.latest / fault.suite, checkout.latest) if (path / "failure.txt").exists()]
    text = (capsule[0] / "failure.txt").read_text() if capsule else f"{fault.kind}: {suite.get('message')}\n"
    first, _, rest = text.partition("\n")
    assert (ended.code, summary["exit_code"], summary["category"]) == (CODES[category], CODES[category], category), (
        ended.output
    )
    if suite["status"] != "skipped":
        assert (suite["category"], suite["cause"]) == (category, cause)
    assert re.match(f"{fault.kind}: (?:{fault.line})", first), first
    assert first.removeprefix(f"{fault.kind}: ") in ended.output
    hints = [line.strip() for line in ended.output.splitlines() if line.strip().startswith("hint: ")]
    assert re.search(fault.hint, "\n".join(hints)), f"{fault.hint} is not in {hints}"
    assert fault.seen in f"\n{rest}"
    assert not re.search(r"Error response from daemon|OCI runtime|runc|[0-9a-f]{64}", first), "docker's noise"
    assert "Traceback (most recent call last)" not in ended.output, "pytest's own, of a person's test, looks otherwise"


def test_there_are_faults_enough_and_no_two_are_the_same():
    kinds = {(one.kind, one.line) for one in FAULTS}
    assert len(kinds) == len(FAULTS) >= 30
    assert {one.kind.partition("/")[0] for one in FAULTS} == set(CODES) - {"interrupted"}


def test_an_interrupted_run_says_so_and_what_to_do(checkout):
    fault = Fault(
        "Ctrl-C",
        "interrupted/interrupted",
        "suite faulty: interrupted while tests/faulty/test_faulty.py::test_it ran$",
        "make itest SUITE=faulty",
        test="import time\ndef test_it(): print('here', flush=True); time.sleep(60)",
    )
    fault.build(checkout)
    process = checkout.start("run", "--suite", NAME, "--args=-s")
    told = iter(process.stdout.readline, "")
    assert any("here" in line for line in told)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert_told(checkout, type("Ended", (), {"code": process.returncode, "output": output}), fault)


def test_a_stack_that_does_not_start_is_left_by_hand_to_look_around(checkout):
    """What the hint of a service that ended says."""
    exits("exit 3", "3", "").build(checkout)
    ended = checkout.run("up", "--suite", NAME)
    assert (ended.code, "service thing: exited with code 3 before it was ready" in ended.output) == (5, True), (
        ended.output
    )
    assert "no licence" in checkout.run("logs", "--suite", NAME).output
    assert checkout.run("down", "--suite", NAME).code == 0


def test_a_migration_that_was_edited_after_it_ran_is_told_with_what_mends_it(named):
    assert named.run("up", "--suite", "database").code == 0
    named.replace("migrations/shop/V0003__create_items.sql", "CREATE TABLE", "CREATE  TABLE")
    ended = named.run("migrate")
    assert ended.code == 6
    assert re.match("itest: error: migration migrations/shop/V0003__create_items.sql: .*", ended.output), ended.output
    assert "\nhint: " in ended.output
    assert "Traceback" not in ended.output
