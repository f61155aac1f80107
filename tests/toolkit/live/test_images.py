"""Images on a real engine: stand-ins keep the official images' contract, and nothing is built or pulled in vain."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
import redis
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from itest import images
from itest.errors import ItestError
from itest.images import store as image_store
from itest.images.images import BuildSpec, ImageNeed

POSTGRES, REDIS, PYTHON = "postgres:17.11", "redis:8.0.2", "python:3.13.5-slim"
# As the layers run their services: no root, no capability, nothing to write to but memory.
LOCKED_DOWN = ("--user=999:999", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only")
PGDATA = "/var/lib/postgresql/data"
PG_MEMORY = (f"--tmpfs={PGDATA}:uid=999,gid=999,mode=0700", "--tmpfs=/run/postgresql:uid=999,gid=999", "--tmpfs=/tmp")
FAST = ("-cfsync=off", "-cfull_page_writes=off")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


class Container:
    def __init__(self, *arguments: str) -> None:
        self.id = docker("container", "run", "--detach", "--label=itest.test=images", *arguments)

    def port(self, inside: int) -> int:
        return int(docker("container", "port", self.id, f"{inside}/tcp").splitlines()[0].rpartition(":")[2])

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
        return done.stdout.decode()

    def exec(self, *command: str) -> str:
        return docker("container", "exec", self.id, *command)

    def exit_code(self) -> int:
        return int(docker("container", "wait", self.id))


Run = Callable[..., Container]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a container; all are removed afterwards, with their anonymous volumes."""
    started: list[Container] = []

    def start(*arguments: str) -> Container:
        started.append(Container(*arguments))
        return started[-1]

    yield start
    for container in started:
        docker("container", "rm", "--force", "--volumes", container.id)


def connect(container: Container, user="postgres", password="pw", dbname="postgres") -> psycopg.Connection:
    """A connection over the published port; waits for the server, but not for anything else to become right."""
    retry = Retrying(
        retry=retry_if_exception_type(ConnectionError), stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True
    )
    address = {"host": "127.0.0.1", "port": container.port(5432), "user": user, "dbname": dbname, "password": password}
    for attempt in retry:
        with attempt:
            try:
                return psycopg.connect(**address, autocommit=True, connect_timeout=5)
            except psycopg.OperationalError as error:
                if "FATAL" in str(error) and "starting up" not in str(error):
                    raise
                raise ConnectionError(f"{error}{container.logs()}") from error
    raise AssertionError("unreachable")


def value(container: Container, statement: str, **whom: str) -> object:
    with connect(container, **whom) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture
def postgres(run) -> Run:
    """Start PostgreSQL as a layer does. The first arguments are docker's, `flags` the server's."""

    def start(*arguments: str, flags: tuple[str, ...] = ("postgres", *FAST), password: str = "pw") -> Container:
        secret = (f"--env=POSTGRES_PASSWORD={password}",) if password else ()
        return run(*LOCKED_DOWN, *PG_MEMORY, "--publish=127.0.0.1::5432", *secret, *arguments, POSTGRES, *flags)

    return start


# PostgreSQL


