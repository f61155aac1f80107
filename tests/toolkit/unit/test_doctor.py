"""The doctor's judgement, without an engine: a bad example for each finding about files, and a machine made up for
each about the machine. What a real `docker compose config` prints is what it judges."""

from __future__ import annotations

import ipaddress
import json
import math
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from itest import suite
from itest.containers import moment
from itest.doctor import budget, capacity, files, finding, leftovers, machine, ports, seal, show, supply
from itest.doctor.budget import Healthcheck
from itest.doctor.doctor import Diagnosis
from itest.doctor.finding import Finding
from itest.doctor.leftovers import Leftovers
from itest.doctor.machine import Disk, Machine
from itest.doctor.seal import Seal
from itest.doctor.supply import Missing
from itest.errors import ItestError
from itest.images import ImageNeed
from itest.machine.diagnosis import Facts
from itest.stack.sealing import Enforcement

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((Path(__file__).parent / "doctor").glob("*.yaml"))
SAID = re.compile(r"# (?P<severity>\w+)(?:, line (?P<line>\d+))?: (?P<what>.+)")
OVERLAY = "compose/suites/example.yaml"
RIGHT = """\
services:
  app:
    extends: {file: defaults.yaml, service: defaults}
    image: team/app:1.4
    user: "999:999"
    mem_limit: 256m
    healthcheck: {test: [CMD, "true"], start_period: 30s, start_interval: 250ms, interval: 5s, timeout: 3s}
"""


@pytest.fixture
def examine(compose_client, repo):
    """Examine an overlay as suite `example`: its findings, worst first."""

    def examine(text: str, images=None, profile: str = "") -> list[Finding]:
        for name in ("base.yaml", "defaults.yaml"):
            shutil.copy(ROOT / "compose" / name, repo.path / "compose" / name)
        repo.write(OVERLAY, text)
        files_named = f"COMPOSE_FILE=compose/base.yaml:{OVERLAY}\n"
        repo.write("compose/suites/example.env", f"COMPOSE_PROJECT_NAME=itest-example\n{files_named}")
        repo.write("tests/example/test_example.py", "")
        repo.write("migrations/app/V1__create.sql", "CREATE TABLE things (id int);")
        repo.write("fixtures/example/stubs/pay.yaml", "- {request: {host: pay.example.com}, response: {}}\n")
        loaded = files.load(repo.path, "example", profile)
        return finding.ordered([*files.examine(loaded, images or {})[0], *files.examine_workers(loaded)])

    return examine


# Files


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_bad_example_gives_its_finding_and_no_other(examine, example):
    text = example.read_text(encoding="utf-8")
    wanted = SAID.fullmatch(text.splitlines()[0])
    place = f"{OVERLAY}:{wanted['line']}" if wanted["line"] else OVERLAY
    found = examine(text)
    assert [(one.id, one.severity, one.place, one.what) for one in found] == [
        (example.stem, wanted["severity"], place, wanted["what"])
    ]
    assert found[0].why
    assert found[0].mend
    assert found[0].suites == ("example",)
    assert finding.exit_code(found) == (2 if wanted["severity"] == "error" else 0)


