"""What a person reads when docker refuses a port: which, who has it, and what to do about it."""

from __future__ import annotations

import os
import socket

import pytest
from python_on_whales.exceptions import DockerException

from itest import holders, refusals
from itest.holders import Holder

ENDPOINT = "driver failed programming external connectivity on endpoint itest-api-postgres-1 (ea8b2f)"


NOBODY = Holder()
STACK = Holder("stack itest-api", "make down SUITE=itest-api")


def explained(words: str, *, profile: str = "", holder: Holder = NOBODY) -> tuple[str, str | None]:
    error = DockerException(["docker", "compose", "up"], 1, stderr=f"Error response from daemon: {words}\n".encode())
    found = refusals.explain(
        error, "service", "start", "stack x", profile=profile, port=lambda _: holder, networks=lambda: holder
    )
    return f"{found.category} {found.cause}: {found.message}", found.hint


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (f"{ENDPOINT}: Bind for 127.0.0.1:5432 failed: port is already allocated", "docker ps"),
        (f"{ENDPOINT}: Error starting userland proxy: listen tcp4 127.0.0.1:5432: bind: address already in use", "ss"),
        (f"{ENDPOINT}: failed to bind host port for 127.0.0.1:5432:172.18.0.2:5432/tcp: address already in use", "ss"),
        ("failed to bind host port 127.0.0.1:5432/tcp: address already in use", "ss"),
    ],
)
def test_a_taken_port_is_named_without_docker_s_endpoints(words, who):
    message, hint = explained(words)
    assert message == "engine port: stack x: 127.0.0.1:5432 is taken"
    assert hint in ("docker ps shows by whom", "ss -ltnp shows by whom")
    assert hint.startswith(who)


def test_the_stack_that_holds_it_is_named_and_the_profile_only_where_one_was_given():
    words = "Bind for 127.0.0.1:5432 failed: port is already allocated"
    message, hint = explained(words, profile="dev", holder=STACK)
    assert message == "engine port: stack x: 127.0.0.1:5432 is taken by stack itest-api"
    assert hint == "make down SUITE=itest-api; or leave out PROFILE=dev"


def test_words_without_an_address_are_passed_on():
    message, _ = explained("port is already allocated")
    assert message == "engine port: stack x: port is already allocated"


def test_a_container_that_could_not_be_made_is_told_by_its_service():
    said = """\
 Network itest-api-1_default  Created
 Container itest-api-1-my-shop-1  Creating
 Container itest-api-1-redis-1  Creating
 Container itest-api-1-redis-1  Created
Error response from daemon: Cannot mkdir: /etc/passwd is not a directory
"""
    error = DockerException(["docker", "compose", "up"], 1, stderr=said.encode())
    found = refusals.explain(error, "service", "start", "stack x", profile="", project="itest-api-1")
    expected = "service my-shop: it could not be started: Cannot mkdir: /etc/passwd is not a directory"
    assert (found.message, found.hint) == (expected, "correct my-shop in its layer")


def test_where_nobody_can_be_blamed_the_stack_is_named_with_docker_s_words():
    assert explained("something new")[0] == "service start: stack x: something new"


@pytest.mark.parametrize(
    "words",
    [
        "failed to create network x_default: all predefined address pools have been fully subnetted",
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
    ],
)
def test_used_up_address_pools_are_told_with_who_has_the_networks(words):
    message, hint = explained(words, holder=Holder("31 networks", "make down ALL=1"))
    assert message == "engine pool: stack x: the engine has no address left for a network: there are 31 networks"
    assert hint == "make down ALL=1"


def test_a_process_that_listens_is_found_by_its_socket():
    with socket.socket() as listening, socket.socket() as silent:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        silent.bind(("127.0.0.1", 0))
        assert [pid for pid, _ in holders._listening(listening.getsockname()[1])] == [os.getpid()]
        assert list(holders._listening(silent.getsockname()[1])) == []
