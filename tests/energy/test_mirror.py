"""Two counters or one: distinguished by their values alone, at any speed and any time between two readings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.mirror import MirrorWatch


def reader(values: Iterator[int]) -> Callable[[], int]:
    return lambda: next(values)


def steady(value: int) -> Callable[[], int]:
    return lambda: value


@given(steps=st.lists(st.integers(1, 10**8), min_size=60, max_size=60), updates=st.lists(st.booleans(), min_size=200))
def test_one_counter_is_never_taken_for_two(steps: list[int], updates: list[bool]) -> None:
    values = itertools.accumulate(steps)
    now, moves = next(values), iter(updates)

    def read() -> int:
        nonlocal now
        if next(moves, False):  # the counter may be updated between any two readings
            now = next(values, now)
        return now

    watch = MirrorWatch(read, read)
    for _ in range(60):
        assert watch.look() is not False


@given(
    start_uj=st.integers(0, 10**10),
    apart_uj=st.integers(-(10**8), 10**8),
    one_w=st.integers(1, 500),
    other_w=st.integers(1, 500),
)
def test_two_counters_are_never_taken_for_one(start_uj: int, apart_uj: int, one_w: int, other_w: int) -> None:
    if one_w == other_w and not apart_uj:
        return  # no one could distinguish them
    now_ms = 0

    def counter(from_uj: int, power_w: int) -> Callable[[], int]:
        return lambda: from_uj + power_w * 1000 * now_ms

    watch = MirrorWatch(counter(start_uj, one_w), counter(start_uj + apart_uj, other_w))
    for _ in range(20):
        now_ms += 1
        watch.look()
    assert watch.verdict is False


def test_counters_that_stand_still_decide_nothing() -> None:
    watch = MirrorWatch(steady(7), steady(7))
    assert [watch.look() for _ in range(50)] == [None] * 50


def test_counters_far_apart_are_two_at_once() -> None:
    assert MirrorWatch(steady(7), steady(10**9)).look() is False


def test_a_reading_that_fails_decides_nothing() -> None:
    def fail() -> int:
        raise OSError(5, "Input/output error")

    assert MirrorWatch(steady(7), fail).look() is None
