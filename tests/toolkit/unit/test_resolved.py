"""What only the resolved configuration tells, on what a real `docker compose config` prints; it needs no engine."""

from __future__ import annotations

import pytest

from itest import suite
from itest.errors import ItestError
from itest.suite import resolved

ENV = "compose/suites/api.env"
STORE = "compose/layers/store.yaml"
APP = "compose/layers/app.yaml"

DIGEST = "sha256:" + "0" * 64

pytestmark = pytest.mark.usefixtures("compose_client")


def test_a_right_suite_passes(repo):
    repo.check()


@pytest.mark.parametrize(
    "image", ["team/app", "team/app:latest", "localhost:5000/app", "registry.test:5000/a/b:latest"]
)
def test_an_unpinned_image_is_refused(repo, image):
    repo.edit(APP, "${APP_IMAGE:-team/app:1.4}", image)
    assert repo.refusal(repo.check) == (
        f"{APP}:3: image `{image}` of `app` is not pinned\n"
        "hint: name an exact version, such as postgres:17.11, or a digest"
    )


def test_a_port_that_the_whole_network_can_reach_is_refused_unless_it_is_meant(repo):
    repo.edit(APP, "127.0.0.1::8000", "8000")
    assert repo.refusal(repo.check) == (
        f"{APP}:7: port 8000 of `app` is published to the whole network\n"
        'hint: "127.0.0.1::8000", or begin with 0.0.0.0 if you mean it'
    )
    repo.edit(APP, "127.0.0.1::8000", "0.0.0.0::8000")
    repo.check()


@pytest.mark.parametrize("image", ["localhost:5000/app:1", f"team/app@{DIGEST}", f"team/app:latest@{DIGEST}"])
def test_a_tag_or_a_digest_pins_an_image(repo, image):
    repo.edit(APP, "${APP_IMAGE:-team/app:1.4}", image)
    repo.check()


def test_an_image_that_is_built_here_needs_no_version(repo):
    repo.edit(APP, "    image: ${APP_IMAGE:-team/app:1.4}\n", "    image: team/app\n    build: ./app\n")
    repo.check()


def test_a_variable_that_unpins_an_image_is_refused_where_it_is_read(repo, monkeypatch):
    monkeypatch.setenv("APP_IMAGE", "team/app")
    assert repo.refusal(repo.check).startswith(f"{APP}:3: image `team/app` of `app` is not pinned")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:7000:8000", "127.0.0.1:7000:5432"),
        ("7000:8000", "127.0.0.1:7000:5432"),
        ("127.0.0.1:7000-7001:8000-8001", "0.0.0.0:7000:5432"),
    ],
)
def test_two_services_that_publish_one_port_are_both_named(repo, one, other):
    repo.edit(APP, "127.0.0.1::8000", one)
    repo.edit(STORE, "127.0.0.1::5432", other)
    refusal = repo.refusal(repo.check)
    assert refusal.endswith(
        "port 7000 is published by `app` and by `store`\nhint: give one of them another port, or none for any free one"
    )
    assert refusal.startswith(f"{STORE}:9: ")


def test_one_service_that_publishes_one_port_twice_is_told_so(repo):
    repo.edit(APP, '"127.0.0.1::8000"', '"127.0.0.1:7000:8000", "127.0.0.1:7000:8001"')
    assert repo.refusal(repo.check).startswith(f"{APP}:7: port 7000 is published by `app` twice\n")


@pytest.mark.parametrize("other", ["127.0.0.2:7000:5432", "127.0.0.1:7001:5432", "127.0.0.1:7001-7009:5432"])
def test_ports_that_do_not_clash_pass(repo, other):
    repo.edit(APP, "127.0.0.1::8000", "127.0.0.1:7000:8000")
    repo.edit(STORE, '"127.0.0.1::5432"', f'"{other}", "127.0.0.1:7000:53/udp"')
    repo.check()


def test_a_port_that_no_test_could_reach_is_refused(repo):
    repo.edit(APP, '    ports: ["127.0.0.1::8000"]\n', '    ports: ["127.0.0.1::8000/udp"]\n')
    assert repo.refusal(repo.check) == (
        f"{APP}:7: port 8000 of `app` is not published, so neither probes nor tests can reach it\n"
        'hint: add "127.0.0.1::8000" to its ports'
    )


def test_so_is_the_port_of_a_probe(repo):
    repo.edit(APP, "ready: {http: /ready}", "ready: {tcp: 9000}")
    assert repo.refusal(repo.check).startswith(f"{APP}:7: port 9000 of `app` is not published")


def test_a_mount_that_is_not_there_is_refused_before_docker_makes_an_empty_folder_of_it(repo):
    repo.edit(STORE, "./init:", "./inti:")
    assert repo.refusal(repo.check) == (
        f"{STORE}:7: `store` mounts compose/inti, which does not exist\n"
        "hint: paths in compose files begin at compose/; create it, or correct the path"
    )
    assert not (repo.path / "compose/inti").exists()


