"""What leaves a sealed stack: what a suite may open, the doors that it needs, and what its door says and records."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import struct
from pathlib import Path
from types import ModuleType

import pytest

from itest import doors, suite
from itest.containers import Container
from itest.errors import ItestError
from itest.stack import door as opening
from itest.stack import egress, sealing
from itest.suite import yamlfile
from itest.suite.egress import Egress

ROOT = Path(__file__).resolve().parents[3]
OVERLAY = "compose/suites/api.yaml"
SEALED = """\
services:
  store: {dns: 127.0.0.1}
  app: {dns: 127.0.0.1}
  door:
    image: python:3.13.5
    environment:
      DOORS: 5432=store:5432 8000=app:8000
    ports: ["127.0.0.1::5432", "127.0.0.1::8000"]
networks: {default: {internal: true}, more: {}}
"""


def container(service: str, **given) -> Container:
    raw = {"id": service, "project": "p", "image": "i", "environment": {}, "ports": {}, "state": {}, "restarts": 0}
    return Container(**{**raw, "service": service, **given})


# What a suite says


def said(repo, value: str) -> Egress:
    repo.edit(OVERLAY, "tags: [blocking]", f"egress: {value}")
    return repo.load().egress


def test_a_suite_opens_nothing_and_fails_for_nothing_unless_it_says_so(repo):
    assert repo.load().egress == Egress((), fail=False)


def test_a_host_is_opened_for_the_web_or_on_the_port_that_is_named(repo):
    opened = (("api.example.com", 80), ("api.example.com", 443), ("mail.example.com", 25))
    assert said(repo, "[API.example.com, mail.example.com:25]") == Egress(opened)


def test_a_suite_may_fail_for_any_other_attempt(repo):
    assert said(repo, "{allow: mail.example.com:25, fail: true}") == Egress((("mail.example.com", 25),), fail=True)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[https://api.example.com]", "`egress: https://api.example.com` is no name of a host"),
        ("[203.0.113.5]", "`egress: 203.0.113.5` is no name of a host"),
        ("['*.example.com']", "`egress: *.example.com` is no name of a host"),
        ("[mail.example.com:99999]", "`egress: mail.example.com:99999` is no name of a host"),
        ("[localhost]", "`egress: localhost` is no name of a host"),
        ("{fail: maybe}", '`fail` must be true or false, not "maybe"'),
        ("{alow: []}", "unknown key `alow` in `egress`"),
    ],
)
def test_what_can_be_no_host_is_refused_with_file_and_line(repo, value, problem):
    assert repo.refusal(lambda: said(repo, value)).startswith(f"{OVERLAY}:6: {problem}")


# Doors


@pytest.fixture
def sealed(repo):
    repo.write("compose/profiles/sealed.yaml", SEALED)
    repo.write("compose/profiles/sealed.env", "COMPOSE_FILE=${COMPOSE_FILE}:compose/profiles/sealed.yaml\n")
    return repo


def alter(repo, old: str, new: str) -> None:
    assert old in SEALED
    repo.write("compose/profiles/sealed.yaml", SEALED.replace(old, new))


def checked(repo) -> None:
    suite.check(repo.load(profile="sealed"))


def test_a_door_for_every_port_is_enough_and_one_for_an_absent_service_does_no_harm(sealed):
    alter(sealed, "DOORS: ", "DOORS: 8000=shop:8000 ")
    checked(sealed)


def test_a_port_without_a_door_is_refused_with_the_line_that_is_missing(sealed):
    alter(sealed, " 8000=app:8000", "")
    assert sealed.refusal(lambda: checked(sealed)) == (
        "compose/profiles/sealed.yaml:7: port 8000 of `app` has no door, so nobody could reach it\n"
        'hint: add the line 20000=app:8000 to it, and "127.0.0.1::20000" to the ports below'
    )


WAYS_PAST = {
    "another network": (
        "  app: {dns: 127.0.0.1, networks: [default, more]}",
        "sealed.yaml:3: `app` would not be sealed: it is on network `more` too\nhint: make `more` `internal: true`",
    ),
    "the host's own": (
        "  app: {dns: 127.0.0.1, network_mode: host}",
        "sealed.yaml:3: `app` would not be sealed: host",
    ),
    "another name server": (
        "  app: {mem_limit: 1g}",
        "sealed.yaml:3: `app` doesn't ask the door for names, so nobody would see what it wants outside",
    ),
}


@pytest.mark.parametrize(("app", "said"), WAYS_PAST.values(), ids=WAYS_PAST)
def test_a_way_past_the_door_is_refused(sealed, app, said):
    alter(sealed, "  app: {dns: 127.0.0.1}", app)
    assert said in sealed.refusal(lambda: checked(sealed))


def test_a_door_that_is_not_published_is_refused(sealed):
    alter(sealed, ', "127.0.0.1::8000"', "")
    said = 'compose/profiles/sealed.yaml:8: `door` does not publish port 8000\nhint: add "127.0.0.1::8000"'
    assert sealed.refusal(lambda: checked(sealed)) == said


def test_a_line_of_doors_that_says_nothing_is_refused(sealed):
    alter(sealed, "5432=store:5432", "5432-store")
    assert "sealed.yaml:7: `DOORS` is not understood" in sealed.refusal(lambda: checked(sealed))


def test_the_door_starts_with_the_stores_that_it_leads_to(sealed):
    assert sealed.load(profile="sealed").stores == ("store", "door")
    assert sealed.load().stores == ("store",)


@pytest.mark.parametrize("name", suite.names(ROOT))
def test_every_suite_of_this_repository_can_be_sealed(name):
    suite.check(suite.load(ROOT, name, "sealed"))


@pytest.mark.parametrize("profile", ["", "sealed"])
@pytest.mark.parametrize("name", suite.names(ROOT))
def test_every_service_has_the_stack_s_network_alone_and_no_other_name_server(name, profile):
    """So that what is tried from one of them holds for all."""
    services = suite.load(ROOT, name, profile).config["services"]
    ways = {(*one["networks"], *one["dns"], "network_mode" in one) for key, one in services.items() if key != "door"}
    assert ways == {("default", "127.0.0.1", False)}


def test_a_service_has_the_ports_that_the_door_publishes_for_it():
    door = container("door", environment={"DOORS": "5432=db:5432\n18000=app:8000"}, ports={18000: ("127.0.0.1", 5)})
    found = doors.through({"door": door, "db": container("db"), "app": container("app")})
    assert found["app"].ports == {8000: ("127.0.0.1", 5)}
    assert found["db"].ports == {}


def test_without_a_door_ports_are_what_they_are():
    one = {"db": container("db", ports={5432: ("127.0.0.1", 7)})}
    assert doors.through(one) == one
    assert doors.address(one) == {}


def test_the_others_find_the_door_at_its_address_in_the_stack_s_own_network():
    door = container("door", addresses={"p_outside": "172.20.0.2", "p_default": "172.21.0.2"})
    assert doors.address({"door": door}) == {"DOOR_ADDRESS": "172.21.0.2"}


def test_a_host_that_nobody_here_knows_is_told_before_anything_starts(sealed, monkeypatch):
    sealed.edit(OVERLAY, "tags: [blocking]", "egress: [api.example.com]")
    loaded = sealed.load(profile="sealed")

    def unknown(_: str) -> str:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(opening, "resolved", unknown)
    with pytest.raises(ItestError) as refusal:
        opening.opened(loaded, loaded.project("p"))
    assert (refusal.value.category, refusal.value.cause) == ("engine", "egress")
    assert refusal.value.message == (
        "suite api: egress to api.example.com: this machine finds no address for it: Name or service not known"
    )


def test_a_stack_without_a_door_is_left_as_it_is(repo):
    loaded = repo.load()
    assert opening.opened(loaded, loaded.project("p")) == loaded.project("p")


# Records

LOG = """\
the door is open
{"egress": "refused", "service": "shop", "host": "b.example.com", "when": "2026-01-01T10:00:02", "ipv6": false}
{"egress": "refused", "service": "shop", "host": "a.example.com", "when": "2026-01-01T10:00:01", "ipv6": false}
{"egress": "refused", "service": "shop", "host": "a.example.com", "when": "2026-01-01T10:00:01", "ipv6": true}
{"egress": "refused", "service": "shop", "host": "a.example.com", "when": "2026-01-01T10:00:03", "ipv6": false}
{"egress": "opened", "service": "shop", "host": "mail.example.com", "when": "2026-01-01T10:00:09", "ipv6": false}
{"egress": "refused", "service": "sh
"""


@pytest.fixture
def tried(monkeypatch, repo):
    from itest.stack.stack import Stack

    monkeypatch.setattr(egress.containers, "logs", lambda *_, **__: LOG)
    loaded = repo.load()
    return egress.attempts([Stack(loaded, loaded.project("p"), containers={"door": container("door")})])


def test_both_sorts_of_address_are_one_attempt_and_the_first_asked_for_comes_first(tried):
    told = [
        "shop asked for a.example.com twice",
        "shop asked for b.example.com once",
        "shop asked for mail.example.com once",
    ]
    assert list(map(str, tried)) == told
    assert (tried[0].first, tried[0].last) == ("2026-01-01T10:00:01", "2026-01-01T10:00:03")


def test_not_all_of_very_many_are_shown(tried):
    assert egress.told(tried)[0] == "shop asked for a.example.com twice (refused)"
    assert egress.told(tried)[-1] == "shop asked for mail.example.com once (opened)"
    many = egress.told(tried * 5)
    assert len(many) == 11
    assert many[-1] == "… and 5 more, in egress.json"


def test_a_suite_that_wants_none_fails_as_test_and_names_them_all(tried, repo):
    assert egress.refused(repo.load(), tried) is None
    said(repo, "{fail: true}")
    error = egress.refused(repo.load(), tried)
    assert (error.category, error.cause) == ("test", "egress")
    assert error.message == "suite api: shop asked for a.example.com twice, which is outside, and 1 more"
    assert "mock a.example.com, b.example.com; or open it" in error.hint


def test_what_a_suite_opens_fails_it_not(tried, repo):
    said(repo, "{fail: true}")
    assert egress.refused(repo.load(), [one for one in tried if one.opened]) is None


# The door's own program


@pytest.fixture(scope="module")
def door() -> ModuleType:
    spec = importlib.util.spec_from_file_location("door", ROOT / "compose/profiles/door.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x12\x34" + struct.pack(">HHHHH", 0x100, 1, 0, 0, 1) + labels + b"\0" + struct.pack(">HH", kind, 1)


def test_a_query_is_read_up_to_the_end_of_its_question(door):
    assert door.question(query("api.Example.com", 28) + b"more") == ("api.example.com", 28, 33)


def test_a_name_of_the_outside_is_denied_and_an_open_one_is_the_door_s_own_address(door, monkeypatch):
    sent = []
    names = door.Names("172.21.0.2", {"open.example.com"})
    names.transport = type("Transport", (), {"sendto": lambda _, data, peer: sent.append(data)})()
    recorded = []

    async def record(*given):
        recorded.append(given)

    monkeypatch.setattr(names, "record", record)

    async def ask() -> None:
        for name, kind in (("a.example.com", 1), ("open.example.com", 1), ("open.example.com", 28), ("word", 1)):
            names.datagram_received(query(name, kind), ("172.21.0.3", 5353))
        names.datagram_received(b"no query", ("172.21.0.3", 5353))
        await asyncio.gather(*names.tasks)

    asyncio.run(ask())
    codes = [answer[3] & 15 for answer in sent]
    assert codes == [3, 0, 0, 3]
    assert sent[1].endswith(bytes([172, 21, 0, 2]))
    assert [(one[1], one[3]) for one in recorded] == [
        ("a.example.com", False),
        ("open.example.com", True),
        ("open.example.com", True),
    ]


@pytest.mark.parametrize(
    ("first", "led"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.example.com\r\n", "a"),
        (b"\x16\x03\x01...b.a.example.com...", "b"),
        (b"\x16\x03\x01...c.example.com...", None),
    ],
)
def test_hosts_that_share_a_port_are_told_apart_by_what_the_client_says(door, first, led):
    targets = {"a.example.com": ("a", 443), "b.a.example.com": ("b", 443)}

    async def choose() -> tuple[bytes, tuple[str, int]]:
        reader = asyncio.StreamReader()
        reader.feed_data(first)
        return await door.choose(reader, targets)

    if led:
        assert asyncio.run(choose()) == (first, (led, 443))
    else:
        with pytest.raises(LookupError):
            asyncio.run(choose())


@pytest.mark.parametrize(
    ("known", "service"),
    [
        ("p-x-shop-1.p-x_default", "shop"),
        ("p-x-my-shop-2.p-x_default", "my-shop"),
        ("alias.p-x_default", "alias"),
    ],
)
def test_a_service_is_known_by_its_container_s_name(door, monkeypatch, known, service):
    monkeypatch.setattr(door.socket, "gethostbyaddr", lambda _: (known, [], []))
    assert door.service_at("172.21.0.3") == service


def test_what_doctor_tries_is_what_the_compose_files_say():
    def options(path: str) -> dict[str, str]:
        return yamlfile.read(ROOT, Path(path)).data["networks"]["default"]

    plain, sealed = options("compose/base.yaml"), options("compose/profiles/sealed.yaml")
    as_flags = {"--opt=" + name + "=" + value for one in (plain, sealed) for name, value in one["driver_opts"].items()}
    assert set(sealing.SEALED) == as_flags | {"--internal"}
    assert sealed["internal"] is True