def test_every_finding_about_files_has_an_example():
    sources = [ROOT / "scripts/itest" / path for path in ("doctor", "suite/resolved.py")]
    text = "".join(path.read_text() for one in sources for path in ([one] if one.is_file() else one.glob("*.py")))
    given = set(re.findall(r'(?:subject\.finding|Rule)\(\s*[\w"]+,\s*"([\w-]+)"', text))
    given |= set(re.findall(r'\(\("([\w-]+)", error\)', text)) | set(
        re.findall(r'_refused\(\w+[.\w]*, "([\w-]+)"', text)
    )
    assert given | {"suite", "cycle"} == {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("missing", ["unnamed-host", "untrusted-mock"])
def test_a_client_by_proxy_needs_no_name_and_has_the_certificate(examine, missing):
    (text,) = (path.read_text() for path in EXAMPLES if path.stem == missing)
    client = """    environment: {HTTPS_PROXY: "http://mock:8080"}
    volumes: ["ca:/mock-ca:ro"]
"""
    volumes = "" if "\nvolumes:" in text else "volumes: {ca: }\n"
    changed = text.replace("    image: team/app:1.4\n", "    image: team/app:1.4\n" + client)
    assert examine(changed + volumes) == []


def test_a_right_suite_has_no_finding(examine):
    assert examine(RIGHT) == []


@pytest.mark.parametrize("name", suite.names(ROOT))
def test_the_sample_suites_are_clean(compose_client, monkeypatch, name):
    monkeypatch.chdir(ROOT)
    loaded = files.load(ROOT, name)
    found, chains = files.examine(loaded, {})
    assert [one for one in (*found, *files.examine_workers(loaded)) if one.severity != "note"] == []
    assert chains


def test_all_that_is_wrong_with_a_suite_is_told_at_once(examine):
    bad = RIGHT.replace("team/app:1.4", "team/app").replace("    mem_limit: 256m\n", "    container_name: app\n")
    assert {one.id for one in examine(bad)} == {"fixed-name", "unpinned-image", "no-memory-limit"}


def test_a_migration_that_is_wrong_is_told_by_its_file(examine, repo):
    repo.write("migrations/bad/V1__nothing.sql", "")
    (found,) = examine("x-itest: {migrations: migrations/bad}\n" + RIGHT)
    assert (found.id, found.place) == ("data", "migrations/bad/V1__nothing.sql")
    assert found.what == "empty: it has no statement"


def test_what_only_the_image_tells_is_asked_of_it(examine):
    without = RIGHT.replace('    user: "999:999"\n', "")
    bare = re.sub("    healthcheck: .*\n", "", without)
    healthy = {"Test": ["CMD", "true"], "Interval": 500_000_000, "StartPeriod": 10**10, "StartInterval": 200_000_000}
    assert examine(without) == []  # nobody knows yet
    assert [one.id for one in examine(without, {"team/app:1.4": {"User": ""}})] == ["root-user"]
    assert examine(bare, {"team/app:1.4": {"User": "999", "Healthcheck": healthy}}) == []
    slow = {**healthy, "StartInterval": 0}  # the engine's own: 5 s
    assert [one.id for one in examine(bare, {"team/app:1.4": {"User": "999", "Healthcheck": slow}})] == [
        "slow-healthcheck"
    ]


def test_a_command_that_sounds_as_if_it_ended_is_a_warning_where_nothing_restarts_it(examine):
    text = re.sub("    healthcheck: .*\n", "", RIGHT) + "    command: [app, migrate]\n"
    assert [one.id for one in examine(text)] == ["no-healthcheck"]
    assert [(one.id, one.severity) for one in examine(text + '    restart: "no"\n')] == [("one-shot", "warning")]


def test_one_that_others_expect_to_end_is_as_it_should_be(examine):
    once = (
        "  load:\n    extends: {file: defaults.yaml, service: defaults}\n    image: team/app:1.4\n    user: '999:999'\n"
    )
    once += "    mem_limit: 256m\n    restart: 'no'\n    command: [app, migrate]\n"
    waits = "    depends_on: {load: {condition: service_completed_successfully}}\n"
    assert examine(RIGHT + waits + once) == []
    assert [one.id for one in examine(RIGHT + once)] == ["one-shot"]


def test_a_port_that_a_profile_fixes_is_a_choice(examine, repo):
    text = RIGHT + '    ports: ["127.0.0.1:${APP_PORT:-}:8000"]\n'
    assert examine(text) == []
    assert examine(text, profile="dev") == []
    assert [one.id for one in examine(text.replace("APP_PORT:-", "APP_PORT:-8000"))] == ["fixed-port"]


@pytest.mark.parametrize(
    "environment",
    [
        "APP_TOKEN: ${APP_TOKEN:-itest}",
        "APP_PASSWORD_FILE: /run/secrets/app",
        "APP_URL: postgresql://app:${APP_PASSWORD:-itest}@store/app",
        "APP_PASSWORD:",
        'ALLOW_EMPTY_PASSWORD: "yes"',
        "APP_URL: http://store:8000/?at=me@example.com",
    ],
)
def test_what_is_read_from_elsewhere_is_no_secret_in_clear(examine, environment):
    assert examine(RIGHT + f"    environment:\n      {environment}\n") == []


@pytest.mark.parametrize(
    "environment", ["- APP_PASSWORD=hidden7", "APP_PASSWORD: a$$hidden7", "APP_URL: redis://:hidden7@store:6379/0"]
)
def test_a_secret_in_clear_is_found_in_every_form_and_not_told(examine, environment):
    found = examine(RIGHT + f"    environment:\n      {environment}\n")
    assert [(one.id, one.place) for one in found] == [("secret-in-clear", f"{OVERLAY}:9")]
    assert "hidden7" not in repr(found)


def test_a_secret_in_an_env_file_is_found(examine, repo):
    repo.write("compose/profiles/dev.env", "APP_PASSWORD=hidden7\n")
    found = examine(RIGHT, profile="dev")
    assert [(one.id, one.place) for one in found] == [("secret-in-clear", "compose/profiles/dev.env:1")]


def test_a_command_that_lets_a_shell_read_the_secret_is_right(examine):
    assert examine(RIGHT + '    command: [sh, -c, "exec app --password $$APP_PASSWORD"]\n') == []


def test_broken_yaml_is_a_finding_and_a_mistyped_argument_is_not(examine, repo):
    assert [(one.id, one.place) for one in examine("services:\n\tapp: {}\n")] == [("suite", f"{OVERLAY}:2")]
    for name, profile in (("appi", ""), ("api", "def")):
        with pytest.raises(ItestError, match="unknown"):
            files.load(repo.path, name, profile)


def test_what_suites_have_in_common_is_told_once():
    one = Finding("warning", "fixed-port", "compose/layers/app.yaml:3", "what", "why", "mend", suites=("b",))
    assert finding.ordered([one, replace(one, suites=("a",))]) == [replace(one, suites=("a", "b"))]


# The wait budget


@pytest.mark.parametrize(
    ("check", "fastest", "slowest"),
    [
        (Healthcheck(), 30, 180),  # the engine's own defaults
        (Healthcheck(interval=5, timeout=3, start_interval=0.25), 5, 24),  # start_interval without start_period
        (Healthcheck(interval=5, timeout=3, start_period=30), 5, 57),  # start_period without start_interval: 5 s
        (Healthcheck(interval=5, timeout=3, start_period=30, start_interval=0.25), 0.25, 57),
        (Healthcheck(interval=2, timeout=1, retries=1), 2, 3),
    ],
)
def test_a_healthcheck_allows_so_much(check, fastest, slowest):
    assert (check.fastest, check.slowest) == (fastest, slowest)


def needs(**conditions: str) -> dict[str, object]:
    return {"depends_on": {name: {"condition": f"service_{condition}"} for name, condition in conditions.items()}}


def test_a_chain_adds_up_what_each_waits_for_in_compose_s_half_seconds():
    quick, slow = Healthcheck(2, 1, 1, 10, 0.25), Healthcheck(interval=0.7, timeout=1, retries=2)
    services = {"store": {}, "app": needs(store="healthy"), "web": needs(app="started")}
    (chain,) = budget.chains(services, {"store": slow, "app": quick, "web": quick})
    assert chain.services == ("store", "app", "web")
    assert (chain.fastest, chain.slowest) == (1.0 + 0.5, (3.4 + 0.5) + (14.0 + 0.5))
    assert str(chain) == "store → app → web: healthy after 1.5 s to 18 s"


def test_one_that_ends_takes_any_time_and_each_way_is_a_chain():
    check = Healthcheck(start_period=1, start_interval=0.25)
    services = {"store": {}, "load": {}, "app": needs(store="healthy", load="completed_successfully")}
    chains = budget.chains(services, {"store": check, "load": None, "app": check})
    assert [one.services for one in chains] == [("load", "app"), ("store", "app")]
    assert math.isinf(chains[0].slowest)
    assert str(chains[0]).endswith("to any time")


@pytest.mark.parametrize(("text", "value"), [("250ms", 0.25), ("1m30s", 90), ("1.5s", 1.5), ("1h", 3600)])
def test_durations_of_compose(text, value):
    assert budget.seconds(text) == value


# The machine

WELL = Machine(
    server="28.0",
    compose="2.30",
    root_folder="/engine",
    memory=8 * 10**9,
    free=4 * 10**9,
    networks=(30, 31),
    disks=(Disk("/engine", 50 * 10**9, 10**6), Disk("/tmp", 10**9, None)),
)


def test_a_machine_that_is_well_has_no_finding():
    assert list(capacity.examine(WELL)) == []


@pytest.mark.parametrize(
    ("change", "id", "severity"),
    [
        ({"disks": (Disk("/engine", 100 * 10**6, None),)}, "disk", "error"),
        ({"disks": (Disk("/engine", 10**9, None),)}, "disk", "warning"),
        ({"disks": (Disk("/tmp", 10**8, None),)}, "disk", "warning"),
        ({"disks": (Disk("/tmp", 10**7, None),)}, "disk", "error"),
        ({"disks": (Disk("/engine", 50 * 10**9, 12),)}, "inodes", "warning"),
        ({"free": 100 * 10**6}, "memory", "warning"),
        ({"ignored": ("memory", "CPU")}, "limits-ignored", "warning"),
        ({"networks": (3, 31)}, "networks", "warning"),
        ({"networks": (0, 31)}, "networks", "error"),
        ({"skew": -90.0}, "clock-skew", "warning"),
        ({"not_ours": ("build",)}, "permission", "error"),
        ({"problem": ItestError("engine", "docker engine: gone", hint="make engine")}, "engine", "error"),
    ],
)
def test_what_is_wrong_with_a_machine(change, id, severity):
    found = list(capacity.examine(replace(WELL, **change)))
    assert [(one.id, one.severity, one.place) for one in found] == [(id, severity, "machine")]
    assert found[0].why
    assert found[0].mend
    assert finding.exit_code(found) == (3 if severity == "error" else 0)


@pytest.mark.parametrize(
    ("pools", "taken", "left"),
    [
        ([("10.1.0.0/16", 24)], [], (256, 256)),
        ([("10.1.0.0/16", 24)], ["10.1.3.0/24", "10.1.4.0/25", "192.168.0.0/24"], (254, 256)),
        ([("10.1.0.0/16", 24)], ["10.1.0.0/22", "10.0.0.0/8"], (0, 256)),
        ([("10.1.0.0/16", 16), ("10.2.0.0/15", 16)], ["10.1.0.0/16", "10.3.1.0/24"], (1, 3)),
    ],
)
def test_networks_that_are_left_in_the_pools(pools, taken, left):
    given = [(ipaddress.IPv4Network(base), size) for base, size in pools]
    assert machine.networks_left(given, map(ipaddress.IPv4Network, taken)) == left


def test_an_engine_that_names_no_pools_has_docker_s_own(tmp_path):
    facts = Facts(docker="/docker", server="28.0", compose="2.30")
    seen = machine.seen(facts, {"DockerRootDir": "/nowhere", "MemoryLimit": False}, 0.0, [], tmp_path)
    assert (seen.problem, seen.networks, seen.ignored) == (None, (31, 31), ("memory",))


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05.123456789Z", "2026-01-02T05:04:05.123456789+02:00", "2026-01-01T22:04:05.123456789-05:00"],
)
def test_the_engine_s_clock_is_read_in_any_zone(text):
    assert moment(text) == pytest.approx(1767323045.1234567)