def test_so_is_the_file_of_a_secret(repo):
    repo.write(APP, repo.text(APP) + "    secrets: [key]\nsecrets:\n  key: {file: ./key.pem}\n")
    assert repo.refusal(repo.check).startswith(f"{APP}:10: `app` mounts compose/key.pem, which does not exist")


def test_an_output_folder_and_what_lies_outside_may_be_missing(repo):
    mounts = "      - ../build/coverage:/coverage\n      - /no/such/socket:/socket\n"
    repo.edit(STORE, "    volumes:\n", f"    volumes:\n{mounts}")
    repo.check()


def test_a_fixed_container_name_is_refused(repo):
    repo.edit(APP, "    depends_on", "    container_name: app\n    depends_on")
    assert repo.refusal(repo.check) == (
        f"{APP}:5: `app` has a fixed container_name, so only one run at a time could start it\n"
        "hint: remove it: other services reach it as `app`, and `make ps` lists it"
    )


@pytest.mark.parametrize(("key", "value"), [("name", "shared"), ("external", "true")])
def test_a_network_or_volume_that_all_runs_would_share_is_refused(repo, key, value):
    shared = f"volumes:\n  data:\n    {key}: {value}\n"
    repo.edit(STORE, "services:\n", f"{shared}services:\n")
    text = (repo.path / STORE).read_text()
    repo.write(STORE, text.replace("    volumes:\n", "    volumes:\n      - data:/data\n"))
    told = "shared" if key == "name" else "data"
    assert repo.refusal(repo.check) == (
        f"{STORE}:3: `data` is `{told}` in every run, so they would share it\n"
        f"hint: remove `{key}`: compose then makes one for each run"
    )


def test_a_service_of_a_compose_profile_is_refused_until_the_profile_is_active(repo):
    repo.edit(APP, "    depends_on", "    profiles: [debug]\n    depends_on")
    assert repo.refusal(repo.check) == (
        f"{APP}:5: `app` belongs to a compose profile that is not active, so compose leaves it out\n"
        "hint: drop `profiles:`, or name the profile in COMPOSE_PROFILES in the suite's env file"
    )
    repo.write(ENV, repo.text(ENV) + "COMPOSE_PROFILES=debug\n")
    repo.check()


def test_a_service_that_comes_in_by_include_is_refused(repo):
    repo.write("compose/more.yaml", "services:\n  more: {image: 'more:1'}\n")
    repo.edit(APP, "services:\n", "include: [more.yaml]\nservices:\n")
    assert repo.refusal(repo.check) == (
        f"{APP}:1: service `more` comes in by `include`\n"
        "hint: name its file in COMPOSE_FILE instead, so that it is checked, started and probed like the others"
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("    depends_on", "    enviroment: {}\n    depends_on", 5, "enviroment"),
        ("    image: ${APP_IMAGE:-team/app:1.4}\n", "", 2, "neither an image nor a build"),
        ("service_healthy", "healthy", 6, "condition"),
        ("    depends_on", "    mem_limit: lots\n    depends_on", 5, "lots"),
        ("    depends_on", "    networks: [back]\n    depends_on", 5, "undefined network back"),
    ],
)
def test_what_compose_itself_refuses_comes_with_its_line(repo, old, new, line, word):
    repo.edit(APP, old, new)
    refusal = repo.refusal(repo.check)
    assert refusal.startswith(f"{APP}:{line}: ")
    assert word in refusal
    assert str(repo.path) not in refusal


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (
            "    depends_on",
            "    memlimit: 1g\n    depends_on",
            5,
            "`memlimit` in `app`\nhint: did you mean `mem_limit`?",
        ),
        (
            "    depends_on",
            "    healthcheck:\n      intervall: 1s\n    depends_on",
            6,
            "`intervall` in `healthcheck`\nhint: did you mean `interval`?",
        ),
        (
            "services:\n",
            "networks:\n  default:\n    internl: true\nservices:\n",
            3,
            "`internl` in `default`\nhint: did you mean `internal`?",
        ),
        ("    depends_on", "    zzz: 1\n    depends_on", 5, "`zzz` in `app`\nhint: a key of your own begins with `x-`"),
    ],
)
def test_a_key_that_compose_does_not_know_comes_with_the_nearest(repo, old, new, line, said):
    repo.edit(APP, old, new)
    assert repo.refusal(repo.check) == f"{APP}:{line}: unknown key {said}"


def test_so_it_does_in_the_words_of_a_later_compose(repo):
    repo.edit(APP, "    depends_on", "    memlimit: 1g\n    depends_on")
    words = f"validating {repo.path}/{APP}: services.app additional properties 'memlimit' not allowed"
    said = ItestError("usage", f"the compose files of itest-api: {words}", cause="config")
    assert resolved.located(repo.load().layers, said).message == f"{APP}:5: unknown key `memlimit` in `app`"