def test_postgres_starts_without_any_privilege_and_lets_only_the_password_in(postgres):
    server = postgres("--env=POSTGRES_DB=app")
    assert value(server, "SELECT current_database()", dbname="app") == "app"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, password="wrong")
    assert str(value(server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")).startswith(
        "SCRAM-SHA-256$"
    )


def test_postgres_sorts_and_encodes_as_the_official_image_does(postgres):
    server = postgres()
    assert value(server, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "en_US.utf8"
    assert value(server, "SHOW server_encoding") == "UTF8"
    assert value(server, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['b', 'A', 'a', 'B']) x") == "aAbB"


@pytest.mark.parametrize("command", [("postgres", "-cwork_mem=7MB"), ("-cwork_mem=7MB",)])
def test_postgres_takes_flags_with_or_without_its_name(postgres, command):
    assert value(postgres(flags=command), "SHOW work_mem") == "7MB"


def test_postgres_makes_the_cluster_that_it_is_asked_for(postgres):
    server = postgres(
        "--env=POSTGRES_USER=own er", "--env=POSTGRES_INITDB_ARGS=--data-checksums --locale='C' --encoding=UTF8"
    )
    assert value(server, "SHOW data_checksums", user="own er", dbname="own er") == "on"
    assert (
        value(server, "SELECT count(*) FROM pg_roles WHERE rolname = 'postgres'", user="own er", dbname="own er") == 0
    )


def test_postgres_takes_odd_names_and_passwords_literally(postgres):
    odd = """it's "$HOME" \\ ; :x"""
    server = postgres(f"--env=POSTGRES_DB={odd}", password=odd)
    assert value(server, "SELECT current_database()", dbname=odd, password=odd) == odd


def test_postgres_reads_its_settings_from_files(postgres, tmp_path):
    for name, text in {"password": "from file\n", "db": "filed\n"}.items():
        (tmp_path / name).write_text(text)
    tmp_path.chmod(0o755)
    server = postgres(
        f"--volume={tmp_path}:/run/secrets:ro",
        "--env=POSTGRES_PASSWORD_FILE=/run/secrets/password",
        "--env=POSTGRES_DB_FILE=/run/secrets/db",
        password="",
    )
    assert value(server, "SELECT current_database()", dbname="filed", password="from file") == "filed"


def test_postgres_refuses_a_setting_that_is_given_twice(postgres):
    server = postgres("--env=POSTGRES_PASSWORD_FILE=/etc/hostname")
    assert server.exit_code() == 1
    assert "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set" in server.logs()


def test_postgres_refuses_to_start_without_a_password(postgres):
    server = postgres(password="")
    assert server.exit_code() == 1
    assert "superuser password is not specified" in server.logs()


def test_postgres_lets_everybody_in_where_it_is_told_to(postgres):
    server = postgres("--env=POSTGRES_HOST_AUTH_METHOD=trust", password="")
    assert value(server, "SELECT 1", password="whatever") == 1


def test_postgres_runs_the_init_folder_in_order_before_its_port_opens(postgres, tmp_path):
    scripts = {
        "10-table.sql": b"CREATE TABLE steps (n serial, what text);\n",
        "20-run.sh": b"#!/bin/sh\nset -e\n! pg_isready -q -h 127.0.0.1\n"
        b'psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" "$POSTGRES_DB" -c "INSERT INTO steps (what) VALUES (\'run\')"\n',
        "30-packed.sql.gz": gzip.compress(b"INSERT INTO steps (what) VALUES ('packed');\n"),
        "40-sourced.sh": b"psql -U postgres -d app -c \"INSERT INTO steps (what) VALUES ('sourced')\"\n",
        "notes.txt": b"",
    }
    for name, content in scripts.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "20-run.sh").chmod(0o755)
    tmp_path.chmod(0o755)
    server = postgres("--env=POSTGRES_DB=app", f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro")
    done = "SELECT string_agg(what, ' ' ORDER BY n) FROM steps"
    assert value(server, done, dbname="app") == "run packed sourced"
    said = server.logs()
    assert "running /docker-entrypoint-initdb.d/20-run.sh" in said
    assert "sourcing /docker-entrypoint-initdb.d/40-sourced.sh" in said
    assert "ignoring /docker-entrypoint-initdb.d/notes.txt" in said


def test_postgres_exits_when_an_init_script_fails(postgres, tmp_path):
    (tmp_path / "broken.sql").write_text("SELECT nonsense;\n")
    tmp_path.chmod(0o755)
    server = postgres(f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro")
    assert server.exit_code() != 0
    assert 'column "nonsense" does not exist' in server.logs()


def test_postgres_exits_when_it_cannot_see_into_the_init_folder(postgres, tmp_path):
    tmp_path.chmod(0o700)
    server = postgres(f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro")
    assert server.exit_code() == 1
    assert "user 999 cannot read /docker-entrypoint-initdb.d" in server.logs()


@pytest.fixture
def volume() -> Iterator[str]:
    own = docker("volume", "create", f"itest-images-{uuid.uuid4().hex[:8]}")
    yield own
    docker("volume", "rm", own)


def test_postgres_started_by_root_gives_root_up_and_keeps_its_data(volume, run):
    arguments = (
        f"--volume={volume}:{PGDATA}",
        "--env=POSTGRES_PASSWORD=pw",
        "--publish=127.0.0.1::5432",
        POSTGRES,
        "-cfsync=off",
    )
    first = run(*arguments)
    with connect(first) as connection:
        connection.execute("CREATE TABLE kept ()")
    assert first.exec("stat", "--format=%U", "/proc/1") == "postgres"
    docker("stop", "--time=20", first.id)
    assert docker("inspect", "--format={{.State.ExitCode}}", first.id) == "0", "a fast shutdown, not a kill"
    second = run(*arguments)
    assert value(second, "SELECT count(*) FROM kept") == 0
    assert "Skipping initialization" in second.logs()


def test_postgres_answers_questions_without_a_data_folder(run):
    assert docker("run", "--rm", POSTGRES, "postgres", "--version").startswith("postgres (PostgreSQL) 17.")
    assert docker("run", "--rm", POSTGRES, "id", "--user", "postgres") == "999"


def test_the_baked_cluster_holds_no_password():
    if not image_store.find([POSTGRES])[POSTGRES].stands_in_for(POSTGRES):
        pytest.skip("the official image bakes no cluster")
    script = "tar -xOf /usr/local/share/postgresql/template.tar | grep -c -a 'SCRAM-SHA-256\\$' || true"
    assert docker("run", "--rm", "--entrypoint=sh", POSTGRES, "-c", script) == "0"


# Redis


def ask(container: Container, password: str | None = None, tries: int = 500) -> redis.Redis:
    """A client that keeps trying until the server answers."""
    from redis.backoff import ConstantBackoff
    from redis.exceptions import ConnectionError as Refused
    from redis.retry import Retry

    retry = Retry(ConstantBackoff(0.02), tries, supported_errors=(Refused,))
    return redis.Redis("127.0.0.1", container.port(6379), password=password, decode_responses=True, retry=retry)


def test_redis_starts_without_any_privilege_and_lets_only_the_password_in(run):
    command = ("redis-server", "--requirepass", "pw", "--save", "")
    server = run(*LOCKED_DOWN, "--tmpfs=/data:uid=999,gid=999", "--publish=127.0.0.1::6379", REDIS, *command)
    assert ask(server, "pw").ping()
    with pytest.raises(redis.AuthenticationError):
        ask(server, tries=0).ping()
    assert server.exec("pwd") == "/data"


def test_redis_takes_flags_alone_answers_outside_without_a_password_and_gives_root_up(run):
    server = run("--publish=127.0.0.1::6379", REDIS, "--maxmemory", "32mb")
    assert ask(server).config_get("maxmemory") == {"maxmemory": "33554432"}
    assert server.exec("stat", "--format=%u:%g", "/proc/1") == "999:999"


def test_redis_reads_its_settings_from_standard_input_under_a_shell(run):
    script = "exec redis-server - <<END\nrequirepass pw\nEND"
    server = run(*LOCKED_DOWN, "--tmpfs=/data:uid=999,gid=999", "--publish=127.0.0.1::6379", REDIS, "sh", "-c", script)
    assert ask(server, "pw").ping()


# Python


@pytest.mark.parametrize("user", [(), ("--user=10001:10001", "--env=HOME=/tmp")], ids=["root", "anybody"])
def test_python_installs_packages_for_root_and_for_anybody(tmp_path, user):
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "print('tiny')\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    tmp_path.chmod(0o755)
    script = "python3 --version && pip install --quiet --no-index /w/*.whl && python -m tiny"
    said = docker("run", "--rm", "--network=none", f"--volume={tmp_path}:/w:ro", *user, PYTHON, "sh", "-c", script)
    assert said.splitlines()[0].startswith("Python 3.13.")
    assert said.splitlines()[-1] == "tiny"


# Bringing images in


@pytest.fixture
def name() -> Iterator[str]:
    """An image name of this test alone; what it built is removed."""
    own = f"itest/test-{uuid.uuid4().hex[:8]}"
    yield f"{own}:1"
    for reference in docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", own).split():
        docker("image", "rm", "--force", reference)


@pytest.fixture
def app(tmp_path, name) -> Callable[[], ImageNeed]:
    """A small application: its folder is tmp_path. Called again, it is looked at again."""
    (tmp_path / "Dockerfile").write_text(
        "ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE}\nRUN echo installed >/packages\nCOPY app.py /srv/\n"
    )
    (tmp_path / "app.py").write_text("print(1)\n")
    return lambda: ImageNeed(name, BuildSpec(str(tmp_path), args={"PYTHON_IMAGE": PYTHON}))


def layers(reference: str) -> list[str]:
    return json.loads(docker("image", "inspect", "--format={{json .RootFS.Layers}}", reference))


def names(image_id: str) -> list[str]:
    return json.loads(docker("image", "inspect", "--format={{json .RepoTags}}", image_id))


def quiet(_: str) -> None:
    pass


def test_an_unchanged_check_says_nothing_and_takes_no_time(app):
    needs = [app(), ImageNeed(POSTGRES), ImageNeed(REDIS), ImageNeed(PYTHON)]
    images.ensure(needs, quiet)
    told: list[str] = []
    started = time.monotonic()
    reports = images.ensure([app(), *needs[1:]], told.append)
    assert time.monotonic() - started < 0.3
    assert [one.how for one in reports] == ["present"] * 4
    assert told == []


def test_an_edit_rebuilds_the_last_layer_only_and_leaves_no_old_image(app, tmp_path, name):
    [first] = images.ensure([app()], quiet)
    before = layers(name)
    (tmp_path / "app.py").write_text("print(2)\n")
    [second] = images.ensure([app()], quiet)
    assert (first.how, second.how) == ("built", "built")
    assert layers(name)[:-1] == before[:-1]
    assert layers(name)[-1] != before[-1]
    assert image_store.find([first.image_id]) == {}


def test_an_image_that_a_container_uses_is_superseded_and_goes_with_it(app, tmp_path, run):
    [first] = images.ensure([app()], quiet)
    user = run("--network=none", first.ref, "sleep", "60")
    (tmp_path / "app.py").write_text("print(2)\n")
    images.ensure([app()], quiet)
    assert names(first.image_id) == [f"itest/superseded:{first.image_id[7:19]}"]
    image_store.remove_superseded()
    assert names(first.image_id), "a container uses it"
    docker("container", "rm", "--force", "--volumes", user.id)
    (tmp_path / "app.py").write_text("print(3)\n")
    images.ensure([app()], quiet)
    assert image_store.find([first.image_id]) == {}


def test_a_build_that_fails_leaves_the_image_that_is_there_and_its_one_name(app, tmp_path, name):
    [first] = images.ensure([app()], quiet)
    (tmp_path / "Dockerfile").write_text(f"FROM {PYTHON}\nRUN false\n")
    with pytest.raises(ItestError, match="build failed"):
        images.ensure([app()], quiet)
    assert names(first.image_id) == [name]


def test_an_image_is_built_once_however_many_ask_at_once(app):
    with ThreadPoolExecutor(5) as pool:
        reports = list(pool.map(lambda _: images.ensure([app()], quiet)[0], range(5)))
    assert sorted(one.how for one in reports) == ["built", "present", "present", "present", "present"]
    assert len({one.image_id for one in reports}) == 1


def test_a_build_that_fails_is_told_with_its_step_and_its_last_words(app, tmp_path, name):
    (tmp_path / "Dockerfile").write_text(f"FROM {PYTHON}\nRUN echo the compiler is missing; exit 3\n")
    with pytest.raises(ItestError) as caught:
        images.ensure([app()], quiet)
    assert (caught.value.category, caught.value.cause) == ("image", "build")
    assert caught.value.message.startswith(f"image {name}: build failed at step 2/2 RUN echo the compiler")
    assert caught.value.message.splitlines()[-1].strip() == "the compiler is missing"


def test_what_is_private_to_the_host_reaches_the_build_and_stays_out_of_the_image(app, tmp_path, name, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hush1@index.example/simple")
    monkeypatch.setenv("FTP_PROXY", "http://me:hush2@proxy.example:3128")
    (tmp_path / "ca.pem").write_text("hush3")
    monkeypatch.setenv("ITEST_CA_BUNDLE", str(tmp_path / "ca.pem"))
    (tmp_path / ".dockerignore").write_text("ca.pem\n")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {PYTHON}\nRUN --mount=type=secret,id=ca --mount=type=secret,id=pip . /run/secrets/pip"
        ' && echo "$PIP_INDEX_URL $ftp_proxy $(cat /run/secrets/ca)" | sha256sum >/seen'
        f" && : {name} # secrets are no part of the cache's key, this is\n"
    )
    images.ensure([app()], quiet)
    seen = b"https://me:hush1@index.example/simple http://me:hush2@proxy.example:3128 hush3\n"
    assert docker("run", "--rm", name, "cat", "/seen").split()[0] == hashlib.sha256(seen).hexdigest()
    traces = docker("history", "--no-trunc", name) + docker("image", "inspect", name)
    assert "hush" not in traces
    assert docker("run", "--rm", name, "sh", "-c", "ls -A /run/secrets 2>/dev/null || true") == ""


def test_somebody_elses_image_is_left_alone(name, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {POSTGRES}\n")
    docker("build", "--quiet", f"--tag={name}", str(tmp_path))
    [report] = images.ensure([ImageNeed(name)], quiet)
    assert (report.how, report.standin) == ("present", False), "labels inherited from a stand-in make no stand-in"


# Pulling, from a registry of our own on loopback


class Registry(ThreadingHTTPServer):
    """Answers as told: `failures` HTTP codes first, then with one image, if it has been given one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failures: list[int] = []
        self.blobs: dict[str, bytes] = {}
        self.manifest = b""
        self.asked = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def hold_an_image(self) -> None:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(f"hello-{uuid.uuid4().hex}"))
        layer = gzip.compress(tar.getvalue())
        rootfs = {"type": "layers", "diff_ids": [sha256(tar.getvalue())]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        part = {"schemaVersion": 2, "mediaType": kind, "config": entry("container.image.v1+json", config)}
        self.manifest = json.dumps(part | {"layers": [entry("image.rootfs.diff.tar.gzip", layer)]}).encode()
        self.blobs = {sha256(layer): layer, sha256(config): config}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def entry(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": f"application/vnd.docker.{kind}", "size": len(content), "digest": sha256(content)}


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        what = self.path.rpartition("/")[2]
        if self.path == "/v2/":
            return self.reply(200, b"{}", "application/json")
        if "/manifests/" in self.path:
            self.server.asked += 1
            if self.server.failures:
                return self.reply(self.server.failures.pop(0), b"", "text/plain")
            if self.server.manifest:
                return self.reply(200, self.server.manifest, json.loads(self.server.manifest)["mediaType"])
            error = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()
            return self.reply(404, error, "application/json")
        return self.reply(200, self.server.blobs[what], "application/octet-stream")

    do_HEAD = do_GET

    def reply(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", sha256(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        for reference in docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", f"{server.host}/*").split():
            docker("image", "rm", reference)
        server.shutdown()


def test_an_image_that_a_registry_has_is_pulled_through_its_hiccups(registry):
    registry.hold_an_image()
    registry.failures = [503, 503]
    told: list[str] = []
    [report] = images.ensure([ImageNeed(f"{registry.host}/thing:1")], told.append, mode="auto")
    assert report.how == "pulled"
    assert image_store.find([report.ref])[report.ref].id == report.image_id
    assert any("trying again" in line for line in told)


def test_a_missing_image_is_not_asked_for_twice(registry):
    with pytest.raises(ItestError) as caught:
        images.ensure([ImageNeed(f"{registry.host}/thing:1", variable="THING_IMAGE")], quiet, mode="auto")
    assert (caught.value.category, caught.value.cause) == ("image", "pull")
    assert caught.value.message.startswith(f"image {registry.host}/thing:1: the registry has no such image")
    assert "THING_IMAGE=…" in caught.value.hint


def test_every_image_that_is_missing_is_named(registry):
    registry.hold_an_image()
    dead = "127.0.0.1:1"
    with pytest.raises(ItestError) as caught:
        images.ensure(
            [ImageNeed(f"{dead}/a:1"), ImageNeed(f"{registry.host}/ok:1"), ImageNeed(f"{dead}/b:1")], quiet, mode="auto"
        )
    assert [line.split(": ")[0] for line in caught.value.message.splitlines()] == [
        f"image {dead}/a:1",
        f"image {dead}/b:1",
    ]
    assert image_store.find([f"{registry.host}/ok:1"]), "the others were brought in all the same"


def test_a_registry_that_is_silent_is_found_out_once_and_soon():
    callers: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        asking = threading.Event()

        def take_calls() -> None:
            while not asking.is_set():
                with contextlib.suppress(TimeoutError):
                    callers.append(listener.accept()[0])

        thread = threading.Thread(target=take_calls)
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ItestError, match="no registry answers"):
            images.ensure([ImageNeed(f"{host}/{letter}:1") for letter in "abcd"], quiet, mode="auto")
        took = time.monotonic() - started
        asking.set()
        thread.join()
    for caller in callers:
        caller.close()
    assert took < 8
    assert len(callers) == 1, "asked for one image, known for all"


def test_giving_up_ends_what_docker_is_doing(app, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {PYTHON}\nRUN sleep 60\n")
    cancelled = threading.Event()
    started = time.monotonic()
    with pytest.raises(ItestError) as caught:
        images.ensure([app()], lambda line: cancelled.set() if "sleep" in line else None, cancelled=cancelled)
    assert caught.value.category == "interrupted"
    assert time.monotonic() - started < 20


# The verb


def test_the_verb_prints_what_every_image_holds():
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "scripts/images.py", "--suite", "database"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    head, row = done.stdout.splitlines()
    assert head.split() == ["image", "how", "holds", "seconds"]
    assert row.startswith(POSTGRES)
