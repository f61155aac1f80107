"""A suite is checked in full before anything starts: each test makes one mistake in a repository that is right."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from itest import suite
from itest.errors import ItestError
from itest.suite.suite import Suite

ENV = "compose/suites/api.env"
OVERLAY = "compose/suites/api.yaml"
STORE = "compose/layers/store.yaml"
APP = "compose/layers/app.yaml"


def test_a_right_suite_is_read_with_all_that_its_files_say(repo):
    one = repo.load()
    assert (one.name, one.kept_name, one.tests) == ("api", "itest-api", Path("tests/api"))
    assert (one.migrations, one.fixtures) == ((Path("migrations/app"),), (Path("fixtures/base"),))
    assert (one.isolation, one.tags, one.per_worker) == ("delete", ("blocking",), ())
    assert [file.path.as_posix() for file in one.files] == ["compose/base.yaml", STORE, APP, OVERLAY]
    app, store = one.services["app"], one.services["store"]
    assert (store.kind, store.port, store.stores, store.timeout) == ("postgres", 5432, True, 60.0)
    assert (app.kind, app.port, app.stores, app.depends_on) == ("http", 8000, False, ("store",))
    assert (str(app.checks[0]), app.checks[0].status) == ("http /ready", 200)
    assert one.stores == ("store",)


def test_what_an_overlay_leaves_out_has_a_default(repo):
    repo.write(OVERLAY, "services: {}\n")
    one = repo.load()
    assert (one.tests, one.migrations, one.fixtures) == (Path("tests/api"), (), ())
    assert (one.isolation, one.tags) == ("delete", ())


def test_x_itest_of_a_service_is_merged_key_by_key_over_the_layers(repo):
    assert repo.load().services["app"].timeout == 20  # from the overlay, the rest from the layer
    repo.edit(OVERLAY, "timeout: 20", "ready: [{tcp: 8000}, {exec: [test, -e, /tmp/up]}]")
    app = repo.load().services["app"]
    assert (app.kind, app.port, app.timeout) == ("http", 8000, 60.0)
    assert [str(check) for check in app.checks] == ["tcp 8000", "exec test -e /tmp/up"]


def test_stores_start_with_all_that_they_depend_on(repo):
    repo.edit(STORE, "    image: postgres:17.11\n", "    image: postgres:17.11\n    depends_on: [vault]\n")
    repo.edit(
        APP, "services:\n", "services:\n  vault: {image: 'vault:1', depends_on: [disk]}\n  disk: {image: 'disk:1'}\n"
    )
    assert repo.load().stores == ("store", "vault", "disk")


def test_secrets_are_the_variables_whose_name_says_so(repo):
    repo.edit(
        STORE, "${STORE_PASSWORD:-itest}", "${STORE_PASSWORD:-x}${A_TOKEN}${B_SECRET:?}${C_KEY}${KEYS}${TOKEN_TTL}"
    )
    assert repo.load().secret_names == {"STORE_PASSWORD", "A_TOKEN", "B_SECRET", "C_KEY"}


def test_a_profile_adds_its_env_file(repo):
    assert [path.name for path in repo.load(profile="dev").env_files] == ["api.env", "dev.env"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("COMPOSE_FILE", "export COMPOSE_FILE"),
        ("COMPOSE_FILE=compose/base.yaml", "# the layers\n\nCOMPOSE_FILE = compose/base.yaml"),
        (f"compose/base.yaml:{STORE}:{APP}:{OVERLAY}", f'"compose/base.yaml:{STORE}:{APP}:{OVERLAY}"  # the layers'),
        (f"COMPOSE_FILE=compose/base.yaml:{STORE}", "L=layers\nCOMPOSE_FILE=compose/base.yaml:compose/$L/store.yaml"),
        (f":{STORE}", ":compose/layers/${STORE_LAYER:-store}.yaml"),
        (f":{APP}", ":${APP_LAYER:-${LAYERS:-compose/layers}/app.yaml}"),
        ("compose/base.yaml:", "compose/base.yaml${ITEST_NOTHING:+:compose/profiles/${ITEST_NOTHING}.yaml}:"),
        ("\n", "\r\n"),
    ],
)
def test_an_env_file_is_read_as_compose_reads_it(repo, old, new):
    repo.write(ENV, repo.text(ENV).replace(old, new))
    assert [file.path.as_posix() for file in repo.load().files] == ["compose/base.yaml", STORE, APP, OVERLAY]


@pytest.mark.parametrize("file", [ENV, OVERLAY, STORE])
def test_a_byte_order_mark_and_windows_line_endings_do_no_harm(repo, file):
    (repo.path / file).write_bytes(b"\xef\xbb\xbf" + repo.text(file).replace("\n", "\r\n").encode())
    assert repo.load() == repo.make(repo.path).load()


def test_a_variable_of_the_environment_chooses_a_layer(repo, monkeypatch):
    repo.edit(ENV, APP, "compose/layers/${APP_LAYER:-app}.yaml")
    monkeypatch.setenv("APP_LAYER", "ap")
    assert repo.refusal() == (
        f"{ENV}:2: COMPOSE_FILE names `compose/layers/ap.yaml`, which does not exist\nhint: did you mean `{APP}`?"
    )


# One mistake: file, what it replaces, what it is, and all that is said about it.
MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "no COMPOSE_FILE": (
        ENV,
        "COMPOSE_FILE",
        "COMPOSE_FILES",
        f"{ENV}: COMPOSE_FILE is missing\nhint: add COMPOSE_FILE=compose/base.yaml:compose/layers/postgres.yaml:…",
    ),
    "no COMPOSE_PROJECT_NAME": (
        ENV,
        "COMPOSE_PROJECT_NAME=itest-api",
        "",
        f"{ENV}: COMPOSE_PROJECT_NAME is missing\nhint: add COMPOSE_PROJECT_NAME=itest-api",
    ),
    "an empty COMPOSE_PROJECT_NAME": (
        ENV,
        "itest-api",
        "",
        f"{ENV}:1: COMPOSE_PROJECT_NAME is missing\nhint: add COMPOSE_PROJECT_NAME=itest-api",
    ),
    "a project name that compose refuses": (
        ENV,
        "itest-api",
        "My Shop",
        f"{ENV}:1: COMPOSE_PROJECT_NAME is `My Shop`, which compose refuses\n"
        "hint: lower-case letters, digits, - and _, beginning with a letter or a digit",
    ),
    "a layer that isn't there": (
        ENV,
        STORE,
        "compose/layers/stroe.yaml",
        f"{ENV}:2: COMPOSE_FILE names `compose/layers/stroe.yaml`, which does not exist\nhint: did you mean `{STORE}`?",
    ),
    "layers with spaces between": (
        ENV,
        f":{STORE}:",
        f" : {STORE}:",
        f"{ENV}:2: COMPOSE_FILE names `compose/base.yaml `, which does not exist\n"
        "hint: did you mean `compose/base.yaml`?",
    ),
    "layers with commas between": (
        ENV,
        f":{STORE}:{APP}:{OVERLAY}",
        f",{OVERLAY}",
        f"{ENV}:2: COMPOSE_FILE names `compose/base.yaml,{OVERLAY}`, which does not exist\n"
        "hint: separate the files by `:`",
    ),
    "a colon too many": (
        ENV,
        f"{OVERLAY}\n",
        f"{OVERLAY}:\n",
        f"{ENV}:2: COMPOSE_FILE has an empty entry\nhint: one `:` between two files, none at the end",
    ),
    "a layer twice": (ENV, APP, f"{APP}:{APP}", f"{ENV}:2: COMPOSE_FILE names {APP} twice\nhint: keep one of them"),
    "no overlay": (
        ENV,
        f":{OVERLAY}",
        "",
        f"{ENV}:2: COMPOSE_FILE does not name {OVERLAY}\nhint: end COMPOSE_FILE with it",
    ),
    "an empty file": (STORE, "", "", f"{STORE}: a mapping such as `services:` is expected"),
    "a list": (STORE, "", "- store\n", f"{STORE}: a mapping such as `services:` is expected"),
    "broken YAML": (
        STORE,
        "{kind: postgres}",
        "{kind: postgres",
        f"{STORE}:5: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}}'\n"
        f"hint: correct {STORE}:5, or what stands before it",
    ),
    "a tab": (
        STORE,
        "    image",
        "\timage",
        f"{STORE}:3: not valid YAML: while scanning for the next token, found character that cannot start any token\n"
        "hint: indent with spaces: YAML takes no tabs",
    ),
    "a date that isn't": (
        STORE,
        "postgres:17.11",
        "2025-13-45",
        f"{STORE}:3: not valid YAML: `2025-13-45` is no timestamp\nhint: correct {STORE}:3, or what stands before it",
    ),
    "an anchor in itself": (
        STORE,
        "{kind: postgres}",
        "&a {kind: *a}",
        f"{STORE}: not valid YAML: nested too deep, or an anchor that holds itself",
    ),
    "a key twice": (
        STORE,
        "    ports:",
        "    image: redis:8\n    ports:",
        f"{STORE}:9: `image` is given twice, first on line 3\nhint: keep one of them",
    ),
    "services that are nothing": (
        APP,
        "",
        "services:\n",
        f"{APP}:1: `services` must be a mapping, not nothing",
    ),
    "services that are a list": (
        APP,
        "",
        "services: [app]\n",
        f"{APP}:1: `services` must be a mapping, not a list",
    ),
    "a service that is nothing": (
        APP,
        "",
        "services:\n  app:\n",
        f"{APP}:2: service `app` must be a mapping, not nothing",
    ),
    "a service whose name is a number": (
        APP,
        "  app:",
        "  404:",
        f'{APP}:2: service `404` must have a name that is a string\nhint: quote it: "404"',
    ),
    "an unknown key of the suite": (
        OVERLAY,
        "migrations:",
        "migration:",
        f"{OVERLAY}:3: unknown key `migration` in `x-itest`\nhint: did you mean `migrations`?",
    ),
    "an unknown key of the suite that is near nothing": (
        OVERLAY,
        "migrations:",
        "zoo:",
        f"{OVERLAY}:3: unknown key `zoo` in `x-itest`\n"
        "hint: known: egress, faults, fixtures, isolation, migrations, per_worker, tags, tests",
    ),
    "an unknown key of a service": (
        APP,
        "port: 8000",
        "prot: 8000",
        f"{APP}:4: unknown key `prot` in `x-itest`\nhint: did you mean `port`?",
    ),
    "a misspelt x-itest of a suite": (
        OVERLAY,
        "x-itest:\n  tests",
        "x-itests:\n  tests",
        f"{OVERLAY}:1: unknown key `x-itests`\nhint: did you mean `x-itest`?",
    ),
    "a misspelt x-itest of a service": (
        STORE,
        "x-itest",
        "x-itset",
        f"{STORE}:4: unknown key `x-itset`\nhint: did you mean `x-itest`?",
    ),
    "an x-itest that is nothing": (
        OVERLAY,
        "",
        "x-itest:\n",
        f"{OVERLAY}:1: `x-itest` must be a mapping, not nothing",
    ),
    "an x-itest that is a list": (
        OVERLAY,
        "",
        "x-itest: [tests/api]\n",
        f"{OVERLAY}:1: `x-itest` must be a mapping, not a list",
    ),
    "an x-itest of a service that is a word": (
        STORE,
        "{kind: postgres}",
        "postgres",
        f'{STORE}:4: `x-itest` must be a mapping, not "postgres"',
    ),
    "x-itest in a layer": (
        STORE,
        "services:\n",
        "x-itest: {tags: [slow]}\nservices:\n",
        f"{STORE}:1: top-level `x-itest` belongs to the suite's overlay\nhint: move it to {OVERLAY}",
    ),
    "a number for a folder": (OVERLAY, "tests/api", "5", f"{OVERLAY}:2: `tests` must be a string, not `5`"),
    "two folders of tests": (
        OVERLAY,
        "tests: tests/api",
        "tests: [tests/api, tests/ui]",
        f"{OVERLAY}:2: `tests` must be a string, not a list",
    ),
    "a mapping for tags": (
        OVERLAY,
        "[blocking]",
        "{blocking: true}",
        f"{OVERLAY}:6: `tags` must be a string or a list of strings, not a mapping",
    ),
    "a number among tags": (
        OVERLAY,
        "[blocking]",
        "[blocking, 2]",
        f"{OVERLAY}:6: `tags[1]` must be a string, not `2`",
    ),
    "an empty folder name": (
        OVERLAY,
        "[fixtures/base]",
        "['']",
        f"{OVERLAY}:4: `fixtures[0]` must be a string, not an empty string",
    ),
    "a folder that isn't there": (
        OVERLAY,
        "fixtures/base",
        "fixtures/bse",
        f"{OVERLAY}:4: `fixtures: fixtures/bse` is no folder\nhint: did you mean `fixtures/base`?",
    ),
    "a folder that begins wrong": (
        OVERLAY,
        "migrations/app",
        "migration/app",
        f"{OVERLAY}:3: `migrations: migration/app` is no folder\nhint: did you mean `migrations/app`?",
    ),
    "a file for a folder": (
        OVERLAY,
        "tests/api",
        "tests/api/test_api.py",
        f"{OVERLAY}:2: `tests: tests/api/test_api.py` is no folder\nhint: did you mean `tests/api`?",
    ),
    "a folder outside": (
        OVERLAY,
        "fixtures/base",
        "../base",
        f"{OVERLAY}:4: `fixtures: ../base` is outside the repository\nhint: paths in x-itest begin at its root",
    ),
    "an absolute folder": (
        OVERLAY,
        "migrations/app",
        "/migrations/app",
        f"{OVERLAY}:3: `migrations: /migrations/app` is outside the repository\n"
        "hint: paths in x-itest begin at its root",
    ),
    "an unknown isolation": (
        OVERLAY,
        "delete",
        "deleet",
        f"{OVERLAY}:5: `isolation: deleet` is not known\nhint: did you mean `delete`?",
    ),
    "an isolation that YAML reads as false": (
        OVERLAY,
        "delete",
        "off",
        f"{OVERLAY}:5: `isolation` must be one word, not false\n"
        "hint: one of: delete, rollback, truncate, schema, clone, none",
    ),
    "a worker's service that isn't there": (
        OVERLAY,
        "tags: [blocking]",
        "per_worker: [ap]",
        f"{OVERLAY}:6: `per_worker` names `ap`, which is no service of this suite\nhint: did you mean `app`?",
    ),
    "an unknown kind": (
        STORE,
        "kind: postgres",
        "kind: postgresql",
        f"{STORE}:4: `kind: postgresql` is not known\nhint: did you mean `postgres`?",
    ),
    "a kind without a port": (
        APP,
        "kind: http, port: 8000",
        "kind: http",
        f"{APP}:4: `app` is of kind http, so it needs a port\nhint: add `port: 8000`",
    ),
    "a port that is none": (
        APP,
        "port: 8000",
        "port: 80000",
        f"{APP}:4: `port` must be a whole number from 1 to 65535, not `80000`",
    ),
    "a port in quotes": (
        APP,
        "port: 8000",
        "port: '8000'",
        f'{APP}:4: `port` must be a whole number from 1 to 65535, not "8000"',
    ),
    "a timeout without end": (
        OVERLAY,
        "timeout: 20",
        "timeout: .inf",
        f"{OVERLAY}:10: `timeout` must be a positive number, not `inf`",
    ),
    "a timeout with a unit": (
        OVERLAY,
        "timeout: 20",
        "timeout: 20s",
        f'{OVERLAY}:10: `timeout` must be a positive number, not "20s"',
    ),
    "an unknown probe": (
        APP,
        "{http: /ready}",
        "{https: /ready}",
        f"{APP}:4: unknown probe `https`\nhint: did you mean `http`?",
    ),
    "a probe that is a word": (
        APP,
        "{http: /ready}",
        "healthy",
        f'{APP}:4: `ready` must hold probes such as `{{tcp: 7777}}`, not "healthy"',
    ),
    "no probe": (
        APP,
        "{http: /ready}",
        "{status: 200}",
        f"{APP}:4: `ready` names no probe\nhint: one of: tcp, http, sql, redis, amqp, exec, log, health",
    ),
    "a status of no HTTP probe": (
        APP,
        "{http: /ready}",
        "{tcp: 8000, status: 200}",
        f"{APP}:4: `status` belongs to an `http` probe",
    ),
    "a status that is none": (
        APP,
        "{http: /ready}",
        "{http: /ready, status: 20}",
        f"{APP}:4: `status` must be a whole number from 100 to 599, not `20`",
    ),
    "a JSON field without a name": (
        APP,
        "{http: /ready}",
        "{http: /ready, json: ok}",
        f'{APP}:4: `json` must be a mapping of fields, not "ok"',
    ),
    "a URL for a path": (
        APP,
        "{http: /ready}",
        "{http: 'http://app:8000/ready'}",
        f"{APP}:4: `http: http://app:8000/ready` must be a path\nhint: such as: /health/ready",
    ),
    "a command in one string": (
        APP,
        "{http: /ready}",
        "{exec: test -e /tmp/up}",
        f'{APP}:4: `exec` must be a list, not "test -e /tmp/up"\nhint: such as: [test, -e, /tmp/ready]',
    ),
    "a number in a command": (
        APP,
        "{http: /ready}",
        "{exec: [sleep, 1]}",
        f"{APP}:4: `exec[1]` must be a string, not `1`",
    ),
    "a pattern that is none": (
        APP,
        "{http: /ready}",
        "{log: 'ready ('}",
        f"{APP}:4: `log` is no regular expression: missing ), unterminated subpattern at position 6",
    ),
    "a word that Redis doesn't say": (
        APP,
        "{http: /ready}",
        "{redis: pong}",
        f"{APP}:4: `redis: pong` is not known\nhint: did you mean `ping`?",
    ),
    "SQL for a service that isn't PostgreSQL": (
        APP,
        "{http: /ready}",
        "{sql: SELECT 1}",
        f"{APP}:4: the probe `sql` needs `kind: postgres`\nhint: add it to the x-itest of `app`",
    ),
    "HTTP without a port": (
        APP,
        "{kind: http, port: 8000, ready: {http: /ready}}",
        "{ready: {http: /ready}}",
        f"{APP}:4: the probe `http` needs a port\nhint: add `port:` to `app`",
    ),
    "a dependency that isn't there": (
        APP,
        "store: {condition",
        "stor: {condition",
        f"{APP}:6: `app` depends on `stor`, which no layer of this suite has\nhint: did you mean `store`?",
    ),
    "a dependency without brackets": (
        APP,
        "depends_on:\n      store: {condition: service_healthy}",
        "depends_on: store",
        f'{APP}:5: `depends_on` must be a list or a mapping, not "store"\nhint: such as: depends_on: [store]',
    ),
    "a service that depends on itself": (
        APP,
        "store: {condition",
        "app: {condition",
        f"{APP}:6: dependency cycle: app → app\nhint: remove one of these depends_on",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_file_line_and_what_mends_it(repo, file, old, new, said):
    repo.edit(file, old, new)
    assert repo.refusal() == said


def test_a_dependency_cycle_is_told_in_the_order_in_which_services_wait_for_one_another(repo):
    repo.edit(STORE, "    ports:", "    depends_on:\n      - vault\n    ports:")
    repo.edit(APP, "services:\n", "services:\n  vault: {image: 'vault:1', depends_on: [app]}\n")
    assert repo.refusal() == (
        f"{STORE}:10: dependency cycle: store → vault → app → store\nhint: remove one of these depends_on"
    )


def test_an_unknown_suite_comes_with_the_nearest(repo):
    assert repo.refusal(lambda: repo.load("apu")) == "unknown suite apu\nhint: did you mean `api`?"
    assert repo.refusal(lambda: repo.load("orders")) == "unknown suite orders\nhint: known: api"


def test_suites_with_spaces_between_are_told_of_commas(repo):
    repo.write("compose/suites/ui.env", "")
    assert repo.refusal(lambda: repo.load("api ui")) == (
        "unknown suite api ui\nhint: separate suites by commas: SUITE=api,ui"
    )
    assert repo.refusal(lambda: repo.load("api uo")) == "unknown suite api uo\nhint: did you mean `api`?"


def test_a_suite_without_its_env_file_is_told_which_one_is_missing(repo):
    repo.write("compose/suites/orders.yaml", "x-itest: {}\n")
    assert repo.refusal(lambda: repo.load("orders")) == (
        "unknown suite orders\nhint: it has an overlay; compose/suites/orders.env, which names its layers, is missing"
    )


def test_a_hidden_env_file_is_no_suite(repo):
    repo.write("compose/suites/.env", "")
    assert suite.names(repo.path) == ["api"]


def test_a_suite_whose_name_compose_refuses_is_told_how_to_rename_it(repo):
    repo.write("compose/suites/Orders.env", "COMPOSE_PROJECT_NAME=orders\n")
    assert repo.refusal(lambda: repo.load("Orders")) == (
        "suite Orders: a suite's name is part of its stack's, so it is lower-case letters, digits, - and _\n"
        "hint: git mv compose/suites/Orders.env compose/suites/orders.env"
    )


def test_two_suites_of_one_project_name_are_told_apart(repo):
    repo.write("compose/suites/ui.env", repo.text(ENV))  # copied, and not changed
    assert repo.refusal(lambda: repo.load("ui")) == (
        "compose/suites/ui.env:1: COMPOSE_PROJECT_NAME is itest-api, as in suite api\nhint: make it itest-ui"
    )


def test_a_copied_suite_is_told_that_it_names_the_overlay_of_the_other(repo):
    repo.write("compose/suites/ui.env", repo.text(ENV).replace("itest-api", "itest-ui"))
    assert repo.refusal(lambda: repo.load("ui")) == (
        "compose/suites/ui.env:2: COMPOSE_FILE does not name compose/suites/ui.yaml\nhint: end COMPOSE_FILE with it"
    )


def test_a_default_folder_of_tests_that_is_missing_is_told_with_how_to_make_it(repo):
    shutil.rmtree(repo.path / "tests/api")
    (repo.path / "tests/ui").mkdir()
    for overlay, line in ((repo.text(OVERLAY), 2), ("x-itest:\n  tags: slow\n", 1)):
        repo.write(OVERLAY, overlay)
        assert repo.refusal() == f"{OVERLAY}:{line}: `tests: tests/api` is no folder\nhint: mkdir tests/api"


def test_a_folder_that_a_tool_made_is_never_the_one_that_is_meant(repo):
    for name in (".hypothesis", "__pycache__"):
        (repo.path / "tests" / name).mkdir()
    repo.edit(OVERLAY, "tests/api", "tests/hypothesis")
    assert repo.refusal() == f"{OVERLAY}:2: `tests: tests/hypothesis` is no folder\nhint: did you mean `tests/api`?"
    repo.edit(OVERLAY, "tests/api", "tests/pycache")
    assert "__pycache__" not in repo.refusal()


def test_a_link_that_leads_out_of_the_repository_is_refused(repo, tmp_path_factory):
    shutil.rmtree(repo.path / "fixtures/base")
    (repo.path / "fixtures/base").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    assert repo.refusal().startswith(f"{OVERLAY}:4: `fixtures: fixtures/base` is outside the repository")


@pytest.mark.parametrize("name", ["a" * 300, "a\\0b"])
def test_a_name_that_no_file_system_takes_is_told(repo, name):
    repo.edit(OVERLAY, "fixtures/base", f'"{name}"')
    assert repo.refusal().startswith(f"{OVERLAY}:4: `fixtures: ")


def test_an_unknown_profile_comes_with_the_nearest(repo):
    refusal = repo.refusal(lambda: repo.load(profile="devv"))
    assert refusal == "unknown profile devv\nhint: did you mean `dev`?"


def test_a_profile_may_not_replace_the_layers(repo):
    repo.write("compose/profiles/dev.env", f"APP_PORT=8000\nCOMPOSE_FILE={APP}\n")
    assert repo.refusal(lambda: repo.load(profile="dev")) == (
        "compose/profiles/dev.env:2: COMPOSE_FILE in a profile replaces the suite's own\n"
        "hint: set it in compose/suites/ alone, or begin with ${COMPOSE_FILE}: to add a file"
    )


def test_a_profile_may_add_a_layer(repo):
    repo.write("compose/profiles/more.yaml", "services:\n  app:\n    mem_limit: 1g\n")
    repo.write("compose/profiles/dev.env", "COMPOSE_FILE=${COMPOSE_FILE}:compose/profiles/more.yaml\n")
    loaded = repo.load(profile="dev")
    assert [file.path.name for file in loaded.files] == ["base.yaml", "store.yaml", "app.yaml", "api.yaml", "more.yaml"]
    assert loaded.config["services"]["app"]["mem_limit"] == str(2**30)


def test_a_layer_that_a_profile_adds_must_exist(repo):
    repo.write("compose/profiles/dev.env", "COMPOSE_FILE=${COMPOSE_FILE}:compose/profiles/more.yaml\n")
    said = "compose/profiles/dev.env:1: COMPOSE_FILE names `compose/profiles/more.yaml`, which does not exist"
    assert repo.refusal(lambda: repo.load(profile="dev")).startswith(said)


@pytest.mark.parametrize("file", [ENV, STORE])
def test_a_file_that_is_no_text_is_told_with_the_byte(repo, file):
    (repo.path / file).write_bytes(b"# one\n# caf\xe9\n")
    assert repo.refusal() == (
        f"{file}:2: not UTF-8 text (byte 0xe9)\nhint: iconv -f latin1 -t utf-8 {file}, and save that"
    )


def test_a_layer_that_nobody_may_read_is_told(repo, monkeypatch):
    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert repo.refusal() == f"cannot read {ENV}: Permission denied"


# Whatever the files hold, it is a suite or a mistake that is told, never a traceback.

WORDS = st.sampled_from(
    ["x-itest", "services", "app", "tests", "kind", "port", "ready", "http", "tcp", "exec", "log", "status", "json"]
) | st.sampled_from(
    ["timeout", "depends_on", "isolation", "delete", "tags", "postgres", "tests/api", "/ready", ".", "/"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.integers(), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(max_examples=200, deadline=None)


def places(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in nested mappings and lists."""
    yield keys
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*keys, key))


