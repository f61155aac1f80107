"""One PostgreSQL and one Redis for all tests of the data stages, and an empty database for each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

Write = Callable[..., Path]


def _start(*arguments: str, port: int) -> tuple[str, int]:
    """Run a container whose port is published on loopback. Returns its id and that port."""
    command = ["docker", "run", "--detach", "--rm", "--publish", f"127.0.0.1::{port}", *arguments]
    container = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    published = subprocess.run(["docker", "port", container, str(port)], check=True, capture_output=True, text=True)
    return container, int(published.stdout.split(":")[1])


def _stop(container: str) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", container], check=True, capture_output=True)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """DSN of the server's own database, as superuser."""
    settings = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]
    data = ["--tmpfs", "/var/lib/postgresql/data", "--env", "POSTGRES_PASSWORD=itest"]
    container, port = _start(*data, "postgres:17.11", "postgres", *settings, port=5432)
    dsn = f"postgresql://postgres:itest@127.0.0.1:{port}/postgres"

    @retry(retry=retry_if_exception_type(psycopg.OperationalError), wait=wait_fixed(0.05), stop=stop_after_delay(30))
    def answers() -> None:
        psycopg.connect(dsn).close()

    try:
        answers()
        yield dsn
    finally:
        _stop(container)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def dsn(server: str, numbers: Iterator[int]) -> Iterator[str]:
    """DSN of an empty database of this test's own."""
    name = Identifier(f"test_{next(numbers)}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(name))
        yield make_conninfo(server, dbname=name._obj[0])
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    """A session in that database, in autocommit."""
    with psycopg.connect(dsn, autocommit=True) as session:
        yield session


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """URL of a Redis."""
    container, port = _start("redis:8.0.2", "redis-server", "--save", "", "--requirepass", "it:est", port=6379)
    url = f"redis://:it%3Aest@127.0.0.1:{port}/0"

    @retry(retry=retry_if_exception_type(redis.ConnectionError), wait=wait_fixed(0.05), stop=stop_after_delay(30))
    def answers() -> None:
        redis.Redis.from_url(url).ping()

    try:
        answers()
        yield url
    finally:
        _stop(container)


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
