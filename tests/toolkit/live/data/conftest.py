"""One PostgreSQL and one Redis for all tests of the data stages, and an empty database for each."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

Write = Callable[..., Path]


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def _container(network: str, port: int, *arguments: str) -> Iterator[int]:
    """A container whose port is published on loopback. Yields that port."""
    container = _docker("create", "--network", network, "--publish", f"127.0.0.1::{port}", *arguments)
    try:
        _docker("start", container)
        yield int(_docker("port", container, str(port)).rpartition(":")[2])
    finally:
        _docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="session")
def network() -> Iterator[str]:
    """A network of these tests' own: the engine's default one is nobody's to rely on."""
    name = f"itest-data-{uuid.uuid4().hex[:8]}"
    _docker("network", "create", name)
    yield name
    _docker("network", "rm", name)


@pytest.fixture(scope="session")
def server(network: str) -> Iterator[str]:
    """DSN of the server's own database, as superuser."""
    data = ("--tmpfs", "/var/lib/postgresql/data", "--env", "POSTGRES_PASSWORD=itest")
    fast = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
    settings = (*fast, "-c", "max_prepared_transactions=4")
    with _container(network, 5432, *data, "postgres:17.11", "postgres", *settings) as port:
        dsn = f"postgresql://postgres:itest@127.0.0.1:{port}/postgres"
        _until(psycopg.OperationalError, lambda: psycopg.connect(dsn).close())
        yield dsn


@pytest.fixture
def server_log(server: str, network: str) -> Callable[[], str]:
    """What that PostgreSQL has logged up to this moment: docker has a line a little later than PostgreSQL wrote it."""
    container = _docker("ps", "--quiet", "--filter", f"network={network}", "--filter", "ancestor=postgres:17.11")

    def until_now() -> str:
        mark = f"seen {uuid.uuid4().hex}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DO $$ BEGIN RAISE LOG '{mark}'; END $$")
        return Retrying(retry=retry_if_exception_type(ValueError), wait=wait_fixed(0.05), stop=stop_after_delay(30))(
            lambda: up_to(mark)
        )

    def up_to(mark: str) -> str:
        logs = ["docker", "logs", container]
        told = subprocess.run(logs, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        return told[: told.index(mark)]

    return until_now


def _until(error: type[Exception], answers: Callable[[], object]) -> None:
    """Try until it no longer raises the error, for half a minute."""
    Retrying(retry=retry_if_exception_type(error), wait=wait_fixed(0.05), stop=stop_after_delay(30), reraise=True)(
        answers
    )


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def dsn(server: str, numbers: Iterator[int]) -> Iterator[str]:
    """DSN of an empty database of this test's own."""
    name = f"test_{next(numbers)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(Identifier(name)))
        yield make_conninfo(server, dbname=name)
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    """A session in that database, in autocommit."""
    with psycopg.connect(dsn, autocommit=True) as session:
        yield session


@pytest.fixture(scope="session")
def redis_server(network: str) -> Iterator[str]:
    """URL of a Redis whose password needs quoting."""
    command = ("redis:8.0.2", "redis-server", "--save", "", "--requirepass", "it:est")
    with _container(network, 6379, *command) as port:
        url = f"redis://:it%3Aest@127.0.0.1:{port}/0"
        _until(redis.ConnectionError, lambda: redis.Redis.from_url(url).ping())
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """URL of that Redis, emptied."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the test's root folder, `tmp_path`."""

    def to(path: str, text: str | bytes) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return to