def replaced(data: Any, keys: tuple[Any, ...], value: Any) -> Any:
    """The data with another value at one place."""
    if not keys:
        return value
    data[keys[0]] = replaced(data[keys[0]], keys[1:], value)
    return data


def is_loaded_or_refused(repo: Any) -> bool:
    try:
        return isinstance(repo.load(), Suite)
    except ItestError as error:
        return error.category == "usage" and "\n" not in error.message


@QUICK
@given(file=st.sampled_from([OVERLAY, APP]), data=st.data(), value=VALUES)
def test_any_value_at_any_place_is_taken_or_told(common_repo, file, data, value):
    repo = common_repo.make(common_repo.path)
    right = yaml.safe_load(repo.text(file))
    place = data.draw(st.sampled_from(list(places(right))))
    repo.write(file, yaml.safe_dump(replaced(right, place, value), allow_unicode=True))
    assert is_loaded_or_refused(repo)


@QUICK
@given(file=st.sampled_from([ENV, OVERLAY, APP]), at=st.floats(0, 1), cut=st.integers(0, 9), junk=st.binary(max_size=6))
def test_any_damage_to_a_file_is_taken_or_told(common_repo, file, at, cut, junk):
    repo = common_repo.make(common_repo.path)
    whole = repo.text(file).encode()
    start = int(at * len(whole))
    (repo.path / file).write_bytes(whole[:start] + junk + whole[start + cut :])
    assert is_loaded_or_refused(repo)