def test_what_was_left_behind_is_told():
    assert list(leftovers.examine(Leftovers(others=3, bakes=(2, 10**9), images=9))) == []
    left = Leftovers(kept=("itest-api",), dead=("itest-api-20260101",), superseded=("itest/superseded:0a1b",))
    found = leftovers.examine(left)
    assert [(one.id, one.severity) for one in found] == [
        ("dead-run", "warning"),
        ("kept-stack", "note"),
        ("superseded-image", "note"),
    ]


def test_a_taken_port_names_its_profile(repo):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        repo.write("compose/profiles/dev.env", f"# fixed\nAPP_PORT={port}\nAPP_MEMORY=1g\n")
        (taken,) = ports.examine(repo.path, [])
    assert (taken.place, taken.severity) == ("compose/profiles/dev.env:2", "note")
    assert taken.what == f"port {port} of PROFILE=dev is taken by a process of this machine"
    assert list(ports.examine(repo.path, [])) == []


def test_an_image_is_an_error_only_where_nothing_gives_it():
    here, gone = ImageNeed("redis:8"), ImageNeed("team/app:1", variable="APP_IMAGE")
    found = list(supply.examine([Missing(here, True), Missing(gone, False, "no such host")]))
    assert [(one.id, one.severity) for one in found] == [("image-unobtainable", "error"), ("image-missing", "note")]
    assert "APP_IMAGE=" in found[0].mend
    assert finding.exit_code(found) == 4