def test_a_place_that_compose_names_twice_is_named_once(repo):
    repo.edit(APP, "service_healthy", "healthy")
    assert repo.refusal(repo.check) == (
        f"{APP}:6: services.app.depends_on.store.condition must be one of the following:"
        ' "service_started", "service_healthy", "service_completed_successfully"'
    )


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("${APP_PROT}", 5, "did you mean `APP_PORT`? ${APP_PROT:-} says that it may be empty"),
        ("$APP_PROT", 5, "did you mean `APP_PORT`? ${APP_PROT:-} says that it may be empty"),
        ('"a # ${Q9}"', 5, "${Q9:-} says that it may be empty"),
        ("${EMPTY:-${Q9}}", 5, "${Q9:-} says that it may be empty"),
        ("${HOME:+${Q9}}", 5, "${Q9:-} says that it may be empty"),
        ("|  # ${A}\n      é $$B\n      # ${Q9}", 7, "${Q9:-} says that it may be empty"),
        ("${APP_IMAG}", 5, "did you mean `APP_IMAGE`? ${APP_IMAG:-} says that it may be empty"),
        ("${APP_PORT}", 5, "only compose/profiles/dev.env sets it; ${APP_PORT:-} says that it may be empty"),
    ],
)
def test_a_variable_that_nothing_sets_is_refused_where_it_is_read(repo, text, line, hint):
    repo.edit(APP, "    depends_on", f"    command: {text}\n    depends_on")
    name = hint.partition("${")[2].partition(":-")[0]
    assert repo.refusal(repo.check) == f"{APP}:{line}: ${{{name}}} is not set and has no default\nhint: {hint}"


def test_so_is_one_that_an_env_file_reads(repo):
    repo.write(ENV, repo.text(ENV) + "LITERAL='${Q9}'\nAPP_TAG=${Q8:-1}${Q9}\n")
    assert repo.refusal(repo.check) == (
        f"{ENV}:4: ${{Q9}} is not set and has no default\nhint: ${{Q9:-}} says that it may be empty"
    )


@pytest.mark.parametrize(
    "text",
    [
        "x # ${Q9}",
        "$${Q9} $$Q9 $$$$Q9",
        "${Q9:-}${Q9-x}${Q9:+y}",
        "${HOME}",
        "${COMPOSE_PROJECT_NAME}",
        "${IN_ENV}$EMPTY",
        "${IN_ENV:-${Q9}}${Q9:+${Q8}}",
        "awk '{print $1}'",
    ],
)
def test_what_is_set_or_escaped_or_has_a_default_passes(repo, text):
    repo.edit(APP, "    depends_on", f"    # ${{Q9}}\n    command: {text}\n    depends_on")
    repo.write(ENV, repo.text(ENV) + "IN_ENV=x\nEMPTY=\n")
    repo.check()


def test_a_variable_whose_value_compose_refuses_is_named_with_where_it_is_set(repo, monkeypatch):
    repo.edit(APP, "127.0.0.1::8000", "127.0.0.1:${APP_PORT:-}:8000")
    hint = "hint: APP_PORT is a number from 1 to 65535, or nothing for any free port"
    repo.write("compose/profiles/dev.env", "\nAPP_PORT=80a\n")
    assert repo.refusal(lambda: suite.check(repo.load(profile="dev"))) == (
        f"compose/profiles/dev.env:2: APP_PORT=80a, which {APP}:7 reads: Invalid hostPort: 80a\n{hint}"
    )
    monkeypatch.setenv("APP_PORT", "99999")
    assert repo.refusal(repo.check) == (
        f"environment: APP_PORT=99999, which {APP}:7 reads: Invalid hostPort: 99999\n{hint}"
    )


@pytest.mark.parametrize("key", ["mem_limit", "cpus"])
def test_so_is_one_whose_value_is_no_amount(repo, monkeypatch, key):
    repo.edit(APP, "    depends_on", f"    {key}: ${{APP_LIMIT:-1}}\n    depends_on")
    monkeypatch.setenv("APP_LIMIT", "lots")
    refusal = repo.refusal(repo.check)
    assert refusal.startswith(f"environment: APP_LIMIT=lots, which {APP}:5 reads: ")
    assert refusal.endswith("\nhint: give APP_LIMIT another value, or none")


def test_paths_in_compose_s_words_begin_at_the_root(repo):
    repo.edit(APP, "    depends_on", "    env_file: gone.env\n    depends_on")
    refusal = repo.refusal(repo.check)
    assert refusal.startswith("the compose files of itest-api: env file compose/gone.env not found")
    assert str(repo.path) not in refusal


def test_a_complaint_about_all_services_is_not_pinned_on_one(repo):
    said = ItestError("usage", "the compose files of itest-api: services must be a mapping", cause="config")
    assert resolved.located(repo.load().layers, said).message == said.message


def test_what_is_no_complaint_about_the_files_stays_as_it_is(repo):
    said = ItestError(
        "engine", "the compose files of itest-api: service app: no engine", hint="make engine", cause="pipe"
    )
    assert str(resolved.located(repo.load().layers, said)) == str(said)
