"""What a fault may be asked for with, whom it concerns, and what is said of the rest."""

import asyncio

import pytest

from itest.errors import ItestError
from itest.toxics import kinds, open_before, rules
from itest.toxics.api import Refused
from itest.toxics.fault import Target
from itest.toxics.faults import resolved
from itest.toxics.proxies import TYPES, entry_of, split


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("latency", {"mss": 1}, "latency takes ms, jitter, seed, not mss"),
        ("latency", {}, "latency: ms is missing"),
        ("latency", {"ms": "1"}, "latency: ms is '1', a number is wanted"),
        ("latency", {"ms": True}, "latency: ms is True, a number is wanted"),
        ("latency", {"ms": -1}, "latency: ms is -1, which is out of range"),
        ("latency", {"ms": float("inf")}, "latency: ms is inf, which is out of range"),
        ("limit_data", {"bytes": 1.5}, "limit_data: bytes is 1.5, a whole number is wanted"),
        ("slice", [1], "slice: [1] is no object of parameters"),
    ],
)
def test_a_wrong_parameter_is_named(kind, given, said):
    with pytest.raises(ValueError, match="^" + said.replace("[", r"\[").replace(".", r"\.") + "$"):
        kinds.toxic(kind, given)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("partition", {"one_way": "up"}, 'partition: one_way is \'up\'; it is "", "out" or "in"'),
        ("partition", {"one_way": 1}, "partition: one_way is 1, a word is wanted"),
        ("loss", {"percent": 101}, "loss: percent is 101, which is out of range"),
    ],
)
def test_a_wrong_parameter_of_lost_packets_is_named(kind, given, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        rules.packets(kind, given)


@pytest.mark.parametrize(("one_way", "chains"), [("", ["out", "in"]), ("out", ["out"]), ("in", ["in"])])
def test_a_partition_loses_packets_the_way_that_is_cut(one_way, chains):
    lines = [rule.line for rule in rules.packets("partition", {"one_way": one_way}).rules("192.0.2.1")]
    assert [line.split()[1] for line in lines] == [f"itest-{chain}" for chain in chains]
    assert all("192.0.2.1" in line and line.endswith("-j DROP") for line in lines)


LOOPBACK_6 = "00000000000000000000000000000001 01 80 10 80       lo\n"
LINK_LOCAL = "fe800000000000000042acfffe1d8d02 7c16 40 20 c0     eth0\n"
GLOBAL = "fd0017e5000700000000000000000002 7c16 40 00 82     eth0\n"


@pytest.mark.parametrize(
    ("interfaces", "found"),
    [("", 1), (LOOPBACK_6, 1), (LINK_LOCAL + LOOPBACK_6, 1), (GLOBAL + LINK_LOCAL + LOOPBACK_6, 2)],
)
def test_ipv6_counts_where_a_client_has_an_address_that_reaches_others(interfaces, found):
    assert rules.families(interfaces) == rules.FAMILIES[:found]


@pytest.mark.parametrize(
    ("to", "name", "addresses"),
    [
        (["192.0.2.1", "192.0.2.2"], "192.0.2.1, 192.0.2.2", {"192.0.2.1", "192.0.2.2"}),
        ({"name": "", "addresses": ["192.0.2.1"]}, "192.0.2.1", {"192.0.2.1"}),
        ({"name": "gone.invalid", "addresses": ["192.0.2.1"]}, "gone.invalid", {"192.0.2.1"}),
        ("192.0.2.1", "192.0.2.1", {"192.0.2.1"}),
    ],
)
def test_whom_a_fault_is_for_is_a_name_addresses_or_both(to, name, addresses):
    assert asyncio.run(resolved(to)) == Target(name, frozenset(addresses))


def test_a_name_without_an_address_is_an_error_and_not_a_fault_for_nobody():
    with pytest.raises(ItestError, match=r"no address of gone\.invalid is known here$"):
        asyncio.run(resolved("gone.invalid"))


def test_a_target_is_its_addresses_at_any_port_or_at_one():
    every, one = Target("a", frozenset({"192.0.2.1"})), Target("a", frozenset({"192.0.2.1"}), 5432)
    assert every.is_for("192.0.2.1", 80, "")
    assert one.is_for("192.0.2.1", 5432, "")
    assert not one.is_for("192.0.2.1", 80, "")
    assert not every.is_for("192.0.2.2", 80, "")


def test_an_explicit_proxy_is_its_own_target_wherever_it_leads():
    proxy, server = Target("pg", proxy="pg"), Target("postgres", frozenset({"192.0.2.1"}))
    assert proxy.is_for("192.0.2.1", 5432, "pg")
    assert not proxy.is_for("192.0.2.1", 5432, "")
    assert not server.is_for("192.0.2.1", 5432, "pg")


@pytest.mark.parametrize("kind", TYPES)
def test_a_toxic_of_toxiproxy_s_has_its_defaults_and_becomes_one_of_ours(kind):
    entry = entry_of({"type": kind})
    assert (entry.name, entry.stream, entry.toxicity) == (f"{kind}_downstream", "downstream", 1.0)
    ours, names = TYPES[kind]
    assert kinds.toxic(ours, {parameter: entry.attributes[theirs] for theirs, (parameter, _) in names.items()})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "nonsense"}, "invalid toxic type"),
        ({"type": "latency", "stream": "up"}, "stream was invalid, can be either upstream or downstream"),
        ({"type": "latency", "toxicity": 2}, "bad request body: toxicity is 2"),
        ({"type": "latency", "attributes": {"latancy": 1}}, "bad request body: latency has no latancy"),
    ],
)
def test_a_wrong_toxic_is_refused_in_toxiproxy_s_words(body, said):
    with pytest.raises(Refused, match=f"^{said}$") as refused:
        entry_of(body)
    assert refused.value.status == 400


def test_an_address_without_a_host_is_all_addresses():
    assert split(":5432") == split("[]:5432") == ("0.0.0.0", 5432)
    with pytest.raises(Refused, match="postgres is no host:port"):
        split("postgres")


LISTENING = """
LISTEN 0      4096       127.0.0.11:38861      0.0.0.0:*
LISTEN 0      2048                *:8000             *:*
LISTEN 0      4096        127.0.0.1:35353      0.0.0.0:*
"""
ESTABLISHED = """
0      0                 172.29.1.3:58742   172.29.1.2:5432
0      0        [::ffff:172.29.1.3]:8000  [::ffff:172.29.1.1]:40112
0      0                  127.0.0.1:40114   127.0.0.1:9000
0      0                      [::1]:40116       [::1]:9000
0      0      [::ffff:127.0.0.1]:40120  [::ffff:127.0.0.1]:9000
0      0            [fd00:17e5::3]:40118 [fd00:17e5::2]:6379
0      0       [::ffff:172.29.1.3]:40122  [::ffff:172.29.1.2]:5432
0      0                 127.0.0.1:35353       172.29.1.3:40122
"""


def test_what_the_client_opened_to_others_is_closed_and_not_its_own_clients_loopback_or_what_is_redirected():
    assert open_before.outgoing(LISTENING, ESTABLISHED) == [
        ("172.29.1.3:58742", "172.29.1.2:5432"),
        ("[fd00:17e5::3]:40118", "[fd00:17e5::2]:6379"),
    ]