# The seal

WAY_OUT = ("10.1.2.3", "host.docker.internal")


@pytest.mark.parametrize(
    ("found", "by_profile", "told"),
    [
        (Enforcement(True, True), True, []),
        (Enforcement(True, False, WAY_OUT), True, [("error", "not-sealed")]),
        (Enforcement(True, False, WAY_OUT), False, [("warning", "not-sealed")]),
        (Enforcement(False, True), False, [("warning", "outside-answers")]),
        (Enforcement(False, False, WAY_OUT), True, [("warning", "outside-answers"), ("error", "not-sealed")]),
        (Enforcement(None, None), True, [("note", "seal-unknown")]),
        (None, True, [("note", "seal-untried")]),
    ],
)
def test_what_an_engine_does_not_keep_is_told(found, by_profile, told):
    said = list(seal.examine(Seal("python:3", found, by_profile)))
    assert [(one.severity, one.id) for one in said] == told
    assert all(one.why and one.mend for one in said)
    assert finding.exit_code(said) == (3 if ("error", "not-sealed") in told else 0)


def test_every_way_out_of_a_seal_is_named_and_one_that_holds_is_offered():
    (leaky,) = seal.examine(Seal("python:3", Enforcement(True, False, WAY_OUT)))
    (plain,) = seal.examine(Seal("python:3", Enforcement(False, True)))
    assert leaky.what.endswith("reaches this machine at 10.1.2.3, host.docker.internal")
    assert plain.mend == "PROFILE=sealed, which it does keep"


