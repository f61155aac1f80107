"""Baked databases on a real engine: started from at once, never stale, without a password, and never in the way."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import tarfile
from pathlib import Path

import psycopg
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from itest import compose
from itest.bake import shelf

PGDATA = "/var/lib/postgresql/data"
LOCKED_DOWN = ("--user=999:999", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only")
MEMORY = (f"--tmpfs={PGDATA}:uid=999,gid=999,mode=0700", "--tmpfs=/run/postgresql:uid=999,gid=999", "--tmpfs=/tmp")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture
def checkout(checkout):
    """A throwaway checkout whose bakes go with it. One test a suite: what they start from counts here."""
    for suite in ("api", "database"):
        for file in (checkout.path / "tests" / suite).glob("test_*.py"):
            file.unlink()
    checkout.write("tests/database/test_it.py", "def test_it(db): assert db.execute('TABLE users').fetchall()")
    checkout.write("tests/api/test_it.py", "def test_it(redis_client): assert redis_client.dbsize()")
    # Its bakes are its own: those that other tests, or people, made of the same files are not met.
    with (checkout.path / "compose/init/postgres/10-role-app.sql").open("a") as file:
        file.write(f"-- of {checkout.path}\n")
    yield checkout
    shelf.prune(checkout.path, print, every=True)


def bakes(checkout) -> list[str]:
    ours = shelf.checkout_of(checkout.path)
    return [one.reference for one in shelf.everything() if one.checkout == ours]


def image_of(checkout, suite: str = "database") -> str:
    return checkout.summary["suites"][suite]["services"]["postgres"]["image"]


def run(checkout, suite: str = "database", code: int = 0, **variables: str) -> str:
    ended = checkout.run("run", ITEST_SUITE=suite, **variables)
    assert ended.code == code, ended.output
    return ended.output


@pytest.fixture
def baked(checkout):
    """A checkout that has the bake of suite `database`."""
    run(checkout)
    return checkout


# Made once, of everything that counts


def test_the_first_run_bakes_and_later_ones_start_from_it(checkout):
    first = run(checkout)
    second = run(checkout)

    assert re.search(r"images +\d present, postgres of database baked +\d", first)
    assert re.search(r"images +\d present +\d", second)
    assert all(re.search(r"data +seeded before", output) for output in (first, second))
    assert [image_of(checkout)] == bakes(checkout)


def test_bake_0_makes_none_and_uses_none(baked):
    output = run(baked, ITEST_BAKE="0")

    assert re.search(r"data +\d migrations, \d fixtures", output)
    assert image_of(baked) == "postgres:17.11"


def test_suites_side_by_side_each_start_with_their_own_rows_and_redis_is_seeded_as_ever(checkout):
    output = run(checkout, "api,database")

    assert output.count("seeded before") == 2
    assert image_of(checkout, "api") != image_of(checkout, "database")


def test_a_changed_fixture_is_in_the_next_run(baked):
    baked.write("fixtures/base/99_extra.json", '{"users": [{"email": "new@example.com", "password_hash": "x"}]}')
    test = "def test_it(db): assert db.execute(\"SELECT FROM users WHERE email = 'new@example.com'\").fetchone()"
    baked.write("tests/database/test_it.py", test)

    output = run(baked)

    assert "postgres of database baked (no new migrations)" in output
    assert len(bakes(baked)) == 2


def test_a_new_migration_alone_is_applied_on_top_of_the_older_bake(baked):
    baked.write("migrations/shop/V0099__more.sql", "CREATE TABLE more (id int);\n")
    test = "def test_it(db): assert db.execute('SELECT max(version) FROM itest_migrations').fetchone() == (99,)"
    baked.write("tests/database/test_it.py", test)

    assert "postgres of database baked (1 new migration)" in run(baked)


def test_an_edited_migration_is_baked_from_nothing(baked):
    last = sorted((baked.path / "migrations/shop").glob("*.sql"))[-1]
    last.write_text(f"{last.read_text()}\nCREATE TABLE edited (id int);\n")
    baked.write("tests/database/test_it.py", "def test_it(db): assert not db.execute('TABLE edited').fetchall()")

    assert re.search(r"postgres of database baked +\d", run(baked))


def test_what_a_fixture_did_to_the_schema_is_not_carried_into_a_later_bake(checkout):
    checkout.write("fixtures/base/98_schema.sql", "CREATE TABLE made_by_a_fixture (id int);\n")
    run(checkout)
    (checkout.path / "fixtures/base/98_schema.sql").unlink()
    test = "def test_it(db): assert db.execute(\"SELECT to_regclass('made_by_a_fixture')\").fetchone() == (None,)"
    checkout.write("tests/database/test_it.py", test)

    output = run(checkout)

    assert re.search(r"postgres of database baked +\d", output), "from nothing"


def test_two_runs_at_once_bake_once(checkout):
    processes = [checkout.start("run", ITEST_SUITE="database") for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted("postgres of database baked" in output for output in outputs) == [False, True]
    assert all("seeded before" in output for output in outputs)


# Never in the way


def test_a_role_with_a_password_of_its_own_is_not_baked_and_the_run_says_why(checkout):
    checkout.write("compose/init/postgres/20-reader.sql", "CREATE ROLE reader LOGIN PASSWORD 'literal';\n")

    output = run(checkout)

    assert "database: postgres is not baked: the password of role reader is in no variable" in output
    assert not bakes(checkout)


def test_a_password_that_a_table_keeps_is_not_baked(checkout):
    script = "\\getenv pw APP_DB_PASSWORD\nCREATE TABLE kept AS SELECT :'pw'::text AS pw;\n"
    checkout.write("compose/init/postgres/20-kept.sql", script)

    assert "the database keeps the value of APP_DB_PASSWORD" in run(checkout)
    assert not bakes(checkout)


def test_a_migration_that_fails_fails_as_it_does_without_a_bake(checkout):
    checkout.write("migrations/shop/V0099__wrong.sql", "CREATE TABLE x (id nonsense);\n")

    output = run(checkout, code=6)

    assert 'itest: error: migration migrations/shop/V0099__wrong.sql:1: type "nonsense" does not exist' in output
    assert (checkout.latest / "database" / "failure.txt").is_file()
    assert not bakes(checkout)


def test_a_killed_bake_leaves_nothing_and_the_next_run_starts_over(checkout):
    checkout.write("migrations/shop/V0099__slow.sql", "SELECT pg_sleep(30);\n")
    process = checkout.start("run", ITEST_SUITE="database")
    until(lambda: baking(checkout))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (checkout.path / "migrations/shop/V0099__slow.sql").unlink()

    output = run(checkout)

    assert re.search(r"removing itest-bake-\w+, left by a run that was killed", output)
    assert not baking(checkout)
    assert len(bakes(checkout)) == 1


def test_an_interrupted_bake_leaves_nothing(checkout):
    checkout.write("migrations/shop/V0099__slow.sql", "SELECT pg_sleep(30);\n")
    process = checkout.start("run", ITEST_SUITE="database")
    until(lambda: baking(checkout))
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=30) == 130
    assert not baking(checkout)
    assert not bakes(checkout)


def baking(checkout) -> list[str]:
    """The containers of bakes under way."""
    label = f"label={compose.WORKING_DIR_LABEL}={checkout.path / 'compose'}"
    names = docker("container", "ls", "--all", "--filter", label, "--format", "{{.Names}}").split()
    return [name for name in names if name.startswith("itest-bake-")]


def until(there) -> None:
    for attempt in Retrying(stop=stop_after_delay(30), wait=wait_fixed(0.05), reraise=True):
        with attempt:
            assert there()


def test_make_clean_removes_the_bakes_of_this_checkout(baked):
    [bake] = bakes(baked)

    ended = baked.run("clean")

    assert (ended.code, bakes(baked)) == (0, []), ended.output
    assert re.search(rf"removing {bake}, \d+ MB", ended.output)


def test_by_hand_a_stack_keeps_the_database_that_it_has(named):
    assert named.run("up", ITEST_SUITE="database").code == 0
    before = named.leftovers()["containers"]
    inspected = docker("container", "inspect", "--format={{.Id}} {{.Config.Image}}", *before)
    named.write("fixtures/base/99_extra.json", '{"users": [{"email": "new@example.com", "password_hash": "x"}]}')

    again = named.run("up", ITEST_SUITE="database")

    assert again.code == 0, again.output
    assert docker("container", "inspect", "--format={{.Id}} {{.Config.Image}}", *before) == inspected
    assert "itest/bake/postgres:" in inspected


# What is in it


class Server:
    """A container of a bake, as a layer would start it."""

    def __init__(self, *arguments: str) -> None:
        self.id = docker("run", "--detach", "--publish=127.0.0.1::5432", *arguments).strip()

    def connect(self, user: str = "postgres", password: str = "pw") -> psycopg.Connection:
        port = docker("container", "port", self.id, "5432/tcp").splitlines()[0].rpartition(":")[2]
        address = {"host": "127.0.0.1", "port": port, "user": user, "password": password, "dbname": "app"}
        retry = Retrying(
            retry=retry_if_exception_type(ConnectionError),
            stop=stop_after_delay(20),
            wait=wait_fixed(0.05),
            reraise=True,
        )
        for attempt in retry:
            with attempt:
                try:
                    return psycopg.connect(**address, autocommit=True)
                except psycopg.OperationalError as error:
                    if "FATAL" in str(error) and "starting up" not in str(error):
                        raise
                    raise ConnectionError(f"{error}{self.logs()}") from error
        raise AssertionError("unreachable")

    def value(self, statement: str, **whom: str) -> object:
        with self.connect(**whom) as connection:
            row = connection.execute(statement).fetchone()
            assert row is not None
            return row[0]

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
        return done.stdout.decode()


@pytest.fixture
def serve(baked):
    """Start the bake of suite `database`: arguments of docker, and of the server behind `--`."""
    started: list[Server] = []

    def start(*arguments: str, command: tuple[str, ...] = ()) -> Server:
        started.append(Server(*LOCKED_DOWN, *MEMORY, *arguments, *bakes(baked), *command))
        return started[-1]

    yield start
    for server in started:
        docker("rm", "--force", "--volumes", server.id)


def test_no_password_is_in_it_nor_what_a_running_server_leaves(baked):
    [bake] = bakes(baked)
    container = docker("create", bake).strip()
    try:
        packed = subprocess.run(
            ["docker", "cp", f"{container}:/usr/local/share/itest-bake", "-"], capture_output=True, check=True
        ).stdout
    finally:
        docker("rm", "--volumes", container)
    with tarfile.open(fileobj=io.BytesIO(packed)) as outer:
        contents = {Path(one.name).name: outer.extractfile(one).read() for one in outer.getmembers() if one.isfile()}
    with tarfile.open(fileobj=io.BytesIO(contents["data.tar"])) as data:
        names = set(data.getnames())

    assert b"SCRAM-SHA-256$" not in packed, "the verifier of a password"
    assert not {"postmaster.pid", "postmaster.opts"} & names
    assert len([name for name in names if re.fullmatch(r"pg_wal/[0-9A-F]{24}", name)]) == 1
    assert contents["passwords"].decode().splitlines() == [
        'APP_DB_PASSWORD ALTER ROLE "app" PASSWORD',
        'POSTGRES_PASSWORD ALTER ROLE "postgres" PASSWORD',
    ]


def test_each_start_sets_its_own_passwords_whatever_is_in_them(serve):
    password = """it's $HOME "quoted" \\n; -- 100%"""
    server = serve(f"--env=POSTGRES_PASSWORD={password}", "--env=APP_DB_PASSWORD=other")

    assert server.value("SELECT count(*) > 0 FROM users", password=password) is True
    assert server.value("SELECT current_user::text", user="app", password="other") == "app"
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        server.connect(password="itest")


