"""Baked databases on a real engine: started from at once, never stale, without a password, and never in the way."""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import signal
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Event

import psycopg
import pytest
import redis
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from itest import bake, compose, images
from itest import stack as stacks
from itest import suite as suites
from itest.bake import Baked, ages, shelf
from itest.bake.inputs import Unbakable
from itest.data import baseline
from itest.data.data import Plan
from itest.errors import ItestError
from itest.images import build, store
from itest.images.needs import ImageNeed
from itest.stack.stack import Stack
from itest.stack.sweep import sweep

ROOT = Path(__file__).resolve().parents[3]
PGDATA = "/var/lib/postgresql/data"
LOCKED_DOWN = ("--user=999:999", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only")
MEMORY = (f"--tmpfs={PGDATA}:uid=999,gid=999,mode=0700", "--tmpfs=/run/postgresql:uid=999,gid=999", "--tmpfs=/tmp")
BAKED, ON_TOP, ONE_MORE = (
    f"postgres of database baked{how}"
    for how in ("", " on top of an earlier one", " on top of an earlier one (1 new migration)")
)


def docker(*arguments: str, stderr: int = subprocess.PIPE) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, timeout=60).stdout


def quiet(_line: str) -> None:
    pass


def load(checkout, name: str = "database"):
    one = suites.load(checkout.path, name)
    suites.check(one)
    return one


def ensure(checkout, name: str = "database", repository: bake.Repository | None = None) -> Baked:
    """What a run does between its images and its stacks."""
    return bake.ensure(load(checkout, name), quiet, repository=repository)


def bakes(checkout) -> list[str]:
    ours = shelf.checkout_of(checkout.path)
    return [one.reference for one in shelf.everything() if one.checkout == ours]


@pytest.fixture
def checkout(checkout):
    """A throwaway checkout which meets no bake that was made of another's files."""
    with (checkout.path / "compose/init/postgres/10-role-app.sql").open("a") as file:
        file.write(f"-- of {checkout.path}\n")
    return checkout


@pytest.fixture
def baked(checkout):
    """A checkout that has the bake of suite `database`."""
    assert ensure(checkout).done == [BAKED]
    return checkout


@pytest.fixture
def start():
    """Start a suite of a checkout from its bake; returns the stack and what the data stage said."""
    started: list[Stack] = []

    def start(checkout, name: str = "database", baked: Baked | None = None) -> tuple[Stack, str]:
        suite = load(checkout, name)
        images = bake.ensure(suite, quiet).images if baked is None else baked.images
        started.append(Stack(suite, suite.project(f"itest-bake-test-{secrets.token_hex(4)}", images)))
        said = Said()
        stacks.start(started[-1], lambda stage: nullcontext(said if stage == "data" else Said()))
        return started[-1], said.last

    yield start
    for stack in started:
        stack.down()


class Said:
    """A stage's line that keeps its last words."""

    last = ""

    def detail(self, text: str) -> None:
        self.last = text

    update = detail


def value(stack: Stack, statement: str) -> object:
    with psycopg.connect(stack.dsn("postgres")) as connection:
        row = connection.execute(statement).fetchone()
        return row[0] if row else None


# Made once, of everything that counts


def test_the_first_run_bakes_and_later_ones_start_from_it_unless_they_are_told_not_to(checkout):
    checkout.write("tests/database/test_it.py", "def test_it(db): assert db.execute('TABLE users').fetchall()")
    outputs = []
    for bakes_too in ("", "", "0"):
        ended = checkout.run(
            "run", ITEST_SUITE="database", ITEST_ARGS="tests/database/test_it.py", ITEST_BAKE=bakes_too
        )
        image = checkout.summary["suites"]["database"]["services"]["postgres"]["image"]
        outputs.append(ended.output)
        assert (ended.code, image) == (0, "postgres:17.11"), ended.output  # as its layer names it, baked or not

    assert re.search(rf"images +\d present, {BAKED} +\d", outputs[0])
    assert re.search(r"images +\d present +\d", outputs[1])
    assert [bool(re.search(r"data +seeded before", output)) for output in outputs] == [True, True, False]
    assert len(bakes(checkout)) == 1


