"""A wrapping counter gives exact increments, and says when it cannot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.counter import Counter

TURN = 1_000_000
PEAK_PER_S = 10_000.0


@given(
    first=st.integers(0, TURN - 1),
    steps=st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 1.0)), max_size=60),
)
def test_increments_add_up_exactly_over_any_number_of_turns(first: int, steps: list[tuple[float, float]]) -> None:
    counter, true, now_s, counted = Counter(first, 0.0, peak_per_s=PEAK_PER_S, turn=TURN), first, 0.0, 0
    for elapsed_s, share in steps:
        now_s += elapsed_s
        true += int(elapsed_s * PEAK_PER_S * share)
        step = counter.step(true % TURN, now_s)
        assert not step.fault
        counted += step.amount
    assert counted == true - first


@given(value=st.integers(200_000, TURN - 1), back=st.integers(1, 100_000))
def test_a_counter_set_back_is_lost_time_not_energy(value: int, back: int) -> None:
    step = Counter(value, 0.0, peak_per_s=PEAK_PER_S, turn=TURN).step(value - back, 0.1)
    assert step.lost
    assert step.amount == 0
    assert str(value - back) in step.fault


def test_a_reset_to_zero_is_no_wrap() -> None:
    counter = Counter(400_000, 0.0, peak_per_s=PEAK_PER_S, turn=TURN)
    assert counter.step(0, 0.1).lost
    assert counter.step(500, 0.2).amount == 500


def test_a_leap_ahead_that_no_device_could_draw_is_lost_time() -> None:
    assert Counter(0, 0.0, peak_per_s=PEAK_PER_S).step(10**9, 0.1).lost


def test_a_counter_without_a_turn_only_counts_up() -> None:
    counter = Counter(5, 0.0, peak_per_s=PEAK_PER_S)
    assert counter.step(905, 0.1).amount == 900
    assert counter.step(900, 0.2).lost


def test_too_long_unread_estimates_the_turns_from_the_rate_and_doubts_one_turn() -> None:
    counter = Counter(0, 0.0, peak_per_s=PEAK_PER_S, turn=TURN)
    assert counter.step(50_000, 10.0).amount == 50_000  # 5000 per second
    step = counter.step((50_000 + 2_500_000) % TURN, 510.0)
    assert step.amount == 2_500_000
    assert step.doubt == TURN
    assert "may have wrapped more than once" in step.fault


def test_it_asks_to_be_read_well_before_it_can_turn() -> None:
    assert Counter(0, 0.0, peak_per_s=PEAK_PER_S, turn=TURN).max_interval_s == TURN / PEAK_PER_S / 4
