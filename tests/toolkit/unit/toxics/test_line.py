"""When bytes are due that faults hold back, cut and count."""

from math import inf
from random import Random

import pytest

from itest.toxics.kinds import Bandwidth, Latency, LimitData, Slice, SlowClose, Timeout, Toxic
from itest.toxics.line import Line


def line(*toxics: Toxic, seed: str = "") -> Line:
    made = Line()
    made.change([toxic.stage(Random(seed)) for toxic in toxics], 0.0)
    return made


def dues(line: Line) -> list[float]:
    return [round(piece.due, 6) for piece in line.pieces]


def leaving(line: Line, now: float) -> list[bytes]:
    """All that leaves by then, as if the network took whatever it is given."""
    left = []
    while (data := line.head(now)) is not None:
        left.append(data)
        if not data:
            break
        line.left(len(data))
    return left


def test_without_a_fault_bytes_are_due_when_they_come():
    plain = line()
    plain.put(b"now", 5.0)
    assert leaving(plain, 5.0) == [b"now"]
    assert plain.size == 0


def test_bytes_under_a_latency_wait_together_and_not_one_after_the_other():
    late = line(Latency(ms=200))
    for at in (1.0, 1.01, 1.02):
        late.put(b"x", at)
    assert dues(late) == [1.2, 1.21, 1.22]


def test_two_latencies_add_up():
    late = line(Latency(ms=200), Latency(ms=50))
    late.put(b"x", 1.0)
    assert dues(late) == [1.25]


def test_nothing_overtakes_under_jitter():
    late = line(Latency(ms=100, jitter=100))
    for at in range(50):
        late.put(b"x", at / 1000)
    assert dues(late) == sorted(dues(late))
    assert len(set(dues(late))) > 1


def test_the_same_seed_gives_the_same_jitter_and_another_one_another():
    def series(seed: str) -> list[float]:
        late = line(Latency(ms=100, jitter=50), seed=seed)
        for at in range(10):
            late.put(b"x", float(at))
        return dues(late)

    assert series("7") == series("7")
    assert series("7") != series("8")
    assert all(0.05 <= due - at <= 0.15 for at, due in enumerate(series("7")))


def test_a_bandwidth_lets_through_a_tick_s_worth_at_a_time_and_all_of_it_in_size_by_rate():
    narrow = line(Bandwidth(kb_per_s=100))
    narrow.put(b"x" * 50_000, 1.0)
    assert {len(piece.data) for piece in narrow.pieces} == {1000}
    assert dues(narrow)[0] == pytest.approx(1.01)
    assert dues(narrow)[-1] == pytest.approx(1.5)


def test_an_idle_bandwidth_saves_nothing_up():
    narrow = line(Bandwidth(kb_per_s=1))
    narrow.put(b"x" * 10, 100.0)
    assert dues(narrow) == [pytest.approx(100.01)]


def test_a_bandwidth_of_nothing_holds_everything():
    narrow = line(Bandwidth(kb_per_s=0))
    narrow.put(b"x", 1.0)
    assert dues(narrow) == [inf]


def test_slices_are_cut_by_size_and_come_one_by_one():
    sliced = line(Slice(bytes=2, delay_ms=10))
    sliced.put(b"abcde", 1.0)
    assert [piece.data for piece in sliced.pieces] == [b"ab", b"cd", b"e"]
    assert dues(sliced) == [1.0, 1.01, 1.02]


def test_a_limit_lets_so_many_bytes_through_and_then_ends():
    limited = line(LimitData(bytes=4))
    limited.put(b"abc", 1.0)
    limited.put(b"def", 1.0)
    assert leaving(limited, 1.0) == [b"abc", b"d", b""]


def test_a_slow_close_delays_the_end_alone():
    slow = line(SlowClose(ms=300))
    slow.put(b"last", 1.0)
    slow.put(b"", 1.0)
    assert leaving(slow, 1.0) == [b"last"]
    assert leaving(slow, 1.3) == [b""]


def test_what_waits_is_due_at_once_when_the_fault_is_over():
    held = line(Timeout())
    held.put(b"a", 1.0)
    held.put(b"b", 2.0)
    assert leaving(held, 1000.0) == []
    held.change([], 3.0)
    assert leaving(held, 3.0) == [b"a", b"b"]


def test_what_waits_is_due_by_the_faults_that_are_there_now():
    late = line(Latency(ms=10_000))
    late.put(b"x", 1.0)
    late.change([Latency(ms=100).stage(Random(0))], 1.05)
    assert dues(late) == [1.1]


def test_bytes_that_a_limit_counted_are_not_counted_again_when_other_faults_change():
    limit = LimitData(bytes=5).stage(Random(0))
    limited = Line()
    limited.change([limit], 0.0)
    limited.put(b"abc", 1.0)
    assert leaving(limited, 1.0) == [b"abc"]
    limited.put(b"def", 2.0)
    limited.change([limit, Latency(ms=0).stage(Random(0))], 2.0)
    assert leaving(limited, 2.0) == [b"de", b""]


def test_what_the_network_did_not_take_stays_at_the_head():
    plain = line(Latency(ms=0))
    plain.put(b"abcdef", 1.0)
    plain.left(2)
    assert plain.head(1.0) == b"cdef"
    assert plain.size == 4