def test_each_suite_starts_with_its_own_rows_and_redis_is_seeded_as_ever(checkout, start):
    api, said = start(checkout, "api")
    database, said_too = start(checkout)

    assert (said, said_too) == ("seeded before", "seeded before")
    assert api.project.images != database.project.images
    assert value(api, "SELECT count(*) FROM items") > value(database, "SELECT count(*) FROM items")
    assert redis.Redis.from_url(api.dsn("redis")).dbsize() > 0


def test_a_changed_fixture_is_in_the_next_start(baked, start):
    baked.replace("fixtures/base/10_users.json", "ada@example.com", "lovelace@example.com")

    assert ensure(baked).done == [ON_TOP]
    stack, said = start(baked)

    assert said == "seeded before"
    assert value(stack, "SELECT email FROM users WHERE id = 2") == "lovelace@example.com"


def test_a_new_migration_alone_is_applied_on_top_of_the_older_bake(baked, start):
    baked.write("migrations/shop/V0099__more.sql", "CREATE TABLE more (id int);\n")
    before = bakes(baked)

    assert ensure(baked).done == [ONE_MORE]
    stack, said = start(baked)

    assert said == "seeded before"
    assert value(stack, "SELECT max(version) FROM itest_migrations") == 99
    assert set(before) < set(bakes(baked)), "the older one stays, for those who go back to its files"


def test_an_edited_migration_is_baked_from_nothing(baked):
    last = sorted((baked.path / "migrations/shop").glob("*.sql"))[-1]
    last.write_text(f"{last.read_text()}\nCREATE TABLE edited (id int);\n")

    assert ensure(baked).done == [BAKED]


def test_what_a_fixture_did_to_the_schema_is_not_carried_into_a_later_bake(checkout, start):
    checkout.write("fixtures/base/98_schema.sql", "CREATE TABLE made_by_a_fixture (id int);\n")
    ensure(checkout)
    (checkout.path / "fixtures/base/98_schema.sql").unlink()

    assert ensure(checkout).done == [BAKED]
    assert value(start(checkout)[0], "SELECT to_regclass('made_by_a_fixture')") is None


def test_two_at_once_bake_once(checkout):
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda suite: bake.ensure(suite, quiet), [load(checkout), load(checkout)]))

    assert sorted(one.done for one in both) == [[], [BAKED]]
    assert both[0].images == both[1].images


# Never in the way


def test_a_role_with_a_password_of_its_own_is_not_baked_and_it_is_said_why(checkout):
    checkout.write("compose/init/postgres/20-reader.sql", "CREATE ROLE reader LOGIN PASSWORD 'literal';\n")

    [note] = ensure(checkout).notes

    assert note.startswith("database: postgres is not baked: the password of role reader is in no variable; read it")
    assert not bakes(checkout)
    assert not baking(checkout)


def test_a_password_that_a_table_keeps_is_not_baked(checkout):
    script = "\\getenv pw APP_DB_PASSWORD\nCREATE TABLE kept AS SELECT :'pw'::text AS pw;\n"
    checkout.write("compose/init/postgres/20-kept.sql", script)

    [note] = ensure(checkout).notes

    assert "the database keeps the value of APP_DB_PASSWORD" in note
    assert not bakes(checkout)


def test_a_row_that_took_its_time_from_a_default_is_not_baked_and_not_tried_again_until_an_input_changes(checkout):
    checkout.write("fixtures/base/40_more.json", '{"items": [{"id": 90, "sku": "NEW", "name": "New", "price": 1}]}')
    said: list[str] = []

    first, second = (bake.ensure(load(checkout), said.append) for _ in range(2))

    [note] = first.notes
    assert re.fullmatch(
        r"database: postgres is not baked: items\.created_at is \d{4}-\S+ \S+, a time of these days, and would age: "
        r"write a fixed time in the fixtures, or set BAKE=0",
        note,
    )
    assert second.notes == [note]
    assert said.count("baking postgres of database: starting") == 1
    assert not bakes(checkout)
    checkout.replace("fixtures/base/40_more.json", '"id": 90', '"id": 90, "created_at": "2024-01-01T00:00:00Z"')
    assert ensure(checkout).done == [BAKED]