def test_a_password_may_come_in_a_file(serve, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    secret.chmod(0o444)
    mount = f"--volume={secret}:/run/secret:ro"

    server = serve(mount, "--env=POSTGRES_PASSWORD_FILE=/run/secret", "--env=APP_DB_PASSWORD=x")

    assert server.value("SELECT count(*) > 0 FROM users", password="from a file") is True


def test_without_a_password_it_says_so_and_does_what_the_image_itself_does(serve):
    server = serve("--env=APP_DB_PASSWORD=x")

    assert docker("wait", server.id).strip() == "1"
    assert "itest bake: POSTGRES_PASSWORD is empty" in server.logs()
    assert "superuser password is not specified" in server.logs()


def test_a_bake_that_is_of_no_use_gives_way_to_an_ordinary_start(serve, tmp_path):
    damaged = tmp_path / "data.tar"
    damaged.write_bytes(b"x" * 1024)
    settings = ("--env=POSTGRES_PASSWORD=pw", "--env=APP_DB_PASSWORD=x", "--env=POSTGRES_DB=app")

    server = serve(*settings, f"--volume={damaged}:/usr/local/share/itest-bake/data.tar:ro")

    assert server.value("SELECT to_regclass('users') IS NULL") is True
    assert "itest bake: the baked data is of no use, starting without it" in server.logs()


def test_flags_reach_the_server_and_other_commands_run_without_data(serve):
    passwords = ("--env=POSTGRES_PASSWORD=pw", "--env=APP_DB_PASSWORD=x")
    server = serve(*passwords, command=("-cwork_mem=7MB",))
    other = serve(*passwords, command=("ls", "-A", PGDATA))

    assert server.value("SELECT current_setting('work_mem')") == "7MB"
    assert (docker("wait", other.id).strip(), other.logs()) == ("0", "")


def test_a_killed_server_comes_back_with_its_data(serve):
    server = serve("--env=POSTGRES_PASSWORD=pw", "--env=APP_DB_PASSWORD=x")
    assert server.value("SELECT count(*) > 0 FROM users") is True

    docker("kill", server.id)
    docker("start", server.id)

    assert server.value("SELECT count(*) > 0 FROM users") is True


def test_as_root_it_steps_down_and_a_volume_keeps_what_it_has(baked):
    [bake] = bakes(baked)
    volume = f"itest-bake-test-{Path(baked.path.parent).name}"
    passwords = ("--env=POSTGRES_PASSWORD=pw", "--env=APP_DB_PASSWORD=x", f"--volume={volume}:{PGDATA}")
    first = second = None
    try:
        first = Server(*passwords, bake)
        with first.connect() as connection:
            connection.execute("CREATE TABLE mine AS TABLE users")
        docker("stop", first.id)
        second = Server(*passwords, bake)
        assert second.value("SELECT to_regclass('mine')::text") == "mine"
    finally:
        for server in filter(None, (first, second)):
            docker("rm", "--force", server.id)
        docker("volume", "rm", "--force", volume)