@pytest.mark.parametrize(
    ("info", "translates"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=builtin"], "OperatingSystem": "Debian GNU/Linux 13"}, False),
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, True),
        ({"OperatingSystem": "Docker Desktop"}, True),
    ],
)
def test_an_engine_that_may_translate_addresses_is_doubted(tmp_path, info, translates):
    assert machine.seen(Facts(), info, 0.0, [], tmp_path).translates is translates


@pytest.mark.parametrize(
    ("suite", "profile", "doubtful", "tried"),
    [
        ("plain", "", False, None),
        ("plain", "", True, Seal("python:3.13.5-slim", None)),
        ("careful", "", False, Seal("python:3.13.5-slim", None)),
        ("plain", "sealed", False, Seal("python:3.13.5-slim", None, sealed=True)),
    ],
)
def test_a_seal_is_tried_where_somebody_asks_for_it_or_the_engine_is_doubtful(
    examine, repo, monkeypatch, suite, profile, doubtful, tried
):
    """The image isn't here, so that nothing starts."""
    monkeypatch.setattr(seal.store, "find", lambda _: {})
    shutil.copytree(ROOT / "compose/profiles", repo.path / "compose/profiles", dirs_exist_ok=True)
    examine(RIGHT + ("x-itest: {egress: {fail: true}}\n" if suite == "careful" else ""))
    loaded = files.load(repo.path, "example", profile)
    assert seal.look(repo.path, replace(WELL, translates=doubtful), [loaded]) == tried


# What is shown


def diagnosis(*found: Finding) -> Diagnosis:
    chain = budget.Chain(("load", "app"), 1.0, math.inf)
    return Diagnosis(tuple(finding.ordered(found)), WELL, Leftovers(), {"api": [chain]})


NOTE = Finding("note", "kept-stack", "machine", "kept: x", "why", "make down")
ERROR = Finding("error", "fixed-name", "compose/a.yaml:10", "a name", "why", "remove it", suites=("api", "web"))
WARNING = Finding("warning", "fixed-port", "compose/a.yaml:9", "a port", "why", "remove it", suites=("api",))


def test_the_worst_comes_first_and_the_counts_last():
    parts = show.text(diagnosis(NOTE, WARNING, ERROR)).split("\n\n")
    assert parts[1:] == [
        "error     compose/a.yaml:10: a name (api, web) [fixed-name]\n"
        "          why → remove it\n"
        "warning   compose/a.yaml:9: a port [fixed-port]\n"
        "          why → remove it\n"
        "note      machine: kept: x [kept-stack]\n"
        "          why → make down",
        "1 error, 1 warning, 1 note; exit 2",
    ]


def test_json_says_the_same():
    told = json.loads(show.as_json(diagnosis(NOTE, ERROR)))
    assert (told["exit_code"], told["counts"]) == (2, {"error": 1, "warning": 0, "note": 1})
    assert told["findings"][0] == {
        "severity": "error",
        "id": "fixed-name",
        "place": "compose/a.yaml:10",
        "what": "a name",
        "why": "why",
        "mend": "remove it",
        "category": "usage",
        "suites": ["api", "web"],
    }
    assert told["wait_budget"] == {"api": [{"services": ["load", "app"], "fastest_s": 1.0, "slowest_s": None}]}


def test_warnings_and_notes_alone_end_with_0():
    assert finding.exit_code([NOTE, WARNING]) == 0