def test_a_row_of_a_migration_that_ages_is_not_baked_on_top_of_an_older_bake_either(baked):
    table = "CREATE TABLE epochs (began date DEFAULT current_date + 30);\n"
    baked.write("migrations/shop/V0099__epochs.sql", f"{table}INSERT INTO epochs DEFAULT VALUES;\n")
    said: list[str] = []

    [note] = bake.ensure(load(baked), said.append).notes

    assert "epochs.began is 20" in note
    assert "(migrations/shop/V0099__epochs.sql), a time of these days" in note
    assert said.count("baking postgres of database: starting") == 1, "not once more from nothing"


def test_a_migration_that_fails_fails_as_it_does_without_a_bake(checkout, start):
    checkout.write("migrations/shop/V0099__wrong.sql", "CREATE TABLE x (id nonsense);\n")

    baked = ensure(checkout)

    assert re.search(r"is not baked: migration \S+V0099__wrong.sql:1: type \"nonsense\" does not exist", baked.notes[0])
    with pytest.raises(ItestError, match=r"V0099__wrong\.sql:1"):
        start(checkout, baked=baked)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_bake_that_is_ended_leaves_nothing_and_the_next_run_starts_over(checkout, number):
    checkout.write("migrations/shop/V0099__slow.sql", "SELECT pg_sleep(30);\n")
    process = checkout.start("run", ITEST_SUITE="database")
    until(lambda: baking(checkout) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    process.communicate()
    (checkout.path / "migrations/shop/V0099__slow.sql").unlink()
    assert not bakes(checkout)

    assert bool(sweep(checkout.path, quiet)) is (number == signal.SIGKILL)

    assert not baking(checkout)
    assert ensure(checkout).done == [BAKED]


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
    [reference] = bakes(baked)

    ended = baked.run("clean")

    assert (ended.code, bakes(baked)) == (0, []), ended.output
    assert re.search(rf"removing {reference}, \d+ MB", ended.output)


def test_a_bake_that_lost_its_name_to_another_goes_and_another_checkout_s_stays(tmp_path):
    def nameless(root: Path) -> str:
        container = docker("create", "redis:8.0.2").strip()
        told = {shelf.BAKE: "0a1b", shelf.CHECKOUT: shelf.checkout_of(root)}
        changes = [f"--change=LABEL {name}={value}" for name, value in told.items()]
        image = docker("commit", *changes, container).strip()
        docker("rm", container)
        return image

    ours, theirs = nameless(tmp_path), nameless(tmp_path / "other")
    shelf.prune(tmp_path, print)
    assert store.find([ours, theirs]).keys() == {theirs}
    shelf.prune(tmp_path / "other", print)
    assert store.find([theirs]) == {}


def test_by_hand_a_stack_keeps_the_database_that_it_has(named):
    assert named.run("up", ITEST_SUITE="database").code == 0
    before = named.leftovers()["containers"]
    inspected = docker("container", "inspect", "--format={{.Id}} {{.Config.Image}}", *before)
    named.replace("fixtures/base/10_users.json", "ada@example.com", "lovelace@example.com")

    again = named.run("up", ITEST_SUITE="database")

    assert again.code == 0, again.output
    assert docker("container", "inspect", "--format={{.Id}} {{.Config.Image}}", *before) == inspected
    assert "itest/bake/postgres:" in inspected


# Shared through a registry

REGISTRY = f"itest/test-registry:{os.getpid()}"
CONFIG = "/etc/docker/registry"
# Debian's own, once as it comes, which asks for a login, and once open to all.
DOCKERFILE = f"""\
FROM itest/base:trixie
RUN --mount=type=secret,id=ca install-packages docker-registry
RUN sed '/^auth:/,/ path:/d' {CONFIG}/config.yml >{CONFIG}/open.yml
VOLUME /var/lib/docker-registry
"""
WITH_A_REGISTRY = pytest.mark.skipif(
    "ITEST_SLOW" not in os.environ, reason="25 s and the distribution's packages; ITEST_SLOW=1 runs it"
)


@pytest.fixture(scope="module")
def registry_image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    images.ensure([ImageNeed("itest/base:trixie")], quiet, mode="build")
    build.build(REGISTRY, str(folder), [], quiet, Event(), labels={})
    yield REGISTRY
    docker("image", "rm", REGISTRY)


@pytest.fixture(scope="module")
def serve_registry(registry_image):
    """Start a registry with one of its two configurations; returns a repository's name in it."""
    started: list[str] = []

    def start(config: str) -> str:
        command = ("docker-registry", "serve", f"{CONFIG}/{config}.yml")
        started.append(docker("run", "--detach", "--publish=127.0.0.1::5000", registry_image, *command).strip())
        until(lambda: "listening on" in docker("logs", started[-1], stderr=subprocess.STDOUT))
        return f"{docker('container', 'port', started[-1], '5000/tcp').splitlines()[0]}/team/itest-bake"

    yield start
    for container in started:
        docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="module")
def repository(serve_registry) -> str:
    return serve_registry("open")


def tags_beneath(repository: str) -> list[str]:
    """What the engine itself still holds under a registry's name."""
    return docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", f"{repository}/*").split()


@WITH_A_REGISTRY
def test_what_one_checkout_baked_another_pulls_instead_of_baking(checkout, start, repository):
    other = type(checkout)(checkout.path.with_name("other"))
    shutil.copytree(checkout.path, other.path, symlinks=True)
    first = ensure(checkout, repository=bake.Repository(repository))
    [reference] = bakes(checkout)
    made = store.find([reference])[reference].id
    docker("image", "rm", reference)
    assert (first.done, first.notes, store.find([made])) == ([BAKED], [], {})

    second = ensure(other, repository=bake.Repository(repository))

    assert (second.done, second.notes) == (["postgres of database pulled"], [])
    assert store.find([reference])[reference].id == made
    assert tags_beneath(repository) == []
    assert start(other)[1] == "seeded before"


@WITH_A_REGISTRY
def test_a_pulled_image_that_is_not_what_its_tag_says_is_refused_and_replaced(baked, repository, tmp_path):
    [reference] = bakes(baked)
    docker("image", "rm", reference)
    remote = f"{repository}/{reference.rpartition('/')[2]}"
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    docker("import", f"--change=LABEL {shelf.BAKE}=of-another-content", str(tmp_path / "empty.tar"), remote)
    docker("push", "--quiet", remote)
    docker("image", "rm", remote)

    refused = ensure(baked, repository=bake.Repository(repository))

    assert refused.done == [BAKED]
    assert refused.notes == [f"{remote} is not what its tag says (label itest.bake), and is baked anew"]
    assert tags_beneath(repository) == []
    docker("image", "rm", reference)
    assert ensure(baked, repository=bake.Repository(repository)).done == ["postgres of database pulled"], "mended there"


@WITH_A_REGISTRY
def test_a_registry_that_wants_a_login_costs_a_line_that_says_so(checkout, serve_registry):
    repository = serve_registry("config")

    baked = ensure(checkout, repository=bake.Repository(repository))

    assert baked.done == [BAKED]
    [note] = baked.notes
    assert re.fullmatch(rf"{repository}/postgres:\w+ is not pushed: .*; docker login 127\.0\.0\.1:\d+", note)
    assert tags_beneath(repository) == []


def test_a_registry_that_is_down_costs_a_line_and_no_run(checkout):
    checkout.write("tests/database/test_it.py", "def test_it(db): assert db.execute('TABLE users').fetchall()")
    down = "127.0.0.1:1/team/itest-bake"

    ended = checkout.run("run", ITEST_SUITE="database", ITEST_ARGS="tests/database/test_it.py", ITEST_BAKE=down)

    assert ended.code == 0, ended.output
    assert BAKED in ended.output
    [line] = [line for line in ended.output.splitlines() if down in line]
    assert f"bakes are not shared through {down}: no registry answers: " in line


def test_a_registry_that_is_down_is_asked_once_for_all_suites(checkout):
    down = bake.Repository("127.0.0.1:1/team/itest-bake")

    both = [ensure(checkout, name, down) for name in ("database", "api")]

    assert [len(one.notes) for one in both] == [1, 0]


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


@pytest.fixture(scope="module")
def reference() -> str:
    """The bake of this repository's suite `database`."""
    [reference] = bake.ensure(suites.load(ROOT, "database"), quiet).images.values()
    return reference


@pytest.fixture
def serve(reference):
    """Start the bake of suite `database`. arguments: docker's; command: the container's."""
    started: list[Server] = []

    def start(*arguments: str, command: tuple[str, ...] = ()) -> Server:
        started.append(Server(*LOCKED_DOWN, *MEMORY, *arguments, reference, *command))
        return started[-1]

    yield start
    for server in started:
        docker("rm", "--force", "--volumes", server.id)


def test_no_password_is_in_it_nor_what_a_running_server_leaves(reference):
    container = docker("create", reference).strip()
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


def test_as_root_it_steps_down_and_a_volume_keeps_what_it_has(reference):
    volume = f"itest-bake-test-{secrets.token_hex(4)}"
    passwords = ("--env=POSTGRES_PASSWORD=pw", "--env=APP_DB_PASSWORD=x", f"--volume={volume}:{PGDATA}")
    first = second = None
    try:
        first = Server(*passwords, reference)
        with first.connect() as connection:
            connection.execute("CREATE TABLE mine AS TABLE users")
        docker("stop", first.id)
        second = Server(*passwords, reference)
        assert second.value("SELECT to_regclass('mine')::text") == "mine"
    finally:
        for server in filter(None, (first, second)):
            docker("rm", "--force", server.id)
        docker("volume", "rm", "--force", volume)


# What ages


@pytest.fixture(scope="module")
def server(reference):
    server = Server("--env=POSTGRES_PASSWORD=pw", "--env=APP_DB_PASSWORD=x", reference)
    yield server
    docker("rm", "--force", "--volumes", server.id)


def no_files() -> Plan:
    return Plan(suites.load(ROOT, "database"), [], [])


@pytest.fixture
def rows(server):
    """Seed a database with a table `r` of one column and one row; says why it is not to be baked, or nothing."""
    with server.connect() as session:

        def made(column: str, value: str) -> str:
            session.execute(f"CREATE TABLE r (c {column}); INSERT INTO r VALUES ({value})")
            baseline.prepare(session, baseline.MIGRATED)
            baseline.prepare(session)
            try:
                ages.refuse(session, no_files())
            except Unbakable as reason:
                return str(reason)
            return ""

        yield made
        session.execute("DROP TABLE r")
        session.execute("DROP DOMAIN IF EXISTS moment CASCADE")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("timestamptz DEFAULT now()", "DEFAULT"),
        ("timestamp", "'now'"),
        ("timestamptz", "'today'"),
        ("timestamptz", "'tomorrow'"),
        ("timestamptz", "'yesterday 8:00'"),
        ("date DEFAULT current_date", "DEFAULT"),
        ("timestamptz DEFAULT now() + interval '30 days'", "DEFAULT"),
        ("date DEFAULT (now() - interval '1 year')", "DEFAULT"),
        ("time DEFAULT localtime", "DEFAULT"),
        ("timetz", "'now'"),
        ("tstzrange", "tstzrange('now', NULL)"),
        ("daterange", "daterange('2020-01-01', 'today')"),
        ("timestamptz[]", "ARRAY['2020-01-01', 'now']::timestamptz[]"),
    ],
)
def test_a_time_that_the_clock_gave_is_seen_in_the_row(rows, column, value):
    assert rows(column, value).startswith("r.c is ")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("timestamptz DEFAULT now()", "'2024-03-01 09:30+01'"),
        ("timestamptz DEFAULT now() + interval '30 days'", "'2024-03-01 09:30+01'"),
        ("timestamptz", "'infinity'"),
        ("timestamptz DEFAULT now()", "NULL"),
        ("date", "'4713-01-01 BC'"),
        ("time", "(localtime + interval '6 hours')::time"),
        ("tstzrange", "'empty'"),
        ("tstzrange", "tstzrange('2020-01-01', NULL)"),
        ("text", "'Today'"),
        ("text DEFAULT now()::text", "'now'"),
        ("interval", "'1 day'"),
    ],
)
def test_a_time_that_somebody_wrote_is_none_of_the_clock_s(rows, column, value):
    assert rows(column, value) == ""


def test_a_domain_and_a_materialized_view_hold_times_too(server, rows):
    with server.connect() as session:
        session.execute("CREATE DOMAIN moment AS timestamptz")
    assert rows("moment", "now()").startswith("r.c is ")

    with server.connect() as session:
        session.execute("UPDATE r SET c = '2024-01-01'; CREATE MATERIALIZED VIEW r_seen AS SELECT now() AS seen")
        baseline.prepare(session)
        try:
            with pytest.raises(Unbakable, match=r"r_seen\.seen is "):
                ages.refuse(session, no_files())
        finally:
            session.execute("DROP MATERIALIZED VIEW r_seen")
